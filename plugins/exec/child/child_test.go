//go:build unix

package child_test

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
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
	if len(os.Args) < 2 || os.Args[1] != "unguarded" {
		child.Guard()
	}
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
		r, err := os.StartProcess("/proc/self/exe", []string{"probe", "sleep"}, &os.ProcAttr{Files: []*os.File{nil, os.Stdout, os.Stderr}})
		if err != nil {
			panic(err)
		}
		fmt.Println(r.Pid)
	case "escape": // leaves one outside of its group, and without its environment
		r, err := os.StartProcess("/proc/self/exe", []string{"probe", "sleep"}, &os.ProcAttr{
			Env: []string{"A=b"}, Files: []*os.File{nil, os.Stdout, os.Stderr}, Sys: &syscall.SysProcAttr{Setsid: true},
		})
		if err != nil {
			panic(err)
		}
		fmt.Println(r.Pid)
	case "family": // leaves one in its group and two daemons, of which one is the other's
		for _, a := range []struct {
			does   string
			setsid bool
		}{{"sleep", false}, {"daemon", true}} {
			r, err := os.StartProcess("/proc/self/exe", []string{"probe", a.does}, &os.ProcAttr{
				Files: []*os.File{nil, os.Stdout, os.Stderr}, Sys: &syscall.SysProcAttr{Setsid: a.setsid},
			})
			if err != nil {
				panic(err)
			}
			fmt.Println(r.Pid)
		}
		if args[1] == "exit" { // when its input ends
			_, _ = io.Copy(io.Discard, os.Stdin)
			return
		}
		time.Sleep(time.Minute)
	case "daemon":
		r, err := os.StartProcess("/proc/self/exe", []string{"probe", "sleep"}, &os.ProcAttr{Sys: &syscall.SysProcAttr{Setsid: true}})
		if err != nil {
			panic(err)
		}
		fmt.Println(r.Pid)
		time.Sleep(time.Minute)
	case "spy": // tells what it can read of its host
		for _, file := range []string{"environ", "mem", "fd", "maps"} {
			_, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", os.Getppid(), file))
			fmt.Println(file, errors.Is(err, os.ErrPermission))
		}
	case "first": // is a container's first process: tells how many zombies there are once its child has ended
		p, err := child.Start(child.Command{Path: args[1], Args: []string{"family", "exit"}})
		if err != nil {
			panic(err)
		}
		in := bufio.NewScanner(p.Out)
		for range 3 {
			in.Scan()
		}
		p.In.Close()
		<-p.Done()
		stats, _ := filepath.Glob("/proc/[0-9]*/stat")
		zombies := 0
		for _, stat := range stats {
			if b, _ := os.ReadFile(stat); strings.Contains(string(b), ") Z ") {
				zombies++
			}
		}
		fmt.Println("pid", os.Getpid(), "zombies", zombies)
	case "sleep": // for longer than any test waits
		time.Sleep(time.Minute)
	case "host", "unguarded": // starts a child of its own, tells its id and what it says, and is killed
		c := child.Command{Path: args[1], Args: args[2:]}
		if b, err := os.ReadFile(args[1]); args[2] == "spy" && err == nil {
			s := sha256.Sum256(b)
			c.SHA256 = hex.EncodeToString(s[:])
		}
		p, err := child.Start(c)
		if err != nil {
			panic(err)
		}
		fmt.Println(p.Pid())
		_, _ = io.Copy(os.Stdout, p.Out)
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
		if !strings.Contains(" HTTPS_PROXY "+child.MarkEnv+" "+strings.Join(child.BaseEnv, " ")+" ", " "+name+" ") {
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
	p.Kill() // its id may be another process's by now
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
	shared := filepath.Join(dir, "shared")
	if err := os.MkdirAll(filepath.Join(shared, "own"), 0o755); err != nil {
		t.Fatal(err)
	}
	inOpen, inShared, below := write("open/x", 0o755), write("shared/x", 0o755), write("shared/own/x", 0o755)
	link := filepath.Join(dir, "link")
	if err := errors.Join(os.Chmod(open, 0o777), os.Chmod(shared, 0o775), os.Symlink(below, link)); err != nil {
		t.Fatal(err)
	}
	const group = "can be changed by everybody in its group: chmod g-w"
	for path, want := range map[string]string{
		"relative": "must be absolute", filepath.Join(dir, "none"): "no such file", dir: "is not a file",
		write("plain", 0o644): "is not executable", write("writable", 0o757): "can be changed by everybody", inOpen: "can be changed by everybody",
		write("group", 0o775): group, inShared: group, below: group, link: group,
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
	host := start(t, child.Command{Path: path, Args: []string{"host", path, "sleep"}})
	pid, err := bufio.NewReader(host.Out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	_ = syscall.Kill(host.Pid(), syscall.SIGKILL) // the host only: its child leads a group of its own
	gone(t, strings.TrimSpace(pid))
}

// lines reads n lines.
func lines(t *testing.T, r io.Reader, n int) (out []string) {
	t.Helper()
	for in := bufio.NewScanner(r); len(out) < n; {
		if !in.Scan() {
			t.Fatalf("it has said %q, and not %d lines", out, n)
		}
		out = append(out, in.Text())
	}
	return out
}

func onLinux(t *testing.T) {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("only Linux shows what has descended from a process")
	}
}

func TestDaemonsOfAChildEndWithItHoweverItEnds(t *testing.T) {
	onLinux(t)
	path := install(t)
	for _, end := range []string{"exit", "stay"} {
		p := start(t, child.Command{Path: path, Args: []string{"family", end}})
		pids := lines(t, p.Out, 3)
		if end == "exit" {
			p.In.Close()
		} else {
			p.Kill()
		}
		await(t, p)
		for _, pid := range pids {
			gone(t, pid)
		}
	}
}

func TestDaemonsOfAnotherChildStay(t *testing.T) {
	onLinux(t)
	path := install(t)
	other := start(t, child.Command{Path: path, Args: []string{"family", "stay"}})
	pids := lines(t, other.Out, 3)
	p := start(t, child.Command{Path: path, Args: []string{"family", "exit"}})
	lines(t, p.Out, 3)
	p.In.Close()
	await(t, p)
	for _, pid := range pids {
		if !runs(pid) {
			t.Errorf("process %s has ended with a child that it did not descend from", pid)
		}
	}
}

func TestEverythingEndsWhenTheHostIsKilled(t *testing.T) {
	onLinux(t)
	path := install(t)
	host := start(t, child.Command{Path: path, Args: []string{"host", path, "family", "stay"}})
	pids := lines(t, host.Out, 4)
	_ = syscall.Kill(host.Pid(), syscall.SIGKILL)
	for _, pid := range pids {
		gone(t, pid)
	}
}

// A host here is started by package os/exec: as a child, its descendants would end with it in any case.
func TestWithoutAGuardTheNextHostEndsWhatAKilledOneHasLeft(t *testing.T) {
	onLinux(t)
	path := install(t)
	run := func(args ...string) (*exec.Cmd, io.Reader) {
		host := &exec.Cmd{Path: path, Args: append([]string{path}, args...), Env: []string{}}
		out, err := host.StdoutPipe()
		if err == nil {
			err = host.Start()
		}
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = host.Process.Kill(); _, _ = host.Process.Wait() })
		return host, out
	}
	first, out := run("unguarded", path, "family", "stay")
	pids := lines(t, out, 4)
	_ = first.Process.Kill()
	_, _ = first.Process.Wait()
	gone(t, pids[0]) // by the kernel
	if !runs(pids[2]) && !runs(pids[3]) {
		t.Error("the daemons have ended without anybody's help: the test shows nothing")
	}
	_, out = run("unguarded", path, "sleep")
	lines(t, out, 1)
	for _, pid := range pids {
		gone(t, pid)
	}
}

