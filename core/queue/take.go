package queue

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/evosink/evosink/core/bus"
	"github.com/evosink/evosink/core/event"
)

// A Logged is an event of the log with the lanes of its instance that it goes to.
type Logged struct {
	Position bus.Position  // above those of the shard's events before it
	Event    *event.Event  // nil for what is no event
	To       []Destination // may be empty
}

// Take takes over events of a shard, in the order of the log: it has them delivered, and moves the cursor of the shard
// in the store when they are handled; until then the log answers for them, and gives them again to the shard's next
// owner. What was taken before, or handled by a former owner, is left out. The events belong to the queue then and must
// not be changed.
//
// While too much of the shard is not handled Take waits, until ctx ends. What finds no room goes by Config.WhenFull and
// Config.DropOldest. After an error some of the first events may have been taken; the batch is to be given again.
// The error wraps [ErrNotHeld] if the shard is not held here.
func (q *Queue) Take(ctx context.Context, shard int, events ...Logged) error {
	if err := q.running(); err != nil {
		return err
	}
	h, err := q.holdings.use(shard)
	if err != nil {
		return err
	}
	defer h.work.Done()
	for i := range events {
		e := &events[i]
		for _, d := range e.To {
			if err := q.check(e.Event, d); err != nil {
				return err
			}
		}
		if err := q.awaitTrack(ctx, h); err != nil {
			return err
		}
		if err := q.takeOne(ctx, h, e); err != nil {
			return err
		}
	}
	h.track.wake() // an event without a lane is handled
	return nil
}

// awaitTrack waits until the window of a shard has room.
func (q *Queue) awaitTrack(ctx context.Context, h *holding) error {
	for {
		room := h.track.full()
		if room == nil {
			return nil
		}
		q.spillLanesOf(h.track.lagging(time.Time{}))
		signal(q.ledger.urgent)
		select {
		case <-room:
		case <-h.attempts.Done():
			return fmt.Errorf("%w %d any more", ErrNotHeld, h.lease.Shard)
		case <-q.stopping:
			return ErrClosed
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", ErrFull, ctx.Err())
		}
	}
}

// takeOne puts an event into its lanes.
func (q *Queue) takeOne(ctx context.Context, h *holding, e *Logged) error {
	to, missing := h.track.missing(e.Position, e.To)
	if !missing {
		return nil
	}
	if len(to) == 0 {
		h.track.take(h, e.Position, 0, nil)
		return nil
	}
	size := Size(e.Event)
	to, err := q.door.admitOne(ctx, h, e.Event, to)
	if err != nil {
		return err
	}
	defer q.inOrder(e.Event.Instance)()
	taken := h.track.take(h, e.Position, size, to)
	if taken == nil {
		return nil
	}
	var spills []*item // added together, so that the event is stored once for all its lanes
	defer func() { q.ledger.add(spills...) }()
	at := time.Now()
	for i := range to {
		it := &taken.items[i]
		it.Delivery = Delivery{Scope: to[i].Scope, At: at, Event: e.Event}
		s := q.sinks[to[i].Lane.Sink]
		s.mu.Lock()
		if h.gone() {
			s.mu.Unlock()
			return fmt.Errorf("%w %d any more", ErrNotHeld, h.lease.Shard)
		}
		spills = append(spills, s.take(h, it)...)
		s.unlock()
	}
	return nil
}

// take adds an item that was taken from the log to its lane, and returns what is to be stored because of that.
func (s *scheduler) take(h *holding, it *item) (spills []*item) {
	if it.dest.Refused != "" {
		it.keeper = spilling
		return []*item{it}
	}
	s.counts.Put++
	l := s.lane(h, it.dest.Lane, it.dest.Scope)
	it.lane = l
	s.lanes.append(l, it)
	if s.holdsBack(l) || l.logged > laneLogged || l.loggedSize > h.track.maxBytes/4 {
		spills = s.unlog(l)
	}
	if l.state == idle {
		s.reconsider(l)
	}
	return spills
}

// laneLogged is how many deliveries of a lane the log answers for at most; what is more is spilled.
const laneLogged = 512

// holdsBack reports whether something keeps a lane from being tried now, or its window does not show all of it, or its
// target is slow: what comes for it is stored, so that the log need not wait for it.
func (s *scheduler) holdsBack(l *lane) bool {
	return len(l.behind) > 0 || l.state == backingOff || l.state == suspended || l.endpoint == nil ||
		l.endpoint.breakerState() != closed || l.attempting > 0 && time.Since(l.begun) > trackAge
}

