// Package tasks counts goroutines, so that their owner can wait for them.
package tasks

import (
	"context"
	"sync"
)

// A Group is the goroutines of one owner. Unlike a sync.WaitGroup it may grow
// from nothing while Wait waits, and waiting ends with a context. The zero
// value is ready; its methods may be called by any number of goroutines.
type Group struct {
	mu sync.Mutex
	// mu guards the fields below.
	running int
	closed  bool
	done    chan struct{} // closed when running reaches 0, if Wait waits
}

// Go runs f in a goroutine of its own. After Close it returns false, and has
// not.
func (g *Group) Go(f func()) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return false
	}
	g.running++
	go func() {
		defer g.finish()
		f()
	}()
	return true
}

func (g *Group) finish() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.running--; g.running == 0 && g.done != nil {
		close(g.done)
		g.done = nil
	}
}

// Wait returns nil once nothing runs, or the context's error if that ends
// first.
func (g *Group) Wait(ctx context.Context) error {
	done := g.idle()
	if done == nil {
		return nil
	}
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Close lets nothing more start, and waits.
func (g *Group) Close(ctx context.Context) error {
	g.mu.Lock()
	g.closed = true
	g.mu.Unlock()
	return g.Wait(ctx)
}

// idle returns what is closed when nothing runs; nil if nothing does.
func (g *Group) idle() <-chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.running > 0 && g.done == nil {
		g.done = make(chan struct{})
	}
	return g.done
}
