package core

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/evosink/evosink/core/bus"
	"github.com/evosink/evosink/core/sink"
)

// newest is the position of the last event of each shard that the hub has emitted.
type newest []atomic.Int64

func (n newest) note(shard int, positions []bus.Position) {
	for _, p := range positions {
		for at := n[shard].Load(); at < int64(p) && !n[shard].CompareAndSwap(at, int64(p)); {
			at = n[shard].Load()
		}
	}
}

func (n newest) at(shard int) bus.Position { return bus.Position(n[shard].Load()) }

// progress knows up to which position a live sink has handled the events of each shard.
type progress struct {
	mu sync.Mutex
	// mu guards the fields below.
	at    map[int]bus.Position // by shard
	last  bus.Position         // of all shards, on an engine with one order for them
	moved chan struct{}        // closed at the next event; nil while nothing waits
}

// done says that everything up to a cursor has been handled; nil where the engine has no positions.
func (p *progress) done(c *bus.Cursor) {
	if c == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.at == nil {
		p.at = map[int]bus.Position{}
	}
	p.at[c.Shard], p.last = max(p.at[c.Shard], c.Position), max(p.last, c.Position)
	if p.moved != nil {
		close(p.moved)
		p.moved = nil
	}
}

// handled waits until everything of a shard up to a position has been handled, or ctx ends.
func (p *progress) handled(ctx context.Context, shard int, at bus.Position) error {
	return p.wait(ctx, func() bool { return p.at[shard].Compare(at) >= 0 })
}

// replayed waits until everything up to where sink.Log.Replay has ended has been handled, or ctx ends.
func (p *progress) replayed(ctx context.Context, end int64) error {
	return p.wait(ctx, func() bool { return p.last.Compare(bus.Position(end)) >= 0 })
}

// wait waits until condition holds, which is evaluated with mu held.
func (p *progress) wait(ctx context.Context, condition func() bool) error {
	for {
		p.mu.Lock()
		holds := condition()
		if !holds && p.moved == nil {
			p.moved = make(chan struct{})
		}
		moved := p.moved
		p.mu.Unlock()
		if holds {
			return nil
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Settle waits until what this hub has emitted for an instance before the call is handled, or ctx ends: every live sink
// of this node has it, the queue has it for the others, on whichever node, and nothing waits here any more for the
// instance's own targets. Call it before the instance is removed, so that sinks still find the settings by which they
// deliver its last events. On an engine without Positions it is [bus.ErrUnsupported].
func (h *Hub) Settle(ctx context.Context, instance string) error {
	if !h.opts.Bus.Features().Positions {
		return fmt.Errorf("wait for the events of instance %q: positions: %w", instance, bus.ErrUnsupported)
	}
	shard := bus.Shard(instance, h.opts.Bus.Shards())
	at := h.newest.at(shard)
	for _, m := range h.sinks {
		if m.mode == sink.Live {
			if err := m.progress.handled(ctx, shard, at); err != nil {
				return err
			}
		}
	}
	if h.queue == nil || at == 0 {
		return nil
	}
	if err := h.opts.Bus.Reached(ctx, bus.Cursor{Group: dispatchGroup, Shard: shard, Position: at}); err != nil {
		return err
	}
	return h.queue.queue.Drained(ctx, instance)
}
