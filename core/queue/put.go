package queue

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/evosink/evosink/core/bus"
	"github.com/evosink/evosink/core/event"
)

// Put puts an event into the lane of each destination, all of one instance, and moves the cursor if there is one, in
// a single transaction; it returns nil when that is written for good. Lanes absorb an event that they have been given
// before, see [Store]. Events of one instance are delivered in the order of the calls. The event belongs to the queue
// then and must not be changed.
//
// When there is no room Put does what Config.WhenFull and Config.DropOldest say; waiting for it ends with ctx and
// [ErrFull]. After an error nothing was put, and the event should be put again.
func (q *Queue) Put(ctx context.Context, e *event.Event, to []Destination, cursor *bus.Cursor) error {
	return q.PutAll(ctx, cursor, Entry{Event: e, To: to})
}

// PutAll is Put for several events of one instance, in their order: in one transaction, or in several if there is not
// room for all at once. After an error the first of them may have been put, without the cursor; put again they are
// absorbed. What is set of an entry are Event and To.
//
// The error wraps [ErrNotHeld] if the instance's shard is not held here, and [bus.ErrFenced] if it turns out to be another
// node's: the bus hands the events to its owner then.
func (q *Queue) PutAll(ctx context.Context, cursor *bus.Cursor, entries ...Entry) error {
	if len(entries) == 0 {
		return nil
	}
	for _, e := range entries {
		of, id := e.Event.Instance, e.Event.InstanceID
		for _, d := range e.To {
			if q.sinks[d.Lane.Sink] == nil || of != d.Lane.Instance || of != entries[0].Event.Instance ||
				id != "" && id != d.Lane.InstanceID {
				return fmt.Errorf("queue: event %s of %s cannot go into lane %v: no such sink, or another instance's",
					e.Event.ID, of, d.Lane)
			}
		}
	}
	if err := q.running(); err != nil {
		return err
	}
	h, err := q.holdings.use(q.shardOf(entries[0].Event.Instance))
	if err != nil {
		return err
	}
	defer h.work.Done()
	for len(entries) > 0 {
		admitted, n, err := q.admit(ctx, h, entries)
		if err != nil {
			return err
		}
		if entries = entries[n:]; len(admitted) == 0 {
			continue
		}
		if len(entries) == 0 {
			admitted[len(admitted)-1].Cursor = cursor
		}
		if err := q.put(ctx, h, admitted); err != nil {
			return err
		}
	}
	return nil
}

// put stores entries and brings them into memory. Their lanes are pinned meanwhile: a delivery that the store
// absorbs, because the first still waits, may have been made by the time the store has answered; a lane that had been
// forgotten would take it for a new one. If the shard is dropped meanwhile, they are its next owner's.
func (q *Queue) put(ctx context.Context, h *holding, entries []Entry) error {
	defer q.inOrder(entries[0].Event.Instance)()
	at, n := time.Now(), 0
	for i := range entries {
		entries[i].At = at
		n += len(entries[i].To)
	}
	lanes := make([]*lane, n)
	q.eachDestination(h, entries, func(s *scheduler, _ *Entry, d *Destination, i int) {
		lanes[i] = s.lane(h, d.Lane, d.Scope)
		lanes[i].pins++
	})
	places, err := q.store.Put(ctx, h.lease, entries...)
	q.eachDestination(h, entries, func(s *scheduler, e *Entry, d *Destination, i int) {
		if err == nil {
			q.take(s, lanes[i], e, d, places[i])
		}
		s.unpin(lanes[i])
	})
	if err == nil && h.gone() {
		err = fmt.Errorf("%w %d any more", ErrNotHeld, h.lease.Shard)
	}
	if err != nil {
		q.fenced(h, err)
		return fmt.Errorf("put event %s into the queue: %w", entries[0].Event.ID, err)
	}
	return nil
}

