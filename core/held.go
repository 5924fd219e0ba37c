package core

import (
	"context"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/evosink/evosink/core/bus"
	"github.com/evosink/evosink/core/uses"
)

// A heldShard is a shard that this node has the lease of. Its lanes are in the queue, and its subscription brings
// batches to the dispatcher.
type heldShard struct {
	lease bus.Lease // as it was acquired
	life  *life
	// A subscription ends in two steps, if life does not end before: stop ends taking, and nothing more is taken from
	// the log; cut ends handling, and what was taken is waited for no longer.
	taking, handling context.Context
	stop, cut        context.CancelFunc
	subscriptions    uses.Counter // at most one is under way; closed with stop
}

// newHeldShard returns the shard of a lease that was just acquired, and lasts so long unless it is renewed.
func newHeldShard(l bus.Lease, ttl time.Duration) *heldShard {
	h := &heldShard{lease: l, life: &life{}}
	h.life.Context, h.life.end = context.WithCancel(context.Background())
	h.life.extend(l, ttl)
	h.handling, h.cut = context.WithCancel(h.life)
	h.taking, h.stop = context.WithCancel(h.handling)
	return h
}

// A life is the time in which a shard may be worked on: it ends when the shard is another node's, or may be.
type life struct {
	context.Context
	end   context.CancelFunc
	until atomic.Pointer[time.Time] // nil if it does not end by itself
	timer *time.Timer               // set to until; nil with it
}

// Err looks at the clock too: in a process that was frozen the timer comes late.
func (l *life) Err() error {
	if until := l.until.Load(); until != nil && !time.Now().Before(*until) {
		l.end()
	}
	return l.Context.Err()
}

// extend has a life that has not ended last as long as the lease, but for the last fifth of the lease time, in which
// what is under way ends. It is called by one goroutine at a time, as is finish.
func (l *life) extend(lease bus.Lease, ttl time.Duration) {
	if lease.Until.IsZero() || l.Err() != nil {
		return
	}
	until := lease.Until.Add(-ttl / 5)
	l.until.Store(&until)
	if l.timer == nil {
		l.timer = time.AfterFunc(time.Until(until), l.end)
	} else {
		l.timer.Reset(time.Until(until))
	}
}

// finish ends a life.
func (l *life) finish() {
	l.end()
	if l.timer != nil {
		l.timer.Stop()
	}
}

// heldShards are the shards that this node holds. Any number of goroutines may use them at once.
type heldShards struct {
	mu sync.Mutex
	// mu guards the fields below.
	by      map[int]*heldShard
	changed chan struct{} // closed and replaced when by changes
}

// get returns a shard; nil if it is not held.
func (s *heldShards) get(shard int) *heldShard {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.by[shard]
}

// list returns what is held, by shard.
func (s *heldShards) list() (out []*heldShard) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, shard := range slices.Sorted(maps.Keys(s.by)) {
		out = append(out, s.by[shard])
	}
	return out
}

// update changes what is held, and has what waits for that look again.
func (s *heldShards) update(change func(by map[int]*heldShard)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(s.by)
	close(s.changed)
	s.changed = make(chan struct{})
}

// subscribe begins a subscription of a shard, which ends with ctx, or when the shard's work is cut off. If the shard is
// not held it is nil, and changed is closed when that may be otherwise.
func (s *heldShards) subscribe(ctx context.Context, shard int) (sub *subscription, changed <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	h := s.by[shard]
	if h == nil || h.life.Err() != nil || !h.subscriptions.Begin() {
		return nil, s.changed
	}
	sub = &subscription{shard: h}
	sub.ctx, sub.cancel = context.WithCancel(ctx)
	sub.unwatch = context.AfterFunc(h.handling, sub.cancel)
	return sub, nil
}
