//go:build unix && !linux

package child

import "syscall"

// attributes put the child into a group of its own.
func attributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

func (p *Process) killGroup() { _ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL) } // an empty group is fine

// reap waits for the end of the process, then kills what it has started. A group that still has members keeps its id.
func (p *Process) reap() error {
	err := p.cmd.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.killGroup()
	p.reaped = true
	return err
}

func (p *program) sealDescriptor() bool { return false }
