package child

import (
	"errors"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// attributes put the child into a group of its own, and have the kernel end it when the thread that started it ends.
func attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

func (p *Process) killGroup() { _ = unix.Kill(-p.cmd.Process.Pid, unix.SIGKILL) } // an empty group is fine

// reap waits for the end of the process and kills what it has started before the process's id, which is the group's,
// can be another process's.
func (p *Process) reap() error {
	for errors.Is(unix.Waitid(unix.P_PID, p.cmd.Process.Pid, nil, unix.WEXITED|unix.WNOWAIT, nil), unix.EINTR) {
	}
	p.mu.Lock()
	p.killGroup()
	p.reaped = true
	p.mu.Unlock()
	endDescendants(p.mark)
	exit := p.cmd.Wait()
	// In a container evosink may be the first process: what was killed in the group is its child then, and would stay a
	// zombie.
	for {
		if _, err := unix.Wait4(-p.cmd.Process.Pid, nil, 0, nil); err != nil && !errors.Is(err, unix.EINTR) {
			return exit
		}
	}
}

// sealDescriptor has the descriptor executed that was checked: it is the child's first beside the streams.
func (p *program) sealDescriptor() bool {
	if _, err := os.Stat("/proc/self/fd"); err != nil {
		return false
	}
	p.path, p.extra = "/proc/self/fd/3", []*os.File{p.file}
	return true
}