// spill has everything of a lane stored that the log answers for.
func (s *scheduler) spill(l *lane) { s.ledger.add(s.unlog(l)...) }

// unlog returns what the log answers for of a lane, which is to be stored now.
func (s *scheduler) unlog(l *lane) (spills []*item) {
	if l.logged == 0 || l.holding.gone() {
		return nil
	}
	for _, items := range [][]*item{l.window, l.behind} {
		for _, it := range items {
			if it.keeper == byLog {
				l.toStore(it)
				spills = append(spills, it)
			}
		}
	}
	return spills
}

// spillFirst has the first delivery of a lane stored, if the log answers for it.
func (s *scheduler) spillFirst(l *lane) {
	if it := l.window[0]; it.keeper == byLog && !l.holding.gone() {
		l.toStore(it)
		s.ledger.add(it)
	}
}

// stored is called when the store has an item that was spilled.
func (s *scheduler) stored(it *item, p PutResult) {
	it.keeper, it.Seq = byStore, p.Seq
	it.event.left.Add(-1)
	l := it.lane
	if l == nil {
		s.counts.Refused++
		s.notices.dead(keyOf(it.dest.Lane, it.dest.Scope, noticeDead), it.dest.Refused, 1, "")
	} else if !l.dropped {
		l.newest = max(l.newest, p.Seq)
		if it.gone {
			l.passed = max(l.passed, p.Seq)
		} else if len(l.window) > 0 && l.window[0] == it && !l.progress.First.IsZero() {
			l.tried = p.Seq
		}
		if len(l.behind) > 0 && l.behind[0] == it {
			l.behind = l.behind[1:]
		}
		for _, r := range it.results {
			r.Seq = p.Seq
			s.record(l, r)
		}
		if it.results = nil; l.state == backingOff || l.state == suspended || s.overflows(l) {
			s.lanes.cutWindow(l)
		}
	}
	s.settled(it)
}

// overflows reports whether a window shows more than memory is to keep of what the store has.
func (s *scheduler) overflows(l *lane) bool {
	return len(l.window) > windowLength || s.lanes.capacity.cached.Load() > int64(s.config.CacheBytes)
}

// settled says that the ledger is done with an item.
func (s *scheduler) settled(it *item) {
	if l := it.lane; l != nil {
		l.unstored--
		s.forget(l)
	}
	it.event.holding.work.Done()
}

// spillLanesOf has everything stored that the log answers for in the lanes of some items.
func (q *Queue) spillLanesOf(items []*item) {
	for _, it := range items {
		s := q.scheduler(it.dest.Lane.Sink)
		s.mu.Lock()
		if it.lane != nil { // else it is refused, or on its way into its lane
			s.spill(it.lane)
		}
		s.unlock()
	}
}

// spillOld spills the lanes of what was taken before a time and is not handled.
func (q *Queue) spillOld(before time.Time) {
	for _, h := range q.holdings.all() {
		if h, err := q.holdings.use(h.lease.Shard); err == nil {
			q.spillLanesOf(h.track.lagging(before))
			h.work.Done()
		}
	}
}

// settle returns when the store has everything that waits in a lane now, whatever comes meanwhile. When the store fails
// it does not wait for better times.
func (s *scheduler) settle(ctx context.Context, l *lane) error {
	s.mu.Lock()
	s.spill(l)
	all, waits := l.spilled, l.unstored > 0
	s.unlock()
	if !waits {
		return nil
	}
	return s.ledger.await(ctx, false, func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return l.spilled-int64(l.unstored) >= all || l.dropped
	})
}

// check returns an error for a destination that is not of the event's instance, or of a sink that does not run.
func (q *Queue) check(e *event.Event, d Destination) error {
	id := e.InstanceID
	if q.sinks[d.Lane.Sink] == nil || e.Instance != d.Lane.Instance || id != "" && id != d.Lane.InstanceID {
		return fmt.Errorf("queue: event %s of %s cannot go into lane %v: no such sink, or another instance's",
			e.ID, e.Instance, d.Lane)
	}
	return nil
}

// fencedOf drops those of some shards that err says are other nodes', and reports whether it says so.
func (q *Queue) fencedOf(of map[int]*holding, err error) bool {
	fenced, named := shardsFenced(err), false
	for shard, h := range of {
		if slices.Contains(fenced, shard) {
			named = true
			q.fenced(h, err)
		}
	}
	return named
}