func TestAContainersFirstProcessKeepsNoZombiesOfAChild(t *testing.T) {
	onLinux(t)
	if os.Getuid() != 0 {
		t.Skip("only root can make a namespace of processes")
	}
	path := install(t)
	out, err := exec.Command("unshare", "--pid", "--fork", "--mount-proc", "--kill-child", path, "first", path).CombinedOutput()
	if err != nil || string(out) != "pid 1 zombies 0\n" {
		t.Errorf("%v: %s", err, out)
	}
}

func TestAChildCannotReadItsHost(t *testing.T) {
	onLinux(t)
	dir, err := os.MkdirTemp("", "evosink-child") // t.TempDir is not for other users
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	b, err := os.ReadFile(install(t))
	path := filepath.Join(dir, "probe")
	if err = errors.Join(err, os.Chmod(dir, 0o755), os.WriteFile(path, b, 0o755)); err != nil {
		t.Fatal(err)
	}
	host := &exec.Cmd{Path: path, Args: []string{path, "host", path, "spy"}, Env: []string{"AUTHENTICATION_API_KEY=secret"}}
	if os.Getuid() == 0 { // root may read everything
		host.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	}
	out, err := host.StdoutPipe()
	if err == nil {
		err = host.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = host.Process.Kill(); _, _ = host.Process.Wait() }()
	want := "environ true,mem true,fd true,maps true"
	if got := strings.Join(lines(t, out, 5)[1:], ","); got != want {
		t.Errorf("denied: %s", got)
	}
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

// gone waits until a process that was a descendant has ended; it need not be reaped.
func gone(t *testing.T, pid string) {
	t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		if !runs(pid) {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("process %s still runs", pid)
		}
	}
}

// runs reports whether a process has not ended.
func runs(pid string) bool {
	stat, err := os.ReadFile("/proc/" + pid + "/stat")
	return err == nil && !strings.Contains(string(stat), ") Z ")
}
