package queue

import (
	"maps"
	"slices"
	"sync"
	"sync/atomic"
)

// pauses are those that hold lanes now.
type pauses struct {
	count atomic.Int64 // so that a queue without a pause takes no lock

	mu sync.RWMutex
	by map[Selector]Pause // guarded by mu
}

func (p *pauses) put(pause Pause) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.by == nil {
		p.by = map[Selector]Pause{}
	}
	p.by[pause.Selector] = pause
	p.count.Store(int64(len(p.by)))
}

func (p *pauses) remove(s Selector) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.by, s)
	p.count.Store(int64(len(p.by)))
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
