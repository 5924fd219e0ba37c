package queue

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/evosink/evosink/core/bus"
	"github.com/evosink/evosink/core/event"
)

// Put puts an event into the lane of each destination, all of one instance, and moves the cursor if there is one, in a single
// transaction; it returns nil when that is written for good. Lanes absorb an event that they have been given before, see [Store].
// Events of one instance are delivered in the order of the calls. The event belongs to the queue then and must not be changed.
//
// When there is no room Put does what Config.WhenFull and Config.DropOldest say; waiting for it ends with ctx and [ErrFull].
// After an error nothing was put, and the event should be put again.
func (q *Queue) Put(ctx context.Context, e *event.Event, to []Destination, cursor *bus.Cursor) error {
	for _, d := range to {
		if q.outlets[d.Lane.Sink] == nil || d.Lane.Instance != e.Instance {
			return fmt.Errorf("queue: event %s of %s cannot go into lane %v: no such sink, or another instance's", e.ID, e.Instance, d.Lane)
		}
	}
	to, err := q.admit(ctx, e, to)
	if err != nil {
		return err
	}
	if len(to) == 0 {
		return nil
	}
	defer q.inOrder(e.Instance)()
	defer q.hold(to)()
	at := time.Now()
	places, err := q.store.Put(ctx, Entry{Event: e, At: at, To: to, Cursor: cursor})
	if err != nil {
		return fmt.Errorf("put event %s into the queue: %w", e.ID, err)
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	for i, d := range to {
		q.take(d, places[i], Item{Seq: places[i].Seq, Scope: d.Scope, At: at, Event: e})
	}
	return nil
}

// hold keeps the lanes in memory until release is called. A delivery that the store absorbs, because the first still waits, may have
// been made by the time the store has answered; a lane that had been forgotten meanwhile would take it for a new one.
func (q *Queue) hold(to []Destination) (release func()) {
	q.mu.Lock()
	defer q.mu.Unlock()
	held := make([]*lane, len(to))
	for i, d := range to {
		held[i] = q.lane(d.Lane, d.Scope)
		held[i].putting++
	}
	return func() {
		q.mu.Lock()
		defer q.mu.Unlock()
		for _, l := range held {
			l.putting--
			q.forget(l)
		}
	}
}

// take brings a destination that the store has placed into memory.
func (q *Queue) take(d Destination, p Place, item Item) {
	o := q.outlets[d.Lane.Sink]
	switch {
	case d.Refused != "" && p.New:
		o.count.Refused++
	case p.Seq == 0:
		o.count.Absorbed++
	default:
		// A delivery absorbed may be one that was stored although the store thought otherwise: memory has not seen it then.
		if l := q.lane(d.Lane, d.Scope); item.Seq > l.tail {
			q.append(l, item)
		}
		if p.New {
			o.count.Put++
		} else {
			o.count.Absorbed++
		}
	}
}

// admit sees to room. It returns the destinations without those that are dropped or named twice, and with those marked that are refused.
func (q *Queue) admit(ctx context.Context, e *event.Event, to []Destination) ([]Destination, error) {
	if err := q.running(); err != nil {
		return nil, err
	}
	out := make([]Destination, 0, len(to))
	for i, d := range to {
		if slices.ContainsFunc(to[:i], func(other Destination) bool { return other.Lane == d.Lane }) {
			continue
		}
		d.Droppable = q.droppable[e.Name]
		verdict, err := q.enter(ctx, d)
		if err != nil {
			return nil, err
		}
		if verdict == dropped {
			continue
		}
		if verdict == refused {
			d.Refused = Full
		}
		out = append(out, d)
	}
	return out, nil
}

// verdict is what becomes of a delivery that wants to enter its lane.
type verdict uint8

const (
	entered verdict = iota
	dropped
	refused
)

// enter finds room for a delivery, or decides what becomes of it without.
func (q *Queue) enter(ctx context.Context, d Destination) (verdict, error) {
	for {
		room := q.roomIn(d.Lane)
		switch {
		case room == nil || q.makeRoom(ctx, d.Lane):
			return entered, nil
		case d.Droppable:
			q.drop(d.Lane.Sink)
			return dropped, nil
		case q.config.WhenFull == Reject:
			return refused, nil
		}
		select {
		case <-room:
		case <-ctx.Done():
			return 0, fmt.Errorf("%w: %w", ErrFull, ctx.Err())
		}
		if err := q.running(); err != nil {
			return 0, err
		}
	}
}

// roomIn returns nil if there is room in the lane, else what is closed when there may be.
func (q *Queue) roomIn(key Lane) <-chan struct{} {
	q.mu.Lock()
	defer q.mu.Unlock()
	l := q.lanes[key]
	laneFull := q.config.LaneLimit > 0 && l != nil && l.waiting >= q.config.LaneLimit
	if !laneFull && (q.config.TotalLimit <= 0 || q.waiting < q.config.TotalLimit) {
		return nil
	}
	return q.roomLater()
}

// roomLater returns what is closed when a delivery has gone.
func (q *Queue) roomLater() <-chan struct{} {
	if q.room == nil {
		q.room = make(chan struct{})
	}
	return q.room
}

// makeRoom drops the oldest delivery of a lane that may be dropped, if there is one.
func (q *Queue) makeRoom(ctx context.Context, key Lane) bool {
	q.mu.Lock()
	l := q.lanes[key]
	q.mu.Unlock()
	if l == nil || len(q.droppable) == 0 {
		return false
	}
	n, err := q.clear(ctx, l, Clearing{Max: 1, Droppable: true})
	if err != nil {
		q.log.Warn().Err(err).Msg("nothing could be dropped to make room")
	}
	if n > 0 {
		q.drop(key.Sink)
	}
	return n > 0
}

func (q *Queue) drop(sink string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.outlets[sink].count.Dropped++
}

// clear removes deliveries of a lane, but none that is being tried; droppable ones not even if they were tried before, or are
// next in a lane that is running, so that it keeps its window. Until it is done nobody reads the lane.
func (q *Queue) clear(ctx context.Context, l *lane, c Clearing) (int, error) {
	l.reading.Lock()
	defer l.reading.Unlock()
	c.Lane = l.Lane
	c.After, c.Until = q.clearable(l, c.Droppable)
	n, err := q.store.Clear(ctx, c)
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.less(l, n); l.waiting == 0 {
		q.wake(l)
	}
	return n, err
}

func (q *Queue) clearable(l *lane, droppable bool) (after, until int64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if l.state != running || !droppable {
		q.cut(l)
	}
	if droppable {
		return max(l.last(), l.tried), l.tail
	}
	if l.inFlight == 0 {
		l.head, l.tried = Progress{}, 0
	}
	return l.last(), l.tail
}

// cut lets go of the window but for what is in flight.
func (q *Queue) cut(l *lane) {
	for _, item := range l.window[l.inFlight:] {
		q.cached -= item.size()
	}
	clear(l.window[l.inFlight:])
	l.window = l.window[:l.inFlight:l.inFlight]
}
