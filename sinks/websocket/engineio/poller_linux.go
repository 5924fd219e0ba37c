package engineio

import (
	"fmt"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/evosink/evosink/sinks/websocket/internal/tasks"
)

// A poller waits for input on parked connections with one epoll instance, so
// that an idle connection needs neither goroutine nor read buffer. The epoll
// descriptor is itself watched by the Go runtime: waiting costs a goroutine,
// not a thread. That goroutine runs while there are connections.
type poller struct {
	tasks *tasks.Group
	file  *os.File
	raw   syscall.RawConn
	epoll int

	// mu guards the fields below.
	mu      sync.Mutex
	conns   []*conn // by descriptor
	count   int
	running bool
}

func newPoller(tasks *tasks.Group) (*poller, error) {
	epoll, err := syscall.EpollCreate1(syscall.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	if err := syscall.SetNonblock(epoll, true); err != nil {
		syscall.Close(epoll)
		return nil, os.NewSyscallError("fcntl", err)
	}
	p := &poller{tasks: tasks, epoll: epoll, file: os.NewFile(uintptr(epoll), "epoll")}
	if err := p.file.SetReadDeadline(time.Time{}); err != nil {
		p.file.Close()
		return nil, fmt.Errorf("wait for epoll: %w", err)
	}
	if p.raw, err = p.file.SyscallConn(); err != nil {
		p.file.Close()
		return nil, err
	}
	return p, nil
}

// add makes c known; it is watched after arm. c must be removed.
func (p *poller) add(c *conn) error {
	p.mu.Lock() // before there can be an event: a hang-up comes unasked
	defer p.mu.Unlock()
	if err := p.control(c, syscall.EPOLL_CTL_ADD, 0); err != nil {
		return err
	}
	if missing := int(c.descriptor) + 1 - len(p.conns); missing > 0 {
		p.conns = append(p.conns, make([]*conn, missing)...)
	}
	p.conns[c.descriptor] = c
	if p.count++; !p.running {
		p.running = true
		p.setDeadline(time.Time{})
		p.tasks.Go(p.run)
	}
	return nil
}

// arm watches c until the next input, which may be there already.
func (p *poller) arm(c *conn) error {
	return p.control(c, syscall.EPOLL_CTL_MOD, syscall.EPOLLIN|syscall.EPOLLRDHUP)
}

// remove forgets c, whether or not its descriptor is still open; if not, the
// system has forgotten it before.
func (p *poller) remove(c *conn) {
	_ = p.control(c, syscall.EPOLL_CTL_DEL, 0)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.conns[c.descriptor] == c { // else a newer connection has the number
		p.conns[c.descriptor] = nil
	}
	if p.count--; p.count == 0 {
		p.setDeadline(time.Unix(1, 0)) // ends run
	}
}

func (p *poller) control(c *conn, operation int, events uint32) error {
	var failed error
	err := c.raw.Control(func(descriptor uintptr) {
		c.descriptor = int32(descriptor)
		event := syscall.EpollEvent{Fd: c.descriptor, Events: events | syscall.EPOLLONESHOT}
		failed = syscall.EpollCtl(p.epoll, operation, int(descriptor), &event)
	})
	if err != nil {
		return err
	}
	return os.NewSyscallError("epoll_ctl", failed)
}

// run wakes connections until there are none.
func (p *poller) run() {
	events := make([]syscall.EpollEvent, 128)
	for {
		n, err := p.wait(events)
		if err != nil && p.stop() {
			return
		}
		for _, event := range events[:n] {
			if c := p.at(event.Fd); c != nil {
				c.wake() // in vain if the number has just changed hands
			}
		}
	}
}

// wait returns the next events, or an error when there may be no connections.
func (p *poller) wait(events []syscall.EpollEvent) (n int, err error) {
	var failed error
	err = p.raw.Read(func(epoll uintptr) bool {
		n, failed = syscall.EpollWait(int(epoll), events, 0)
		return n != 0
	})
	if n < 0 || err != nil {
		n = 0
	}
	if err == nil && failed != nil && failed != syscall.EINTR {
		err = os.NewSyscallError("epoll_wait", failed)
	}
	return n, err
}

// stop reports whether run is to end.
func (p *poller) stop() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.count > 0 {
		p.setDeadline(time.Time{})
		return false
	}
	p.running = false
	return true
}

func (p *poller) at(descriptor int32) *conn {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.conns[descriptor]
}

// setDeadline cannot fail: newPoller has tried it.
func (p *poller) setDeadline(t time.Time) { _ = p.file.SetReadDeadline(t) }

// close is called when no connection is left.
func (p *poller) close() { p.file.Close() }
