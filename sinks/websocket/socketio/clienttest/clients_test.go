// Package clienttest holds the tests of the Socket.IO server with other
// people's clients: the official ones for JavaScript in four versions (npm ci
// in this folder), python-socketio (python3-socketio, python3-websocket and
// python3-requests of Debian), and, if a checkout of socketio/socket.io is at
// hand, the official protocol suites.
//
// What is not there is skipped, or a failure with EVOSINK_REQUIRE_CLIENTS=1.
package clienttest

import (
	"bufio"
	"context"
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// patience is how long one client may take for all its scenarios.
const patience = 2 * time.Minute

var modes = []string{"polling", "websocket", "upgrade"}

func TestJavaScriptClients(t *testing.T) {
	node := javascript(t)
	url, _ := conformance(t)
	for _, client := range []string{"client-4.8", "client-4.2", "client-3.1", "client-2.5"} {
		for _, mode := range modes {
			t.Run(client+"/"+mode, func(t *testing.T) { run(t, ".", node, "client.mjs", client, mode, url) })
		}
	}
	settles(t, url)
}

func TestAClientOfAServerUnderTheRaceDetector(t *testing.T) {
	node := javascript(t)
	if out, err := exec.Command(require(t, "go"), "env", "CGO_ENABLED").Output(); err != nil || strings.TrimSpace(string(out)) != "1" {
		missing(t, "cgo, which the race detector needs")
	}
	url, _ := conformance(t, "-race")
	for _, mode := range modes {
		t.Run(mode, func(t *testing.T) { run(t, ".", node, "client.mjs", "client-4.8", mode, url) })
	}
	settles(t, url)
}

func TestPythonClient(t *testing.T) {
	python := os.Getenv("EVOSINK_PYTHON") // another than the system's
	if python == "" {
		python = require(t, "/usr/bin/python3")
	}
	if err := exec.Command(python, "-c", "import socketio, websocket, requests").Run(); err != nil {
		missing(t, "the modules socketio, websocket and requests for "+python)
	}
	url, _ := conformance(t)
	for _, mode := range modes {
		t.Run(mode, func(t *testing.T) { run(t, ".", python, "client.py", mode, url) })
	}
	settles(t, url)
}

// javascript returns the path of Node, once the clients are there too.
func javascript(t *testing.T) (node string) {
	t.Helper()
	if _, err := os.Stat("node_modules"); err != nil {
		missing(t, "node_modules (run npm ci in this folder)")
	}
	return require(t, "node")
}

// missing skips the test, unless clients are required.
func missing(t *testing.T, what string) {
	t.Helper()
	if os.Getenv("EVOSINK_REQUIRE_CLIENTS") == "1" {
		t.Fatal("EVOSINK_REQUIRE_CLIENTS is set, but there is no " + what)
	}
	t.Skip("there is no " + what)
}

// require returns the path of a program.
func require(t *testing.T, program string) string {
	t.Helper()
	path, err := exec.LookPath(program)
	if err != nil {
		missing(t, program)
	}
	return path
}

// run runs a program in a folder; what it prints is shown if it fails.
func run(t *testing.T, folder, program string, args ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir = folder
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// conformance builds, with flags, and starts the conformance server, and returns
// where and what it is. It must end by itself when told to, and without a report of
// the race detector, which would be its exit code.
func conformance(t *testing.T, flags ...string) (url string, process *os.Process) {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "conformance")
	args := append([]string{"build", "-o", binary}, flags...)
	run(t, ".", require(t, "go"), append(args, "../conformance")...)
	server := exec.Command(binary, "-listen", "127.0.0.1:0")
	server.Stderr = os.Stderr
	out, err := server.StdoutPipe()
	if err == nil {
		err = server.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		server.Process.Signal(syscall.SIGTERM)
		if err := server.Wait(); err != nil {
			t.Error("conformance server:", err)
		}
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(strings.TrimPrefix(line, "listening on ")), server.Process
}

// settles waits until the server holds no sessions.
func settles(t *testing.T, url string) {
	t.Helper()
	var stats struct {
		Engine     map[string]int
		Goroutines int
	}
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		resp, err := http.Get(url + "/fixture/stats")
		if err != nil {
			t.Fatal(err)
		}
		err = json.NewDecoder(resp.Body).Decode(&stats)
		resp.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		open := 0
		for _, n := range stats.Engine {
			open += n
		}
		if open == 0 && stats.Goroutines < 20 {
			return
		}
	}
	t.Errorf("left behind: %+v", stats)
}
