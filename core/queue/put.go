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

// Put puts an event into the lane of each destination, all of one instance, and moves the cursor if there is one, in a single
// transaction; it returns nil when that is written for good. Lanes absorb an event that they have been given before, see [Store].
// Events of one instance are delivered in the order of the calls. The event belongs to the queue then and must not be changed.
//
// When there is no room Put does what Config.WhenFull and Config.DropOldest say; waiting for it ends with ctx and [ErrFull].
// After an error nothing was put, and the event should be put again.
func (q *Queue) Put(ctx context.Context, e *event.Event, to []Destination, cursor *bus.Cursor) error {
	return q.PutAll(ctx, cursor, Entry{Event: e, To: to})
}

// PutAll is Put for several events of one instance, in their order: in one transaction, or in several if there is not room for all at
// once. After an error the first of them may have been put, without the cursor; put again they are absorbed. What is set
// of an entry are Event and To.
func (q *Queue) PutAll(ctx context.Context, cursor *bus.Cursor, entries ...Entry) error {
	for _, e := range entries {
		for _, d := range e.To {
			if q.outlets[d.Lane.Sink] == nil || d.Lane.Instance != e.Event.Instance || e.Event.Instance != entries[0].Event.Instance {
				return fmt.Errorf("queue: event %s of %s cannot go into lane %v: no such sink, or another instance's", e.Event.ID, e.Event.Instance, d.Lane)
			}
		}
	}
	for len(entries) > 0 {
		admitted, n, err := q.admit(ctx, entries)
		if err != nil {
			return err
		}
		if entries = entries[n:]; len(admitted) == 0 {
			continue
		}
		if len(entries) == 0 {
			admitted[len(admitted)-1].Cursor = cursor
		}
		if err := q.put(ctx, admitted); err != nil {
			return err
		}
	}
	return nil
}

// put stores entries and brings them into memory.
func (q *Queue) put(ctx context.Context, entries []Entry) error {
	defer q.inOrder(entries[0].Event.Instance)()
	defer q.hold(entries)()
	at := time.Now()
	for i := range entries {
		entries[i].At = at
	}
	places, err := q.store.Put(ctx, entries...)
	if err != nil {
		return fmt.Errorf("put event %s into the queue: %w", entries[0].Event.ID, err)
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, e := range entries {
		for i, d := range e.To {
			q.take(d, places[i], Item{Seq: places[i].Seq, Scope: d.Scope, At: at, Event: e.Event})
		}
		places = places[len(e.To):]
	}
	return nil
}

// hold keeps the lanes in memory until release is called. A delivery that the store absorbs, because the first still waits, may have
// been made by the time the store has answered; a lane that had been forgotten meanwhile would take it for a new one.
func (q *Queue) hold(entries []Entry) (release func()) {
	q.mu.Lock()
	defer q.mu.Unlock()
	var held []*lane
	for _, e := range entries {
		for _, d := range e.To {
			l := q.lane(d.Lane, d.Scope)
			l.putting++
			held = append(held, l)
		}
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
		q.notices.dead(keyOf(d.Lane, d.Scope, noticeDead), d.Refused, 1, "")
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

// admit sees to room for the first of entries, if need be by waiting, and for those behind it as long as there is room. It returns these with
// the destinations that are left, in new slices, but for those that have none, and how many it has seen to.
func (q *Queue) admit(ctx context.Context, entries []Entry) (admitted []Entry, n int, err error) {
	p := plan{lanes: make(map[Lane]int, 1)}
	for i, e := range entries {
		to, err := q.admitOne(ctx, e, &p, i == 0)
		if i > 0 && errors.Is(err, ErrFull) {
			return admitted, i, nil
		}
		if err != nil {
			return nil, 0, err
		}
		if len(to) > 0 {
			admitted = append(admitted, Entry{Event: e.Event, To: to})
		}
	}
	return admitted, len(entries), nil
}

// A plan is what will be put together.
type plan struct {
	lanes map[Lane]int
	total int
}

// admitOne returns an entry's destinations without those that are dropped or named twice, and with those marked that are refused. Without
// patience it returns ErrFull where it would have to wait.
func (q *Queue) admitOne(ctx context.Context, e Entry, p *plan, patient bool) ([]Destination, error) {
	if err := q.running(); err != nil {
		return nil, err
	}
	out := make([]Destination, 0, len(e.To))
	for i, d := range e.To {
		if slices.ContainsFunc(e.To[:i], func(other Destination) bool { return other.Lane == d.Lane }) {
			continue
		}
		d.Droppable = q.droppable[e.Event.Name]
		verdict, err := q.enter(ctx, d, p, patient)
		if err != nil {
			return nil, err
		}
		switch verdict {
		case dropped:
			q.drop(d)
			continue
		case refused:
			d.Refused = Full
		case entered:
			p.lanes[d.Lane]++
			p.total++
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
func (q *Queue) enter(ctx context.Context, d Destination, p *plan, patient bool) (verdict, error) {
	for {
		room := q.roomIn(d.Lane, p)
		switch {
		case room == nil || q.makeRoom(ctx, d):
			return entered, nil
		case d.Droppable:
			return dropped, nil
		case q.config.WhenFull == Reject:
			return refused, nil
		case !patient:
			return 0, ErrFull
		}
		q.notices.add(notice{noticeKey: keyOf(d.Lane, d.Scope, noticeFull)}, nil)
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

// roomIn returns nil if there is room in the lane behind what is planned, else what is closed when there may be.
func (q *Queue) roomIn(key Lane, p *plan) <-chan struct{} {
	q.mu.Lock()
	defer q.mu.Unlock()
	waiting := p.lanes[key]
	if l := q.lanes[key]; l != nil {
		waiting += l.waiting
	}
	laneFull := q.config.LaneLimit > 0 && waiting >= q.config.LaneLimit
	if !laneFull && (q.config.TotalLimit <= 0 || q.waiting+p.total < q.config.TotalLimit) {
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
func (q *Queue) makeRoom(ctx context.Context, d Destination) bool {
	q.mu.Lock()
	l := q.lanes[d.Lane]
	q.mu.Unlock()
	if l == nil || len(q.droppable) == 0 {
		return false
	}
	n, err := q.clear(ctx, l, Clearing{Max: 1, Droppable: true})
	if err != nil {
		q.log.Warn().Err(err).Msg("nothing could be dropped to make room")
	}
	if n > 0 {
		q.drop(d)
	}
	return n > 0
}

func (q *Queue) drop(d Destination) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.outlets[d.Lane.Sink].count.Dropped++
	q.notices.count(keyOf(d.Lane, d.Scope, noticeDropped), 1, "")
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
