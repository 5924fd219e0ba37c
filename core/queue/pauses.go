package queue

import (
	"context"
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
	by    map[Selector][]Pause // those of a selector have different ids
	local map[pauseKey]bool    // of them, those that are not stored
}

// pauseKey is what one pause is told from another by.
type pauseKey struct {
	Selector
	instanceID string
}

func (p Pause) key() pauseKey         { return pauseKey{p.Selector, p.InstanceID} }
func (p Pause) same(other Pause) bool { return p.key() == other.key() }

// begin makes empty pauses of a queue.
func (p *pauses) begin(q *Queue) {
	p.queue, p.by, p.local = q, map[Selector][]Pause{}, map[pauseKey]bool{}
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
	for _, pause := range ended {
		p.queue.resume(pause.Selector)
	}
	return nil
}

// replace takes the store's pauses in place of those that were stored before, and returns those that have ended.
func (p *pauses) replace(stored []Pause) (ended []Pause) {
	p.mu.Lock()
	defer p.mu.Unlock()
	before := p.by
	p.by = map[Selector][]Pause{}
	for _, pause := range stored {
		p.add(pause)
	}
	for _, former := range before {
		for _, pause := range former {
			switch kept := slices.ContainsFunc(p.by[pause.Selector], pause.same); {
			case kept:
			case p.local[pause.key()]:
				p.add(pause)
			default:
				ended = append(ended, pause)
			}
		}
	}
	p.count.Store(int64(len(p.by)))
	return ended
}

// add puts a pause in the place of the same one. Held: mu.
func (p *pauses) add(pause Pause) {
	others := slices.DeleteFunc(slices.Clone(p.by[pause.Selector]), pause.same)
	p.by[pause.Selector] = append(others, pause)
	p.count.Store(int64(len(p.by)))
}

// remove takes out the pauses of a selector that gone reports. Held: mu.
func (p *pauses) remove(s Selector, gone func(Pause) bool) {
	for _, pause := range p.by[s] {
		if gone(pause) {
			delete(p.local, pause.key())
		}
	}
	if p.by[s] = slices.DeleteFunc(p.by[s], gone); len(p.by[s]) == 0 {
		delete(p.by, s)
	}
	p.count.Store(int64(len(p.by)))
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
	p.add(pause)
	delete(p.local, pause.key())
	return nil
}

// setLocal has a pause hold lanes before set stores it.
func (p *pauses) setLocal(pause Pause) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.add(pause)
	p.local[pause.key()] = true
}

// end removes the pauses of a selector, here and from the store.
func (p *pauses) end(ctx context.Context, s Selector) error {
	p.order.Lock()
	defer p.order.Unlock()
	if err := p.queue.store.DeletePause(ctx, s); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.remove(s, func(Pause) bool { return true })
	return nil
}

// endOf removes the pauses of an instance that was deleted, here and from the store, and returns their selectors.
func (p *pauses) endOf(ctx context.Context, instance, id string) (ended []Selector, err error) {
	p.order.Lock()
	defer p.order.Unlock()
	its := func(pause Pause) bool {
		return pause.Instance == instance && (pause.InstanceID == "" || pause.InstanceID == id)
	}
	for _, pause := range p.all() {
		if its(pause) {
			ended = append(ended, pause.Selector)
		}
	}
	if ended == nil {
		return nil, nil
	}
	if err := p.queue.store.DeletePausesOf(ctx, instance, id); err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range ended {
		p.remove(s, its)
	}
	return ended, nil
}

func (p *pauses) all() (out []Pause) {
	p.mu.RLock()
	defer p.mu.RUnlock()
	for _, pauses := range p.by {
		out = append(out, pauses...)
	}
	return out
}

// of returns a pause that holds a lane.
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
		for _, pause := range p.by[s] {
			if pause.Has(l) {
				return pause, true
			}
		}
	}
	return Pause{}, false
}
