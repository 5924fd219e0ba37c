package sqs_test

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	code := m.Run()
	emulator.stop()
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// emulator is one process for all tests, whose names are their own.
var emulator process

type process struct {
	once  sync.Once
	url   string
	err   error
	cmd   *exec.Cmd
	stdin io.Closer
}

// address returns the emulator's, which the first call starts.
func (p *process) address(t testing.TB) string {
	t.Helper()
	if _, err := os.Stat("testdata/emulator/node_modules/fauxqs"); err != nil {
		if os.Getenv("EVOSINK_REQUIRE_CLIENTS") != "" {
			t.Fatal("the emulator of SQS is missing")
		}
		t.Skip("the emulator of SQS is missing: `task clients` installs it")
	}
	if p.once.Do(p.start); p.err != nil {
		t.Fatal(p.err)
	}
	return p.url
}

func (p *process) start() {
	p.cmd = exec.Command("node", "testdata/emulator/emulator.mjs")
	p.cmd.Stderr = os.Stderr
	if p.stdin, p.err = p.cmd.StdinPipe(); p.err != nil {
		return
	}
	out, err := p.cmd.StdoutPipe()
	if p.err = err; err != nil {
		return
	}
	if p.err = p.cmd.Start(); p.err != nil {
		return
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	p.url, p.err = strings.TrimSpace(line), err
}

func (p *process) stop() {
	if p.cmd == nil || p.cmd.Process == nil {
		return
	}
	p.stdin.Close()
	p.cmd.Wait()
}
