package queue

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/evosink/evosink/core/event"
)

// Room returns an error that wraps [ErrFull] and names the limit if no lane has room for an event, so that it can be
// refused before it is taken: later it would become a dead letter at once, or stop its shard, as Config.WhenFull says.
// Events that may be dropped are never refused, and one that an older of these would make room for is not. to returns
// where the event would be put; it is asked only if the instance is near a limit. What waits in shards of other nodes
// is not known here, and what was taken but not put yet is not counted.
func (q *Queue) Room(e *event.Event, to func() []Destination) error {
	held, limit := q.door.capacity.full(e.Instance, amount{})
	if limit == "" && (q.config.LaneLimit <= 0 || held.deliveries < q.config.LaneLimit) || q.door.droppable[e.Name] {
		return nil
	}
	limit = ""
	for _, d := range to() {
		if limit = q.door.limit(d, &plan{}); limit == "" {
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

// A door lets deliveries into their lanes as far as limits allow.
type door struct {
	queue    *Queue
	capacity capacity
	// droppable are the names of events that may be dropped to make room.
	droppable map[string]bool
}

// admit sees to room for the first of entries, if need be by waiting, and for those behind it as long as there is
// room. It returns these with the destinations that are left, in new slices, but for those that have none, and how
// many it has seen to. Destinations that are dropped or named twice are left out, and those marked that are refused.
func (o *door) admit(ctx context.Context, h *holding, entries []Entry) (admitted []Entry, n int, err error) {
	if err := o.queue.running(); err != nil {
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
			d.Droppable = o.droppable[e.Event.Name]
			verdict, err := o.enter(ctx, h, d, size, &p, n == 0)
			switch {
			case n > 0 && errors.Is(err, ErrFull):
				return admitted, n, nil
			case err != nil:
				return nil, 0, err
			case verdict == dropped:
				o.countDropped(d)
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

// admitOne is admit for one event that has destinations. It returns those that are left.
func (o *door) admitOne(ctx context.Context, h *holding, e *event.Event, to []Destination) ([]Destination, error) {
	admitted, _, err := o.admit(ctx, h, []Entry{{Event: e, To: to}})
	if err != nil || len(admitted) == 0 {
		return nil, err
	}
	return admitted[0].To, nil
}

// verdict is what becomes of a delivery that wants to enter its lane.
type verdict uint8

const (
	entered verdict = iota
	dropped
	refused
)

// enter finds room for a delivery of that size behind what is planned, or decides what becomes of it without: older
// ones that may be dropped make room, one at least and as many bytes as it brings if there is none then; else it is
// dropped itself if it may be, else it is refused or waits, as Config.WhenFull says. Without patience ErrFull is
// returned where it would have to wait.
func (o *door) enter(
	ctx context.Context, h *holding, d Destination, size int64, p *plan, patient bool,
) (verdict, error) {
	if o.limit(d, p) == "" {
		return entered, nil
	}
	for freed := int64(0); ; {
		changed := o.capacity.changed()
		if err := o.queue.running(); err != nil {
			return 0, err
		}
		if !h.works() {
			return 0, fmt.Errorf("%w %d any more", ErrNotHeld, h.lease.Shard)
		}
		if o.limit(d, p) == "" || freed >= size {
			return entered, nil
		}
		gone := o.dropOldest(ctx, d)
		freed += gone.Bytes
		switch {
		case gone.Count > 0:
			continue
		case d.Droppable:
			return dropped, nil
		case o.queue.config.WhenFull == Reject:
			return refused, nil
		case !patient:
			return 0, ErrFull
		}
		o.queue.notices.add(notice{noticeKey: keyOf(d.Lane, d.Scope, noticeFull)}, nil)
		select {
		case <-changed:
		case <-ctx.Done():
			return 0, fmt.Errorf("%w: %w", ErrFull, ctx.Err())
		}
	}
}

// limit returns the key of the limit that a delivery behind what is planned would exceed; "" if there is room.
func (o *door) limit(d Destination, p *plan) string {
	held, limit := o.capacity.full(d.Lane.Instance, p.total)
	most := o.queue.config.LaneLimit
	if limit != "" || most <= 0 || held.deliveries < most { // no lane of the instance holds more than all of them
		return limit
	}
	s := o.queue.sinks[d.Lane.Sink]
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
func (o *door) dropOldest(ctx context.Context, d Destination) Purged {
	s := o.queue.sinks[d.Lane.Sink]
	s.mu.Lock()
	l := s.lanes.byKey[d.Lane]
	s.mu.Unlock()
	if l == nil || len(o.droppable) == 0 {
		return Purged{}
	}
	gone, err := s.purge(ctx, l, PurgeRequest{Max: 1, Droppable: true})
	if err != nil {
		o.queue.log.Warn().Err(err).Msg("nothing could be dropped to make room")
	}
	if gone.Count > 0 {
		o.countDropped(d)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	l.droppable = max(0, l.droppable-gone.Count)
	return gone
}

func (o *door) countDropped(d Destination) {
	s := o.queue.sinks[d.Lane.Sink]
	s.mu.Lock()
	s.counts.Dropped++
	s.mu.Unlock()
	o.queue.notices.count(keyOf(d.Lane, d.Scope, noticeDropped), 1, "")
}
