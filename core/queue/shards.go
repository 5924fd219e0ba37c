package queue

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/evosink/evosink/core/bus"
)

// An Owned is a shard that this node owns, see [Queue.Acquire].
type Owned struct {
	Lease bus.Lease
	// Life ends when the shard is another node's, or may be: nothing of it is attempted or written any more then. Its Err
	// is asked before each attempt. nil stands for one that does not end.
	Life context.Context
}

// A holding is the queue's part of a shard that this node owns: its lanes in memory, and what is under way in them.
type holding struct {
	lease    bus.Lease
	life     context.Context
	attempts context.Context // of the attempts in its lanes
	cancel   context.CancelFunc
	state    atomic.Int32
	dropping sync.Once
	work     sync.WaitGroup // puts, purges, requeues, attempts, and what is not written down
	track    track          // of the shard's log
}

// Where a holding is in its life.
const (
	acquiring int32 = iota // its lanes are being read
	held
	releasing // no attempt of it begins, nothing is put
	gone      // its lanes are dropped, and nothing of it is written
)

// works reports whether attempts of the shard may begin, as far as the queue was told.
func (h *holding) works() bool { return h.state.Load() <= held }

// mayBegin reports whether an attempt may begin now.
func (h *holding) mayBegin() bool { return h.works() && h.life.Err() == nil }

func (h *holding) gone() bool { return h.state.Load() == gone }

// holdings are the shards that a node owns.
type holdings struct {
	mu sync.RWMutex
	by map[int]*holding // guarded by mu; a shard's entry goes when memory has none of its lanes any more
}

// add notes shards that are being acquired, all or none.
func (s *holdings) add(all []*holding) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, h := range all {
		if s.by[h.lease.Shard] != nil {
			return fmt.Errorf("queue: shard %d is held already, or not let go of yet", h.lease.Shard)
		}
	}
	for _, h := range all {
		s.by[h.lease.Shard] = h
	}
	return nil
}

func (s *holdings) remove(h *holding) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.by[h.lease.Shard] == h {
		delete(s.by, h.lease.Shard)
	}
}

// change moves a holding from one state to another, if it is still in the first. No work is added meanwhile.
func (s *holdings) change(h *holding, from, to int32) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return h.state.CompareAndSwap(from, to)
}

// get returns the holding of a shard; nil if it is not held.
func (s *holdings) get(shard int) *holding {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if h := s.by[shard]; h != nil && h.state.Load() == held {
		return h
	}
	return nil
}

// all returns those of all shards, also of those that are let go of.
func (s *holdings) all() (out []*holding) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, h := range s.by {
		out = append(out, h)
	}
	return out
}

// use begins work on a shard, which ends with holding.work.Done. Its error wraps [ErrNotHeld].
func (s *holdings) use(shard int) (*holding, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	h := s.by[shard]
	if h == nil || h.state.Load() != held {
		return nil, fmt.Errorf("%w %d", ErrNotHeld, shard)
	}
	h.work.Add(1)
	return h, nil
}

// shardOf returns the shard of an instance.
func (q *Queue) shardOf(instance string) int { return bus.Shard(instance, q.shards) }

// Acquire takes over the lanes of shards that this node owns from now on, and begins to deliver what waits in them. The
// lanes of all are read at once. After an error none is held. A shard is held until [Queue.Release], or until its Life
// ends or the store says that it is another node's: then its attempts are cancelled, and its lanes are dropped without
// writing anything.
func (q *Queue) Acquire(ctx context.Context, owned ...Owned) error {
	if err := q.running(); err != nil || len(owned) == 0 {
		return err
	}
	all, byShard := make([]*holding, len(owned)), make(map[int]*holding, len(owned))
	shards := make([]int, len(owned))
	for i, o := range owned {
		if o.Life == nil {
			o.Life = context.Background()
		}
		h := &holding{lease: o.Lease, life: o.Life}
		h.track.wake, h.track.maxBytes = q.ledger.wake, max(1, int64(q.config.CacheBytes/q.shards))
		h.attempts, h.cancel = context.WithCancel(q.attempts)
		all[i], shards[i], byShard[o.Lease.Shard] = h, o.Lease.Shard, h
	}
	if err := q.holdings.add(all); err != nil {
		for _, h := range all {
			h.cancel()
		}
		return err
	}
	backlog, err := q.store.Lanes(ctx, shards...)
	if err == nil {
		err = q.readMarks(ctx, byShard, shards)
	}
	if err != nil {
		for _, h := range all {
			q.drop(h)
		}
		return fmt.Errorf("read the queue: %w", err)
	}
	for _, b := range backlog {
		if h := byShard[q.shardOf(b.Instance)]; h != nil {
			q.restore(h, b)
		}
	}
	for _, h := range all {
		q.holdings.change(h, acquiring, held)
		context.AfterFunc(h.life, func() { q.drop(h) })
	}
	q.jobs.look()
	return nil
}

