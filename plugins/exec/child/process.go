package child

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"time"
)

// A Process is a running child. Make it with [Start]. Its three pipes belong to the caller, which reads both outputs to
// their ends: they end when the process does, whatever it has started.
type Process struct {
	In       *os.File // its standard input
	Out, Err *os.File // its standard output and error

	// Unguarded is why no guard runs although there should be one, see [Guard]; nil if all is well.
	Unguarded error

	program *program
	mark    string // of it and its descendants, see MarkEnv
	cmd     *exec.Cmd
	done    chan struct{} // closed when nothing is left of it

	mu sync.Mutex
	// mu guards the fields below.
	reaped bool  // the process's id is free for others
	exit   error // how it ended
}

// Start runs a command.
func Start(c Command) (*Process, error) {
	program, err := c.open()
	if err != nil {
		return nil, err
	}
	prepare()
	p := &Process{program: program, mark: newMark(), done: make(chan struct{})}
	p.cmd = &exec.Cmd{
		Path: program.path, Args: append([]string{c.Path}, c.Args...), Env: c.environ(p.mark), ExtraFiles: program.extra, SysProcAttr: attributes(),
	}
	theirs, err := p.pipes()
	p.Unguarded = startGuard()
	if err == nil {
		started := make(chan error)
		go p.own(started)
		err = <-started
	}
	for _, f := range theirs {
		err = errors.Join(err, f.Close())
	}
	if err != nil {
		p.closePipes()
		return nil, errors.Join(err, program.close())
	}
	return p, nil
}

// pipes connects the three streams and returns the child's ends.
func (p *Process) pipes() (theirs []*os.File, err error) {
	pipe := func(childReads bool) (child, ours *os.File) {
		if err != nil {
			return nil, nil
		}
		var r, w *os.File
		if r, w, err = os.Pipe(); err != nil {
			return nil, nil
		}
		if childReads {
			child, ours = r, w
		} else {
			child, ours = w, r
		}
		theirs = append(theirs, child)
		return child, ours
	}
	in, ours := pipe(true)
	p.In = ours
	out, ours := pipe(false)
	p.Out = ours
	errs, ours := pipe(false)
	p.Err = ours
	if err == nil {
		p.cmd.Stdin, p.cmd.Stdout, p.cmd.Stderr = in, out, errs
	}
	return theirs, err
}

func (p *Process) closePipes() {
	for _, f := range []*os.File{p.In, p.Out, p.Err} {
		if f != nil {
			_ = f.Close() // it is not used any more
		}
	}
}

// lastWords is how long the outputs may still be read after the process has ended. What it wrote itself is in the pipes
// by then; only a descendant that got away could make them last longer.
const lastWords = time.Second

// own is the goroutine of the process, from its start until nothing is left of it. It keeps its thread: on Linux the
// child's death is tied to that of the thread that started it.
func (p *Process) own(started chan<- error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	err := p.cmd.Start()
	started <- err
	if err != nil {
		return
	}
	defer close(p.done)
	exit := p.reap()
	end := time.Now().Add(lastWords)
	for _, f := range []*os.File{p.Out, p.Err} {
		if f.SetReadDeadline(end) != nil { // pipes of this system have none
			_ = f.Close()
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.exit = errors.Join(exit, p.program.close())
}

// Kill ends the process and its group at once. It does not wait, see [Process.Done]. Killing an ended process does
// nothing.
func (p *Process) Kill() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.reaped {
		p.killGroup()
	}
}

// Done is closed when the process has ended and its descendants are killed.
func (p *Process) Done() <-chan struct{} { return p.done }

// Exit says how the process has ended, after [Process.Done].
func (p *Process) Exit() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var exit *exec.ExitError
	switch {
	case p.exit == nil:
		return "it exited with code 0"
	case errors.As(p.exit, &exit) && exit.Exited():
		return fmt.Sprintf("it exited with code %d", exit.ExitCode())
	case errors.As(p.exit, &exit):
		return "it was ended by a " + exit.String()
	}
	return p.exit.Error()
}

// Pid returns the process's id.
func (p *Process) Pid() int { return p.cmd.Process.Pid }

// Close closes the pipes, after [Process.Done] and after the readers of the outputs have ended.
func (p *Process) Close() { p.closePipes() }
