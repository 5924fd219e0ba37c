//go:build unix

package child_test

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/evosink/evosink/plugins/exec/child"
)

const patience = 20 * time.Second

func TestMain(m *testing.M) {
	if mode := filepath.Base(os.Args[0]); mode == "probe" {
		probe(os.Args[1:])
		return
	}
	goleak.VerifyTestMain(m)
}

// probe is what the test binary does when it runs as a child, see install.
func probe(args []string) {
	switch args[0] {
	case "env":
		fmt.Println(strings.Join(os.Environ(), "\n"))
	case "fork": // leaves a descendant in its group, which holds the output open
		r, err := os.StartProcess(os.Args[0], []string{"probe", "sleep"}, &os.ProcAttr{Files: []*os.File{nil, os.Stdout, os.Stderr}})
		if err != nil {
			panic(err)
		}
		fmt.Println(r.Pid)
	case "escape": // leaves one outside of its group
		r, err := os.StartProcess(os.Args[0], []string{"probe", "sleep"}, &os.ProcAttr{Files: []*os.File{nil, os.Stdout, os.Stderr}, Sys: &syscall.SysProcAttr{Setsid: true}})
		if err != nil {
			panic(err)
		}
		fmt.Println(r.Pid)
	case "sleep": // for longer than any test waits
		time.Sleep(time.Minute)
	case "host": // starts a child of its own, and is killed
		p, err := child.Start(child.Command{Path: args[1], Args: []string{"sleep"}})
		if err != nil {
			panic(err)
		}
		fmt.Println(p.Pid())
		time.Sleep(time.Minute)
	case "fail":
		os.Exit(3)
	}
}

// install puts the test binary where it runs as probe.
func install(t *testing.T) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(self)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "probe")
	if err := os.WriteFile(path, b, 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

func start(t *testing.T, c child.Command) *child.Process {
	t.Helper()
	p, err := child.Start(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.Kill()
		await(t, p)
		p.Close()
	})
	return p
}

func await(t *testing.T, p *child.Process) {
	t.Helper()
	select {
	case <-p.Done():
	case <-time.After(patience):
		t.Fatal("the process does not end")
	}
}

func sum(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	s := sha256.Sum256(b)
	return hex.EncodeToString(s[:])
}

func TestAChildSeesTheAllowListOnly(t *testing.T) {
	t.Setenv("AUTHENTICATION_API_KEY", "hidden")
	t.Setenv("HTTPS_PROXY", "shown")
	p := start(t, child.Command{Path: install(t), Args: []string{"env"}, Env: []string{"HTTPS_PROXY", "NOT_SET"}})
	out, err := io.ReadAll(p.Out)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(out)) {
		name, _, _ := strings.Cut(line, "=")
		if !strings.Contains(" HTTPS_PROXY "+strings.Join(child.BaseEnv, " ")+" ", " "+name+" ") {
			t.Errorf("the child sees %q", line)
		}
	}
	if !strings.Contains(string(out), "HTTPS_PROXY=shown") {
		t.Errorf("the child does not see what it is allowed to:\n%s", out)
	}
	await(t, p)
	if p.Exit() != "it exited with code 0" {
		t.Error(p.Exit())
	}
}

func TestTheEndIsExplained(t *testing.T) {
	p := start(t, child.Command{Path: install(t), Args: []string{"fail"}})
	if await(t, p); p.Exit() != "it exited with code 3" {
		t.Error(p.Exit())
	}
	p = start(t, child.Command{Path: install(t), Args: []string{"sleep"}})
	p.Kill()
	if await(t, p); p.Exit() != "it was ended by a signal: killed" {
		t.Error(p.Exit())
	}
	p.Kill() // its id may be somebody else's by now
}

func TestAChecksumAdmitsTheFileThatItIsOfOnly(t *testing.T) {
	path := install(t)
	p := start(t, child.Command{Path: path, Args: []string{"env"}, SHA256: strings.ToUpper(sum(t, path))})
	if out, _ := io.ReadAll(p.Out); len(out) == 0 {
		t.Error("the file with the right sum did not run")
	}
	_, err := child.Start(child.Command{Path: path, SHA256: strings.Repeat("0", 64)})
	if err == nil || !strings.Contains(err.Error(), sum(t, path)) {
		t.Errorf("got %v", err)
	}
}

func TestWhatWasCheckedRunsEvenWhenTheFileIsSwapped(t *testing.T) {
	path := install(t)
	p := start(t, child.Command{Path: path, Args: []string{"sleep"}, SHA256: sum(t, path)})
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", p.Pid()))
	if err != nil {
		t.Skip("needs /proc")
	}
	if exe != path+" (deleted)" {
		t.Errorf("%s runs", exe)
	}
}

func TestAScriptRunsFromItsDescriptor(t *testing.T) {
	path := filepath.Join(t.TempDir(), "script")
	if err := os.WriteFile(path, []byte("#!/bin/sh\necho from the script $1\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	p := start(t, child.Command{Path: path, Args: []string{"one"}, SHA256: sum(t, path)})
	if out, _ := io.ReadAll(p.Out); string(out) != "from the script one\n" {
		t.Errorf("got %q", out)
	}
}

func TestUnsafeFilesAreRefused(t *testing.T) {
	dir := t.TempDir()
	write := func(name string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte("#!/bin/sh\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	open := filepath.Join(dir, "open")
	if err := os.Mkdir(open, 0o755); err != nil {
		t.Fatal(err)
	}
	inOpen := write("open/x", 0o755)
	if err := os.Chmod(open, 0o777); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		"relative": "must be absolute", filepath.Join(dir, "none"): "no such file", dir: "is not a file",
		write("plain", 0o644): "is not executable", write("writable", 0o757): "can be changed by everybody", inOpen: "can be changed by everybody",
	} {
		if _, err := child.Start(child.Command{Path: path}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", path, err, want)
		}
	}
}

func TestWhatAChildHasStartedEndsWithIt(t *testing.T) {
	p := start(t, child.Command{Path: install(t), Args: []string{"fork"}})
	out, err := io.ReadAll(p.Out) // the descendant holds it open until it is killed
	if err != nil {
		t.Fatal(err)
	}
	await(t, p)
	gone(t, strings.TrimSpace(string(out)))
}

func TestAChildEndsWhenItsHostIsKilled(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux's kernel does this")
	}
	path := install(t)
	host := start(t, child.Command{Path: path, Args: []string{"host", path}})
	pid, err := bufio.NewReader(host.Out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	_ = syscall.Kill(host.Pid(), syscall.SIGKILL) // the host only: its child leads a group of its own
	gone(t, strings.TrimSpace(pid))
}

func TestADescendantThatGotAwayDoesNotHoldTheOutput(t *testing.T) {
	p := start(t, child.Command{Path: install(t), Args: []string{"escape"}})
	r := bufio.NewReader(p.Out)
	line, err := r.ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	pid, _ := strconv.Atoi(strings.TrimSpace(line))
	defer syscall.Kill(pid, syscall.SIGKILL)
	await(t, p)
	if _, err := io.ReadAll(r); err == nil {
		t.Error("the output ended by itself: the test's descendant has not held it")
	}
}

// gone waits until a process that was a descendant has ended; who reaps it is the system's business.
func gone(t *testing.T, pid string) {
	t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		stat, err := os.ReadFile("/proc/" + pid + "/stat")
		if err != nil || strings.Contains(string(stat), ") Z ") {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("process %s still runs", pid)
		}
	}
}