// Release lets go of a shard: no attempt of it begins any more and nothing is put into its lanes. Attempts that are
// under way may end until ctx does, and are cancelled then; their results are written down, and the lanes forgotten.
// What an error tells had to be left comes again, from the shard's next owner. A shard that is not held is no error.
func (q *Queue) Release(ctx context.Context, shard int) error {
	h := q.holdings.get(shard)
	if h == nil || !q.holdings.change(h, held, releasing) {
		return nil
	}
	defer q.drop(h)
	q.mu.RLock()
	over := q.stage == ended
	q.mu.RUnlock()
	if over {
		return nil // Close has done the rest
	}
	for _, s := range q.schedulers() {
		s.halt(h) // an attempt that has begun is counted in work from here on
	}
	q.door.capacity.freed() // what waits for room waits no more
	done := make(chan struct{})
	go func() { // ends with the attempts
		h.work.Wait()
		close(done)
	}()
	if closedInTime(ctx, 0, done) {
		return q.ledger.await(ctx, true, func() bool { return h.gone() || !h.track.dirty() })
	}
	h.cancel()
	if !closedInTime(ctx, graceAttempts, done) {
		return fmt.Errorf(
			"queue: shard %d is let go of while a delivery is under way or its result is not written down", shard)
	}
	return nil
}

// Drop forgets a shard at once: it is another node's, or may be. What is under way is cancelled, and what has come of
// it is not written down. A shard that is not held is no error.
func (q *Queue) Drop(shard int) {
	q.holdings.mu.RLock()
	h := q.holdings.by[shard]
	q.holdings.mu.RUnlock()
	if h != nil {
		q.drop(h)
	}
}

// drop returns when memory has nothing of the shard any more.
func (q *Queue) drop(h *holding) {
	h.dropping.Do(func() {
		h.state.Store(gone)
		h.cancel()
		for _, s := range q.schedulers() {
			s.drop(h)
		}
		q.door.capacity.freed()
		q.holdings.remove(h)
	})
}

// fenced drops a shard if err says that it is another node's, and tells its owner here.
func (q *Queue) fenced(h *holding, err error) {
	if errors.Is(err, bus.ErrFenced) && !h.gone() {
		q.drop(h)
		q.log.Warn().Int("shard", h.lease.Shard).Int64("epoch", h.lease.Epoch).
			Msg("a shard is another node's: its deliveries go on there")
		if q.lost != nil {
			q.lost(h.lease)
		}
	}
}

// readMarks reads how far shards of the log are handled.
func (q *Queue) readMarks(ctx context.Context, of map[int]*holding, shards []int) error {
	marks, err := q.store.Marks(ctx, shards...)
	for _, m := range marks {
		if h := of[m.Cursor.Shard]; h != nil && m.Cursor.Group == h.lease.Group && err == nil {
			err = h.track.begin(m)
		}
	}
	return err
}

// giveUp drops a shard whose lanes in memory may not be those of the store any more, and tells its owner here, who may
// acquire it anew.
func (q *Queue) giveUp(shard int) {
	q.holdings.mu.RLock()
	h := q.holdings.by[shard]
	q.holdings.mu.RUnlock()
	if h == nil || h.gone() {
		return
	}
	q.drop(h)
	q.log.Warn().Int("shard", shard).
		Msg("the store has done what it had said had failed: what waits in a shard is read anew")
	if q.lost != nil {
		q.lost(h.lease)
	}
}

// restore takes over a lane from the store.
func (q *Queue) restore(h *holding, b Backlog) {
	s := q.scheduler(b.Sink)
	s.mu.Lock()
	defer s.unlock()
	if h.gone() {
		return
	}
	l := s.lane(h, b.LaneKey, b.Scope)
	s.lanes.restore(l, b)
	s.arrange(l)
}

// halt keeps the lanes of a shard from being attempted.
func (s *scheduler) halt(h *holding) {
	s.mu.Lock()
	defer s.unlock()
	lists := map[*endpoint]bool{}
	for _, l := range s.lanes.byKey {
		if l.holding == h && l.state == ready {
			s.setState(l, suspended)
			lists[l.endpoint] = true
		}
	}
	for e := range lists {
		old := e.ready
		e.ready = turns[*lane]{}
		for !old.empty() {
			if l := old.pop(); l.state == ready {
				e.ready.push(l.Instance, l)
			}
		}
	}
}

// drop forgets the lanes of a shard. One that is being attempted leaves its endpoint when the attempt ends.
func (s *scheduler) drop(h *holding) {
	s.halt(h)
	s.mu.Lock()
	defer s.unlock()
	for _, l := range s.lanes.byKey {
		if l.holding != h {
			continue
		}
		s.timers.unset(&l.timer)
		s.lanes.drop(l)
		if l.endpoint != nil && l.state != attempting {
			s.endpoints.leave(l.endpoint)
			l.endpoint = nil
		}
	}
}
