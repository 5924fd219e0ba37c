package core

import (
	"context"
	"fmt"
	"sync"

	"github.com/evosink/evosink/core/bus"
	"github.com/evosink/evosink/core/sink"
)

// A progress is how far something has come in the log: up to which position of each shard. The zero value has not
// begun.
type progress struct {
	mu sync.Mutex
	// mu guards the fields below.
	at    map[int]bus.Position // by shard
	last  bus.Position         // of all shards, on an engine with one order for them
	moved chan struct{}        // closed when at changes; nil while nothing waits
}

// reach notes that everything of a shard up to a position is done. What was done up to a later one stays.
func (p *progress) reach(shard int, at bus.Position) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.at == nil {
		p.at = map[int]bus.Position{}
	}
	p.at[shard], p.last = max(p.at[shard], at), max(p.last, at)
	if p.moved != nil {
		close(p.moved)
		p.moved = nil
	}
}

// of returns up to which position of a shard everything is done, 0 for none.
func (p *progress) of(shard int) bus.Position {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.at[shard]
}

// handled waits until everything of a shard up to a position is done, or ctx ends.
func (p *progress) handled(ctx context.Context, shard int, at bus.Position) error {
	return p.wait(ctx, func() bool { return p.at[shard].Compare(at) >= 0 })
}

// replayed waits until everything up to where sink.Log.Replay has ended is done, or ctx ends.
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
	at := h.newest.of(shard)
	for _, r := range h.sinks {
		if r.mode == sink.Live {
			if err := r.progress.handled(ctx, shard, at); err != nil {
				return err
			}
		}
	}
	if h.queued == nil || at == 0 {
		return nil
	}
	if err := h.opts.Bus.Reached(ctx, bus.Cursor{Group: dispatchGroup, Shard: shard, Position: at}); err != nil {
		return err
	}
	return h.queued.queue.Drained(ctx, instance)
}
