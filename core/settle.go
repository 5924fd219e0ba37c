package core

import (
	"context"
	"slices"
	"sync"

	"github.com/evosink/evosink/core/sink"
)

// recent is how many of its last events a live sink remembers to have handled.
const recent = 1024

// progress knows how far a live sink has come, for those who wait for it.
type progress struct {
	mu sync.Mutex
	// mu guards the fields below.
	last     [recent]string // ids of the last events handled
	next     int
	position int64         // in the engine's log, if it has one
	moved    chan struct{} // closed at the next event; nil while nobody waits
}

// done says that an event has been handled. position is 0 where the engine has no log.
func (p *progress) done(id string, position int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.last[p.next] = id
	p.next = (p.next + 1) % recent
	p.position = max(p.position, position)
	if p.moved != nil {
		close(p.moved)
		p.moved = nil
	}
}

// handled waits until the event with that id, emitted a moment ago, has been handled, or ctx ends.
func (p *progress) handled(ctx context.Context, id string) error {
	return p.wait(ctx, func() bool { return slices.Contains(p.last[:], id) })
}

// reached waits until everything up to the position has been handled, or ctx ends.
func (p *progress) reached(ctx context.Context, position int64) error {
	return p.wait(ctx, func() bool { return p.position >= position })
}

// wait waits until condition holds, which is evaluated with mu held.
func (p *progress) wait(ctx context.Context, condition func() bool) error {
	for {
		moved := p.unless(condition)
		if moved == nil {
			return nil
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// unless returns nil if condition holds, else what is closed at the next event.
func (p *progress) unless(condition func() bool) chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	if condition() {
		return nil
	}
	if p.moved == nil {
		p.moved = make(chan struct{})
	}
	return p.moved
}

// Settle waits until every live sink of this node has handled the events with these ids, emitted a moment ago, and the
// queue has them for the others and has delivered what waits for the own targets of their instances, or ctx ends. Whoever
// removes an instance calls it first, so that sinks still find the settings by which they deliver its last events.
func (h *Hub) Settle(ctx context.Context, ids ...string) error {
	for _, p := range h.progresses() {
		for _, id := range ids {
			if err := p.handled(ctx, id); err != nil {
				return err
			}
		}
	}
	if h.queue != nil {
		return h.queue.drained(ctx, ids)
	}
	return nil
}

func (h *Hub) progresses() (out []*progress) {
	for _, m := range h.sinks {
		if m.mode == sink.Live {
			out = append(out, &m.progress)
		}
	}
	if h.queue != nil {
		out = append(out, &h.queue.progress)
	}
	return out
}