// eachDestination calls f for the destinations of entries, those of one sink after those of another, with the sink's
// lock held; i counts them in their own order. Of a shard that was dropped there are none.
func (q *Queue) eachDestination(h *holding, entries []Entry, f func(s *scheduler, e *Entry, d *Destination, i int)) {
	for name, s := range q.sinks {
		i, locked := 0, false
		for k := range entries {
			e := &entries[k]
			for j := range e.To {
				if d := &e.To[j]; d.Lane.Sink == name {
					if !locked {
						s.mu.Lock()
						locked = true
					}
					if !h.gone() {
						f(s, e, d, i)
					}
				}
				i++
			}
		}
		if locked {
			s.unlock()
		}
	}
}

// take brings a destination that the store has placed into memory.
func (q *Queue) take(s *scheduler, l *lane, e *Entry, d *Destination, p PutResult) {
	switch {
	case d.Refused != "" && p.New:
		s.counts.Refused++
		q.notices.dead(keyOf(d.Lane, d.Scope, noticeDead), d.Refused, 1, "")
	case p.Seq == 0:
		s.counts.Deduplicated++
	default:
		// A delivery absorbed may be one that was stored although the store thought otherwise: memory has not seen it
		// then.
		if p.Seq > l.newest {
			s.append(l, Delivery{Seq: p.Seq, Scope: d.Scope, At: e.At, Event: e.Event}, Size(e.Event))
		}
		if p.New {
			s.counts.Put++
		} else {
			s.counts.Deduplicated++
		}
	}
}

// Room returns an error that wraps [ErrFull] and names the limit if no lane has room for an event, so that it can be
// refused before it is taken: later it would become a dead letter at once, or stop its shard, as Config.WhenFull says.
// Events that may be dropped are never refused, and one that an older of these would make room for is not. to returns
// where the event would be put; it is asked only if the instance is near a limit. What waits in shards of other nodes is
// not known here, and what was taken but not put yet is not counted.
func (q *Queue) Room(e *event.Event, to func() []Destination) error {
	held, limit := q.capacity.full(e.Instance, amount{})
	if limit == "" && (q.config.LaneLimit <= 0 || held.deliveries < q.config.LaneLimit) || q.droppable[e.Name] {
		return nil
	}
	limit = ""
	for _, d := range to() {
		if limit = q.limit(d, &plan{}); limit == "" {
			return nil
		}
		s := q.sinks[d.Lane.Sink]
		s.mu.Lock()
		l := s.lanes.byKey[d.Lane]
		mayDrop := l != nil && l.droppable > 1 // the first delivery, once it was tried, is not dropped
		s.mu.Unlock()
		if mayDrop {
			return nil
		}
	}
	if limit == "" { // it goes nowhere
		return nil
	}
	return fmt.Errorf("%w: too much waits for instance %q (delivery.%s)", ErrFull, e.Instance, limit)
}

// A plan is what will be put together.
type plan struct {
	lanes map[LaneKey]int // nil for a single entry: it has no lane twice
	total amount
}

// admit sees to room for the first of entries, if need be by waiting, and for those behind it as long as there is
// room. It returns these with the destinations that are left, in new slices, but for those that have none, and how
// many it has seen to. Destinations that are dropped or named twice are left out, and those marked that are refused.
func (q *Queue) admit(ctx context.Context, h *holding, entries []Entry) (admitted []Entry, n int, err error) {
	if err := q.running(); err != nil {
		return nil, 0, err
	}
	var p plan
	if len(entries) > 1 {
		p.lanes = map[LaneKey]int{}
	}
	admitted = make([]Entry, 0, len(entries))
	for n, e := range entries {
		to, size := make([]Destination, 0, len(e.To)), Size(e.Event)
		for i, d := range e.To {
			if slices.ContainsFunc(e.To[:i], func(other Destination) bool { return other.Lane == d.Lane }) {
				continue
			}
			d.Droppable = q.droppable[e.Event.Name]
			verdict, err := q.enter(ctx, h, d, size, &p, n == 0)
			switch {
			case n > 0 && errors.Is(err, ErrFull):
				return admitted, n, nil
			case err != nil:
				return nil, 0, err
			case verdict == dropped:
				q.countDropped(d)
				continue
			case verdict == refused:
				d.Refused = Full
			default:
				p.total.deliveries++
				p.total.bytes += size
				if p.lanes != nil {
					p.lanes[d.Lane]++
				}
			}
			to = append(to, d)
		}
		if len(to) > 0 {
			admitted = append(admitted, Entry{Event: e.Event, To: to})
		}
	}
	return admitted, len(entries), nil
}

