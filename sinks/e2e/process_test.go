// Package e2e runs the whole program as its users do: the binary, over HTTP, with official clients and browsers.
package e2e_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

const key = "the-global-key"

// binary is evosink, built once.
var binary string

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "evosink-e2e")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	binary = filepath.Join(dir, "evosink")
	build := exec.Command("go", "build", "-o", binary, "github.com/evosink/evosink")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}

// A process is evosink, running.
type process struct {
	t      *testing.T
	dir    string
	url    string
	cmd    *exec.Cmd
	stderr io.Closer     // our end of its log
	done   chan struct{} // closed when it has ended

	mu sync.Mutex
	// mu guards the field below.
	log bytes.Buffer
}

// launch starts evosink in dir with the variables given, and waits until it is ready.
func launch(t *testing.T, dir string, env ...string) *process {
	t.Helper()
	return launchAs(t, dir, func(*syscall.SysProcAttr) {}, env...)
}

// launchAs is launch with attributes of the process.
func launchAs(t *testing.T, dir string, set func(*syscall.SysProcAttr), env ...string) *process {
	t.Helper()
	cmd := exec.Command(binary)
	cmd.SysProcAttr = &syscall.SysProcAttr{}
	set(cmd.SysProcAttr)
	return launchCommand(t, dir, cmd, env...)
}

// launchCommand is launch by a command that becomes evosink.
func launchCommand(t *testing.T, dir string, cmd *exec.Cmd, env ...string) *process {
	t.Helper()
	p := &process{t: t, dir: dir, cmd: cmd, done: make(chan struct{})}
	p.cmd.Dir = dir
	p.cmd.Env = append([]string{"SERVER_PORT=0", "SERVER_HOST=127.0.0.1", "AUTHENTICATION_API_KEY=" + key}, env...)
	stderr, err := p.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	p.stderr = stderr
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.cmd.Process.Kill()
		<-p.done
		if t.Failed() {
			t.Log(p.output())
		}
	})
	ready := make(chan string, 1)
	go p.follow(stderr, ready)
	select {
	case p.url = <-ready:
	case <-p.done:
		t.Fatalf("evosink ended before it was ready:\n%s", p.output())
	case <-time.After(30 * time.Second):
		t.Fatalf("evosink is not ready after 30 s:\n%s", p.output())
	}
	return p
}

// follow reads the log until the process ends, and finds the address in it.
func (p *process) follow(stderr io.Reader, ready chan<- string) {
	defer close(p.done)
	lines := bufio.NewScanner(stderr)
	for lines.Scan() {
		p.mu.Lock()
		p.log.Write(append(lines.Bytes(), '\n'))
		p.mu.Unlock()
		var line struct{ Message, Address string }
		if json.Unmarshal(lines.Bytes(), &line) == nil && line.Message == "evosink is ready" {
			ready <- "http://" + line.Address
		}
	}
	p.cmd.Wait()
}

func (p *process) output() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.log.String()
}

// kill ends the process as a crash does.
func (p *process) kill() {
	p.cmd.Process.Kill()
	<-p.done
}

// terminate asks the process to end and returns its exit code.
func (p *process) terminate() int {
	p.t.Helper()
	p.cmd.Process.Signal(syscall.SIGTERM)
	return p.ended()
}

// ended waits for the end and returns the exit code.
func (p *process) ended() int {
	p.t.Helper()
	select {
	case <-p.done:
	case <-time.After(30 * time.Second):
		p.t.Fatalf("evosink has not ended 30 s after SIGTERM:\n%s", p.output())
	}
	return p.cmd.ProcessState.ExitCode()
}

// command makes a run of the binary that talks to the process.
func (p *process) command(args ...string) *exec.Cmd {
	cmd := exec.Command(binary, append(args, "--url", p.url, "--key", key)...)
	cmd.Dir = p.dir
	cmd.Env = []string{}
	return cmd
}

// do sends a request with the global key and returns status and body.
func (p *process) do(method, path, body string) (int, string) {
	p.t.Helper()
	r, err := http.NewRequest(method, p.url+path, strings.NewReader(body))
	if err != nil {
		p.t.Fatal(err)
	}
	r.Header.Set("apikey", key)
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		p.t.Fatal(err)
	}
	defer answer.Body.Close()
	out, _ := io.ReadAll(answer.Body)
	return answer.StatusCode, string(out)
}

// must is do with a status that is expected.
func (p *process) must(status int, method, path, body string) string {
	p.t.Helper()
	got, out := p.do(method, path, body)
	if got != status {
		p.t.Fatalf("%s %s: %d %s, want %d", method, path, got, out, status)
	}
	return out
}
