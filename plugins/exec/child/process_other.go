//go:build !unix

package child

import "syscall"

func attributes() *syscall.SysProcAttr { return nil }

// killGroup ends the process only: this system has no groups that could be used here.
func (p *Process) killGroup() { _ = p.cmd.Process.Kill() } // it may have ended

func (p *Process) reap() error {
	err := p.cmd.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.reaped = true
	return err
}

func (p *program) sealDescriptor() bool { return false }
