package queue

import (
	"context"
	"fmt"
	"time"

	"github.com/evosink/evosink/core/bus"
	"github.com/evosink/evosink/core/event"
)

// Put puts an event into the lane of each destination, all of one instance, in a single transaction; it returns nil
// when that is written for good. It is for a log that does not have the event any more then, see [Queue.Take] for
// others. Lanes absorb an event that they have been given before, see [Store]. Events of one instance are delivered in
// the order of the calls. The event belongs to the queue then and must not be changed.
//
// When there is no room Put does what Config.WhenFull and Config.DropOldest say; waiting for it ends with ctx and
// [ErrFull]. After an error nothing was put, and the event should be put again.
func (q *Queue) Put(ctx context.Context, e *event.Event, to []Destination) error {
	return q.PutAll(ctx, Entry{Event: e, To: to})
}

// PutAll is Put for several events of one instance, in their order: in one transaction, or in several if there is not
// room for all at once. After an error the first of them may have been put; put again they are absorbed. What is set of
// an entry are Event and To.
//
// The error wraps [ErrNotHeld] if the instance's shard is not held here, and [bus.ErrFenced] if it turns out to be
// another node's: the bus hands the events to its owner then.
func (q *Queue) PutAll(ctx context.Context, entries ...Entry) error {
	if len(entries) == 0 {
		return nil
	}
	for _, e := range entries {
		if e.Event.Instance != entries[0].Event.Instance {
			return fmt.Errorf("queue: event %s is of another instance than those before it", e.Event.ID)
		}
		for _, d := range e.To {
			if err := q.check(e.Event, d); err != nil {
				return err
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
		admitted, n, err := q.door.admit(ctx, h, entries)
		if err != nil {
			return err
		}
		if entries = entries[n:]; len(admitted) == 0 {
			continue
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
	places, err := q.store.Put(ctx, []bus.Lease{h.lease}, nil, entries...)
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