// verdict is what becomes of a delivery that wants to enter its lane.
type verdict uint8

const (
	entered verdict = iota
	dropped
	refused
)

// enter finds room for a delivery of that size behind what is planned, or decides what becomes of it without: older ones
// that may be dropped make room, one at least and as many bytes as it brings if there is none then; else it is dropped
// itself if it may be, else it is refused or waits, as Config.WhenFull says. Without patience ErrFull is returned where
// it would have to wait.
func (q *Queue) enter(
	ctx context.Context, h *holding, d Destination, size int64, p *plan, patient bool,
) (verdict, error) {
	if q.limit(d, p) == "" {
		return entered, nil
	}
	for freed := int64(0); ; {
		changed := q.capacity.changed()
		if q.limit(d, p) == "" || freed >= size {
			return entered, nil
		}
		gone := q.dropOldest(ctx, d)
		freed += gone.Bytes
		switch {
		case gone.Count > 0:
			continue
		case d.Droppable:
			return dropped, nil
		case q.config.WhenFull == Reject:
			return refused, nil
		case !patient:
			return 0, ErrFull
		}
		q.notices.add(notice{noticeKey: keyOf(d.Lane, d.Scope, noticeFull)}, nil)
		select {
		case <-changed:
		case <-ctx.Done():
			return 0, fmt.Errorf("%w: %w", ErrFull, ctx.Err())
		}
		if err := q.running(); err != nil {
			return 0, err
		}
		if !h.works() {
			return 0, fmt.Errorf("%w %d any more", ErrNotHeld, h.lease.Shard)
		}
	}
}

// limit returns the key of the limit that a delivery behind what is planned would exceed; "" if there is room.
func (q *Queue) limit(d Destination, p *plan) string {
	held, limit := q.capacity.full(d.Lane.Instance, p.total)
	most := q.config.LaneLimit
	if limit != "" || most <= 0 || held.deliveries < most { // no lane of the instance holds more than all of them
		return limit
	}
	s := q.sinks[d.Lane.Sink]
	s.mu.Lock()
	defer s.mu.Unlock()
	waiting := p.lanes[d.Lane]
	if l := s.lanes.byKey[d.Lane]; l != nil {
		waiting += l.waiting
	}
	if waiting >= most {
		return "lane_limit"
	}
	return ""
}

// dropOldest drops the oldest delivery of a lane that may be dropped, if there is one, and returns what it counted.
func (q *Queue) dropOldest(ctx context.Context, d Destination) Purged {
	s := q.sinks[d.Lane.Sink]
	s.mu.Lock()
	l := s.lanes.byKey[d.Lane]
	s.mu.Unlock()
	if l == nil || len(q.droppable) == 0 {
		return Purged{}
	}
	gone, err := s.purge(ctx, l, PurgeRequest{Max: 1, Droppable: true})
	if err != nil {
		q.log.Warn().Err(err).Msg("nothing could be dropped to make room")
	}
	if gone.Count > 0 {
		q.countDropped(d)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	l.droppable = max(0, l.droppable-gone.Count)
	return gone
}

func (q *Queue) countDropped(d Destination) {
	s := q.sinks[d.Lane.Sink]
	s.mu.Lock()
	s.counts.Dropped++
	s.mu.Unlock()
	q.notices.count(keyOf(d.Lane, d.Scope, noticeDropped), 1, "")
}
