package core

import (
	"errors"
	"strings"
	"sync"
)

// ErrClosed is returned by what is called on a hub after its end.
var ErrClosed = errors.New("the hub is closed")

// Unfinished is the error of a [Hub.Run] that was stopped and had to cut something off: which deliveries, which sinks,
// one per entry. Nothing that was accepted is lost by that: what was cut off is delivered again at the next start.
type Unfinished struct{ What []error }

func (u *Unfinished) Error() string {
	return "not ended in time: " + strings.ReplaceAll(errors.Join(u.What...).Error(), "\n", "; ")
}

// Unwrap returns the parts.
func (u *Unfinished) Unwrap() []error { return u.What }

// unfinished makes an error of what was cut off, nil of nothing.
func unfinished(what []error) error {
	if len(what) == 0 {
		return nil
	}
	return &Unfinished{what}
}

// A lifecycle is how far a hub has come. It runs once: a hub that was stopped or closed does not run again.
type lifecycle struct {
	started chan struct{} // closed when Run has started everything
	stop    chan struct{} // closed when deliveries are to end
	refuse  chan struct{} // closed when no event is taken any more
	done    chan struct{} // closed when Run has returned, or never will run

	mu sync.Mutex
	// mu guards the fields below.
	running, stopped, closed bool
}

func newLifecycle() *lifecycle {
	return &lifecycle{
		started: make(chan struct{}), stop: make(chan struct{}), refuse: make(chan struct{}), done: make(chan struct{}),
	}
}

// beginRun reports whether Run may go on: once, and not after shut.
func (l *lifecycle) beginRun() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.running || l.closed {
		return false
	}
	l.running = true
	return true
}

// halt has deliveries end; events are still taken.
func (l *lifecycle) halt() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.stopped {
		l.stopped = true
		close(l.stop)
	}
}

// shut is halt, and has events refused. It reports whether it was called for the first time on a hub that never ran.
func (l *lifecycle) shut() (unused bool) {
	l.halt()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return false
	}
	l.closed = true
	close(l.refuse)
	if !l.running {
		close(l.done)
	}
	return !l.running
}
