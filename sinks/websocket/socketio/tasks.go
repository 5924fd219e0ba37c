package socketio

import (
	"context"
	"sync"
)

// tasks counts the goroutines of a server. The zero value is ready.
type tasks struct {
	mu sync.Mutex
	// mu guards the fields below.
	running int
	closed  bool
	done    chan struct{} // made by close, closed when running reaches 0
}

// start runs f in a goroutine of its own, unless the server is closed.
func (t *tasks) start(f func()) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return false
	}
	t.running++
	go func() {
		defer t.finish()
		f()
	}()
	return true
}

func (t *tasks) finish() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.running--; t.running == 0 && t.done != nil {
		close(t.done)
	}
}

// close lets nothing more start, and waits until nothing runs or ctx ends.
func (t *tasks) close(ctx context.Context) error {
	t.mu.Lock()
	t.closed = true
	if t.running == 0 {
		t.mu.Unlock()
		return nil
	}
	if t.done == nil {
		t.done = make(chan struct{})
	}
	done := t.done
	t.mu.Unlock()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
