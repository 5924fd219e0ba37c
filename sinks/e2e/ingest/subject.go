package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// key is evosink's global key.
const key = "the-key-of-the-bench-0123456789"

// readyTime is how long evosink may take to start, and to end.
const readyTime = 30 * time.Second

// A subject is an evosink that is measured: a process in a directory of its own.
type subject struct {
	dir  string
	url  string
	cmd  *exec.Cmd
	log  lastLines
	done chan struct{} // closed when the process has ended
}

// start runs a binary on a free port of loopback until it is ready. When ctx ends it is killed.
func start(ctx context.Context, binary string, env []string) (*subject, error) {
	binary, err := filepath.Abs(binary) // it runs in another directory
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "evosink-ingest")
	if err != nil {
		return nil, err
	}
	s := &subject{dir: dir, cmd: exec.CommandContext(ctx, binary), done: make(chan struct{})}
	s.cmd.Dir = dir
	s.cmd.Env = []string{"SERVER_PORT=0", "SERVER_HOST=127.0.0.1", "AUTHENTICATION_API_KEY=" + key}
	s.cmd.Env = append(s.cmd.Env, env...)
	stderr, err := s.cmd.StderrPipe()
	if err == nil {
		err = s.cmd.Start()
	}
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	ready := make(chan string, 1)
	go s.follow(stderr, ready)
	select {
	case s.url = <-ready:
		return s, nil
	case <-s.done:
		err = errors.New("it ended before it was ready")
	case <-time.After(readyTime):
		err = fmt.Errorf("it is not ready after %s", readyTime)
	}
	return nil, errors.Join(fmt.Errorf("%w\n%s", err, s.log.tail()), s.kill())
}

// follow reads the log until the process ends, and finds the address in it.
func (s *subject) follow(stderr io.Reader, ready chan<- string) {
	defer close(s.done)
	lines := bufio.NewReader(stderr)
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			break
		}
		s.log.add(line)
		var l struct{ Message, Address string }
		if json.Unmarshal(line, &l) == nil && l.Message == "evosink is ready" {
			ready <- "http://" + l.Address
		}
	}
	_ = s.cmd.Wait() // whoever waits for done knows whether it was to end
}

// stop asks the process to end, kills it if it does not, and removes its directory.
func (s *subject) stop() error {
	_ = s.cmd.Process.Signal(syscall.SIGTERM) // it may have ended
	select {
	case <-s.done:
	case <-time.After(readyTime):
	}
	return s.kill()
}

func (s *subject) kill() error {
	_ = s.cmd.Process.Kill() // it may have ended
	<-s.done
	return os.RemoveAll(s.dir)
}

// createInstances makes instances, each with a webhook to an address of its own below url.
func (s *subject) createInstances(ctx context.Context, n int, url string) error {
	for i := range n {
		body := fmt.Sprintf(`{"instanceName":%q,"webhook":{"enabled":true,"url":"%s/%d","events":["MESSAGES_UPSERT"]}}`,
			instance(i), url, i)
		r, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url+"/instance/create", strings.NewReader(body))
		if err != nil {
			return err
		}
		r.Header.Set("apikey", key)
		answer, err := http.DefaultClient.Do(r)
		if err != nil {
			return err
		}
		text, _ := io.ReadAll(answer.Body) // only to say what is wrong
		_ = answer.Body.Close()            // read to its end
		if answer.StatusCode != http.StatusCreated {
			return fmt.Errorf("create an instance: %s: %s", answer.Status, text)
		}
	}
	return nil
}

// instance is the name of the instance with a number.
func instance(i int) string { return fmt.Sprint("bench-", i) }

// usage is what has been used up to a moment. Only the difference of two says anything.
type usage struct {
	cpu     time.Duration // by a subject, in the kernel too
	written int64         // bytes that it made the disk write
	others  time.Duration // processor time of all but the subject and this program
}

func (u usage) since(before usage) usage {
	return usage{cpu: u.cpu - before.cpu, written: u.written - before.written, others: u.others - before.others}
}

// usage reads what the process has used, and what all others have.
func (s *subject) usage() (u usage, err error) {
	proc := fmt.Sprintf("/proc/%d/", s.cmd.Process.Pid)
	if u.cpu, err = ticks(proc+"stat", 11, 13); err != nil {
		return u, err
	}
	all, err := busy()
	if err != nil {
		return u, err
	}
	own, err := ticks("/proc/self/stat", 11, 13)
	if err != nil {
		return u, err
	}
	u.others = all - own - u.cpu
	io, err := os.ReadFile(proc + "io")
	if err != nil {
		return u, err
	}
	_, after, _ := strings.Cut(string(io), "\nwrite_bytes: ")
	line, _, _ := strings.Cut(after, "\n")
	u.written, err = strconv.ParseInt(line, 10, 64)
	return u, err
}

// lastLines are the last lines of a log. Any number of goroutines may use it at once.
type lastLines struct {
	mu sync.Mutex
	// mu guards the field below.
	lines []string
}

func (l *lastLines) add(line []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.lines) == 20 {
		l.lines = l.lines[1:]
	}
	l.lines = append(l.lines, string(line))
}

func (l *lastLines) tail() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Join(l.lines, "")
}
