package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/evosink/evosink/sinks/websocket/peers/internal/control"
)

// A server is a peer that runs.
type server struct {
	peer    peer
	address string
	cmd     *exec.Cmd
	stdin   io.Closer
}

// start runs p on its core. Stop must be called.
func start(ctx context.Context, p peer, c cores) (*server, error) {
	args := p.command
	if c.pinned {
		args = append([]string{"taskset", "-c", c.server}, args...)
	}
	s := &server{peer: p, cmd: exec.CommandContext(ctx, args[0], args[1:]...)}
	s.cmd.Stderr = os.Stderr
	stdin, err := s.cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	s.stdin = stdin
	stdout, err := s.cmd.StdoutPipe()
	if err == nil {
		err = s.cmd.Start()
	}
	if err != nil {
		return nil, err
	}
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		s.stop()
		return nil, fmt.Errorf("%s does not listen: %w", p.folder, err)
	}
	s.address = strings.TrimSpace(line)
	return s, nil
}

// stop ends the server, by force if it must.
func (s *server) stop() {
	s.stdin.Close()
	force := time.AfterFunc(5*time.Second, func() { s.cmd.Process.Kill() })
	defer force.Stop()
	s.cmd.Wait() // how it ends is of no interest
}

// stats asks the server for its statistics; collect has it release what memory
// it can before.
func (s *server) stats(ctx context.Context, collect bool) (stats control.Stats, err error) {
	path := "/stats"
	if collect {
		path += "?collect=1"
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	body, err := s.ask(ctx, http.MethodGet, path)
	if err == nil {
		err = json.Unmarshal(body, &stats)
	}
	return stats, err
}

func (s *server) ask(ctx context.Context, method, path string) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, method, "http://"+s.address+path, nil)
	if err != nil {
		return nil, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", response.Status, body)
	}
	return body, err
}

// joined waits until the server knows n clients.
func (s *server) joined(ctx context.Context, n int) error {
	for range 1000 {
		stats, err := s.stats(ctx, false)
		if err != nil {
			return err
		}
		if stats.Clients >= n {
			return nil
		}
		time.Sleep(10 * time.Millisecond)
	}
	return fmt.Errorf("%d clients have not joined within 10 s", n)
}

// memory is the resident set in bytes, now and at most.
func (s *server) memory() (now, peak int, err error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.cmd.Process.Pid))
	if err != nil {
		return 0, 0, fmt.Errorf("resident memory is read from /proc: %w", err)
	}
	return kibField(status, "VmRSS:") << 10, kibField(status, "VmHWM:") << 10, nil
}

// kibField is the field of a status file that begins with name.
func kibField(status []byte, name string) (kib int) {
	_, after, _ := strings.Cut(string(status), name)
	fmt.Sscan(after, &kib)
	return kib
}
