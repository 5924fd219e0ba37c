package queue

import (
	"context"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/evosink/evosink/core/retry"
)

// pauses are those that hold lanes now. Those of the store are followed: what another node sets or ends holds here too,
// before the next attempt begins.
type pauses struct {
	queue *Queue
	nodes Steering     // nil for a store of one node
	seen  atomic.Int64 // the revision that was read last
	count atomic.Int64 // so that a queue without a pause takes no lock

	// order is held while pauses are read from the store or written to it, until memory agrees.
	order sync.Mutex

	mu sync.RWMutex
	// mu guards the fields below.
	by    map[Selector]Pause
	local map[Selector]bool // of them, those that are not stored
}

// begin makes empty pauses of a queue.
func (p *pauses) begin(q *Queue) {
	p.queue, p.by, p.local = q, map[Selector]Pause{}, map[Selector]bool{}
	p.nodes, _ = q.store.(Steering)
	p.seen.Store(-1)
}

// run follows the store until ctx ends.
func (p *pauses) run(ctx context.Context) {
	for ctx.Err() == nil {
		changed := p.nodes.Changed()
		if err := p.follow(ctx); err != nil {
			if ctx.Err() == nil {
				p.queue.log.Error().Err(err).Msg("pauses that other nodes set or end are not seen; trying again")
			}
			retry.Sleep(ctx.Done(), time.Second)
			continue
		}
		select {
		case <-changed:
		case <-ctx.Done():
		}
	}
}

// catchUp reads the store's pauses if another node has changed them. While they cannot be read the last ones hold.
func (p *pauses) catchUp(ctx context.Context) {
	if p.nodes != nil && p.nodes.PausesRevision() != p.seen.Load() {
		if err := p.follow(ctx); err != nil && ctx.Err() == nil {
			p.queue.log.Error().Err(err).Msg("pauses could not be read")
		}
	}
}

// follow reads the store's pauses, and lets go of what is not paused any more.
func (p *pauses) follow(ctx context.Context) error {
	p.order.Lock()
	defer p.order.Unlock()
	revision := int64(0)
	if p.nodes != nil {
		revision = p.nodes.PausesRevision()
	}
	if revision == p.seen.Load() {
		return nil
	}
	stored, err := p.queue.store.Pauses(ctx)
	if err != nil {
		return err
	}
	ended := p.replace(stored)
	p.seen.Store(revision)
	for _, s := range ended {
		p.queue.resume(s)
	}
	return nil
}

// replace takes the store's pauses in place of those that were stored before, and returns those that have ended.
func (p *pauses) replace(stored []Pause) (ended []Selector) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := map[Selector]Pause{}
	for _, pause := range stored {
		now[pause.Selector] = pause
	}
	for s, pause := range p.by {
		if _, ok := now[s]; !ok && p.local[s] {
			now[s] = pause
		} else if !ok {
			ended = append(ended, s)
		}
	}
	p.by = now
	p.count.Store(int64(len(p.by)))
	return ended
}

// set stores a pause, and has it hold lanes.
func (p *pauses) set(ctx context.Context, pause Pause) error {
	p.order.Lock()
	defer p.order.Unlock()
	if err := p.queue.store.PutPause(ctx, pause); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.by[pause.Selector] = pause
	delete(p.local, pause.Selector)
	p.count.Store(int64(len(p.by)))
	return nil
}

// setLocal has a pause hold lanes before set stores it.
func (p *pauses) setLocal(pause Pause) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.by[pause.Selector], p.local[pause.Selector] = pause, true
	p.count.Store(int64(len(p.by)))
}

// end removes a pause, here and from the store.
func (p *pauses) end(ctx context.Context, s Selector) error {
	p.order.Lock()
	defer p.order.Unlock()
	if err := p.queue.store.DeletePause(ctx, s); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.by, s)
	delete(p.local, s)
	p.count.Store(int64(len(p.by)))
	return nil
}

func (p *pauses) all() []Pause {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return slices.Collect(maps.Values(p.by))
}

// hold reports whether a pause holds the lane.
func (p *pauses) hold(l LaneKey) bool {
	_, ok := p.of(l)
	return ok
}

// of returns the pause that holds a lane.
func (p *pauses) of(l LaneKey) (Pause, bool) {
	if p.count.Load() == 0 {
		return Pause{}, false
	}
	p.mu.RLock()
	defer p.mu.RUnlock()
	for _, s := range [...]Selector{
		{}, {Sink: l.Sink}, {Sink: l.Sink, Target: l.Target}, {Sink: l.Sink, Instance: l.Instance}, {Instance: l.Instance},
		{Target: l.Target}, {Target: l.Target, Instance: l.Instance}, {Sink: l.Sink, Target: l.Target, Instance: l.Instance},
	} {
		if pause, ok := p.by[s]; ok {
			return pause, true
		}
	}
	return Pause{}, false
}
