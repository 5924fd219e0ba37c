package child

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A host is a process that starts children, as it is written into their mark: its id alone may be another's later, and
// means something else in another container.
type host struct{ namespace, pid, since string }

func (h host) String() string { return h.namespace + ":" + h.pid + ":" + h.since }

// thisHost is this process.
var thisHost = sync.OnceValue(func() host {
	space, _ := os.Readlink("/proc/self/ns/pid")
	pid := strconv.Itoa(os.Getpid())
	return host{strings.Trim(strings.TrimPrefix(space, "pid:"), "[]"), pid, sinceOf(pid)}
})

// sinceOf returns when a process has begun, in the kernel's ticks; empty if there is none.
func sinceOf(pid string) string {
	stat, err := os.ReadFile("/proc/" + pid + "/stat")
	if err != nil {
		return ""
	}
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	if len(fields) < 20 {
		return ""
	}
	return string(fields[19])
}

// newMark returns the value of [MarkEnv] for a child: whose it is, and a number of its own.
func newMark() string { return fmt.Sprintf("%s/%d", thisHost(), marks.Add(1)) }

// orphaned reports whether the host of a mark lived here and has ended.
func orphaned(mark string) bool {
	of, _, _ := strings.Cut(mark, "/")
	parts := strings.Split(of, ":")
	if len(parts) != 3 || parts[0] == "" || parts[0] != thisHost().namespace {
		return false
	}
	return sinceOf(parts[1]) != parts[2]
}

// How killMarked bounds itself: a descendant that forks faster than it is found has got away.
const (
	maxEnviron = 256 << 10
	maxRounds  = 20
	killWait   = time.Second // for one round to end
)

// killMarked kills every process whose mark condition accepts, until there is none. It finds them by their environment,
// so they are found in any group and session and under any parent; what has removed the mark from its environment is
// not.
func killMarked(condition func(mark string) bool) {
	var rounds []map[int]int
	for range maxRounds {
		killed := killRound(condition)
		if len(killed) == 0 {
			break
		}
		rounds = append(rounds, killed)
		ended(killed)
	}
	for _, killed := range rounds {
		ended(killed) // a process that is ending has no environment any more, and is not found, before it has ended
		for pid, fd := range killed {
			_, _ = unix.Wait4(pid, nil, unix.WNOHANG, nil) // of those that are children of this process, a container's first
			if fd != noDescriptor {
				_ = unix.Close(fd)
			}
		}
	}
}

// ended waits until processes have ended, or killWait is over.
func ended(processes map[int]int) {
	end := time.Now().Add(killWait)
	for _, fd := range processes {
		if fd != noDescriptor {
			wait := max(0, int(time.Until(end).Milliseconds()))
			_, _ = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, wait) // readable once it has ended
		}
	}
}

// killRound kills what it finds and returns a descriptor of each. The descriptor is taken before the environment is
// read, so that what is killed is what was looked at.
func killRound(condition func(mark string) bool) map[int]int {
	all, _ := os.ReadDir("/proc")
	killed := map[int]int{}
	for _, entry := range all {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil || pid == os.Getpid() {
			continue
		}
		fd, err := unix.PidfdOpen(pid, 0)
		if errors.Is(err, unix.ESRCH) {
			continue
		}
		if err != nil { // a kernel before 5.3, or a sandbox
			fd = noDescriptor
		}
		if mark := markOf(entry.Name()); mark != "" && condition(mark) && kill(pid, fd) == nil {
			killed[pid] = fd
		} else if fd != noDescriptor {
			_ = unix.Close(fd)
		}
	}
	return killed
}

// noDescriptor stands where the kernel has none for processes.
const noDescriptor = -1

func kill(pid, fd int) error {
	if fd == noDescriptor {
		return unix.Kill(pid, unix.SIGKILL)
	}
	return unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0)
}

// markOf returns the mark of a process, empty if it has none or may not be looked at.
func markOf(pid string) string {
	f, err := os.Open("/proc/" + pid + "/environ")
	if err != nil {
		return ""
	}
	defer f.Close()
	environ, _ := io.ReadAll(io.LimitReader(f, maxEnviron))
	for variable := range bytes.SplitSeq(environ, []byte{0}) {
		if value, ok := bytes.CutPrefix(variable, []byte(MarkEnv+"=")); ok {
			return string(value)
		}
	}
	return ""
}

// endDescendants kills what a child has started and what its group did not hold.
func endDescendants(mark string) { killMarked(func(m string) bool { return m == mark }) }

// prepare is done once, before the first child: no other process may read this one's environment and memory, where the
// secrets of the configuration are, through /proc (a child of root with CAP_SYS_PTRACE can), and what a host that was
// killed has left behind ends.
var prepare = sync.OnceFunc(func() {
	_ = unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0) // never fails for 0
	killMarked(orphaned)
})

// guardName is the first argument of the guard.
const guardName = "evosink-plugin-guard"

var guard struct {
	sync.Mutex
	possible bool      // the program calls Guard
	cmd      *exec.Cmd // while it runs
	life     *os.File  // it ends when this is closed, and the kernel closes it whatever ends the host
}

// startGuard makes sure that a guard runs, see [Guard].
func startGuard() error {
	guard.Lock()
	defer guard.Unlock()
	if !guard.possible {
		return nil
	}
	if guard.cmd != nil {
		if pid, _ := unix.Wait4(guard.cmd.Process.Pid, nil, unix.WNOHANG, nil); pid == 0 {
			return nil // it runs
		}
		_ = guard.life.Close()
	}
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	defer r.Close()
	cmd := &exec.Cmd{
		Path: "/proc/self/exe", Args: []string{guardName, thisHost().String()}, Env: []string{}, Dir: "/", Stdin: r,
		SysProcAttr: &syscall.SysProcAttr{Setsid: true}, // a signal to the host's group is none to it
	}
	if err := cmd.Start(); err != nil {
		_ = w.Close()
		return fmt.Errorf("start the guard of plugins: %w", err)
	}
	guard.cmd, guard.life = cmd, w
	return nil
}

// beGuard waits for the end of the host and kills what it has left behind then.
func beGuard(of string) {
	signal.Ignore(unix.SIGINT, unix.SIGTERM, unix.SIGHUP, unix.SIGPIPE) // it ends with its host, not before
	_, _ = io.Copy(io.Discard, os.Stdin)
	killMarked(func(mark string) bool { return strings.HasPrefix(mark, of+"/") })
}
