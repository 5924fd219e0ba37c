package core

import (
	"context"
	"sync"
)

// recent is how many of its last events a live sink remembers to have handled.
const recent = 256

// progress remembers the last events that a handler is done with, for those who wait for one.
type progress struct {
	mu sync.Mutex
	// mu guards the fields below.
	last    [recent]string
	next    int
	waiting map[string]chan struct{}
}

// done says that the event has been handled.
func (p *progress) done(id string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.last[p.next] = id
	p.next = (p.next + 1) % recent
	if ch, ok := p.waiting[id]; ok {
		close(ch)
		delete(p.waiting, id)
	}
}

// wait returns when the event has been handled or ctx ends.
func (p *progress) wait(ctx context.Context, id string) error {
	ch := p.expect(id)
	if ch == nil {
		return nil
	}
	select {
	case <-ch:
		return nil
	case <-ctx.Done():
		p.forget(id)
		return ctx.Err()
	}
}

// forget lets go of an event that nobody waits for any more: one that never comes must not be kept for ever.
func (p *progress) forget(id string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.waiting, id)
}

// expect returns what is closed when the event has been handled, nil if it has been.
func (p *progress) expect(id string) chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, last := range p.last {
		if last == id {
			return nil
		}
	}
	ch, ok := p.waiting[id]
	if !ok {
		ch = make(chan struct{})
		if p.waiting == nil {
			p.waiting = map[string]chan struct{}{}
		}
		p.waiting[id] = ch
	}
	return ch
}

// Settle waits until every live sink of this node has handled the events with these ids, emitted a moment ago, or ctx
// ends. Whoever removes an instance calls it first, so that sinks still find the settings by which they deliver its last events.
func (h *Hub) Settle(ctx context.Context, ids ...string) error {
	for _, m := range h.sinks {
		for _, id := range ids {
			if err := m.progress.wait(ctx, id); err != nil {
				return err
			}
		}
	}
	return nil
}
