package engineio

import (
	"context"
	"sync"
)

// tasks counts the goroutines a server owns. Unlike a sync.WaitGroup it may
// grow from nothing while somebody waits. The zero value is ready.
type tasks struct {
	mu sync.Mutex
	// mu guards the fields below.
	running int
	done    chan struct{} // closed when running reaches 0, if someone waits
}

// start runs f in a goroutine of its own.
func (t *tasks) start(f func()) {
	t.mu.Lock()
	t.running++
	t.mu.Unlock()
	go func() {
		defer t.finish()
		f()
	}()
}

func (t *tasks) finish() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.running--; t.running == 0 && t.done != nil {
		close(t.done)
		t.done = nil
	}
}

// wait returns nil once nothing runs, or the context's error if that ends
// first.
func (t *tasks) wait(ctx context.Context) error {
	t.mu.Lock()
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
