package memory

import (
	"context"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/evosink/evosink/core/bus"
	"github.com/evosink/evosink/core/event"
	"github.com/evosink/evosink/core/queue"
	"github.com/evosink/evosink/core/sink"
)

// A Queue implements [queue.Store] for an [Engine]. It keeps everything in memory, events that wait included, bounded
// by the limits of the [queue.Queue] before it.
type Queue struct {
	engine *Engine

	mu sync.Mutex
	// mu guards the fields below.
	newest   int64 // the last Seq given out
	marks    map[marked]queue.Mark
	lanes    map[queue.LaneKey]*queued
	events   map[identity]*stored // those that are absorbed
	seen     []*stored            // the same in order of Put
	bytes    int                  // of seen
	letter   int64                // the last id of a dead letter
	letters  []queue.DeadLetter   // dead letters in order of id
	attempts []queue.Attempt      // in order of time
	pauses   []queue.Pause
	job      int64       // the last id given out
	jobs     []queue.Job // in order of id
	changed  chan struct{}

	revision atomic.Int64 // of the pauses
}

var (
	_ queue.Store    = (*Queue)(nil)
	_ queue.Steering = (*Queue)(nil)
)

// identity is what an event is absorbed by.
type identity struct{ instance, instanceID, id string }

// marked is what a mark is of.
type marked struct {
	group string
	shard int
}

// stored is an event that was put.
type stored struct {
	*event.Event
	at      time.Time
	lanes   map[queue.LaneKey]int64 // where it was put, and at which Seq
	waiting int                     // deliveries of it
	old     bool                    // remembered for as long as it waits only
}

// queued is a lane.
type queued struct {
	items []item // in order of Seq
	head  queue.Progress
	tried int64 // the Seq that head is about
}

type item struct {
	seq       int64
	scope     sink.Scope
	at        time.Time
	droppable bool
	event     *stored
}

// Queue returns the engine's store of deliveries, always the same.
func (e *Engine) Queue() *Queue { return e.queue }

func newQueue(e *Engine) *Queue {
	return &Queue{
		engine: e, lanes: map[queue.LaneKey]*queued{}, events: map[identity]*stored{},
		marks:   map[marked]queue.Mark{},
		changed: make(chan struct{}),
	}
}

// Shards implements [queue.Store].
func (q *Queue) Shards() int { return q.engine.config.Shards }

// fence returns a [*queue.FencedError] if some of these leases are stale. It is asked with mu held: a shard's next owner
// reads its lanes after it has the lease, so it sees what passes here.
func (q *Queue) fence(leases ...bus.Lease) error {
	var stale []int
	for _, l := range leases {
		if q.engine.leases.Fence(l.Group, l.Shard, l.Epoch) != nil {
			stale = append(stale, l.Shard)
		}
	}
	if stale == nil {
		return nil
	}
	return &queue.FencedError{Shards: stale}
}

// Lanes implements [queue.Store].
func (q *Queue) Lanes(_ context.Context, shards ...int) ([]queue.Backlog, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	var out []queue.Backlog
	for key, l := range q.lanes {
		if len(shards) > 0 && !slices.Contains(shards, bus.Shard(key.Instance, q.Shards())) {
			continue
		}
		first, last := l.items[0], l.items[len(l.items)-1]
		b := queue.Backlog{
			LaneKey: key, Scope: first.scope, Waiting: len(l.items), First: first.seq, Newest: last.seq, Oldest: first.at,
		}
		for _, it := range l.items {
			b.Bytes += queue.Size(it.event.Event)
			if it.droppable {
				b.Drops++
			}
		}
		if l.tried == first.seq {
			b.Head = l.head
		}
		out = append(out, b)
	}
	return out, nil
}

// Put implements [queue.Store].
func (q *Queue) Put(
	ctx context.Context, leases []bus.Lease, marks []queue.Mark, entries ...queue.Entry,
) (results []queue.PutResult, err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if err := q.fence(leases...); err != nil {
		return nil, err
	}
	for _, e := range entries {
		q.newest++
		s := q.remember(e)
		for _, d := range e.To {
			results = append(results, q.putInLane(s, e.At, d))
		}
	}
	q.mark(marks)
	return results, nil
}

// Checkpoint implements [queue.Store].
func (q *Queue) Checkpoint(ctx context.Context, leases []bus.Lease, marks ...queue.Mark) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if err := q.fence(leases...); err != nil {
		return err
	}
	q.mark(marks)
	return nil
}

// mark moves cursors, and keeps what is done behind them. Held: mu.
func (q *Queue) mark(marks []queue.Mark) {
	for _, m := range marks {
		of := marked{m.Cursor.Group, m.Cursor.Shard}
		if m.Cursor.Position < q.marks[of].Cursor.Position {
			continue
		}
		m.Done = slices.Clone(m.Done)
		q.marks[of] = m
		q.engine.log.Move(m.Cursor)
	}
	if len(marks) > 0 {
		q.engine.moved(nil)
	}
}

// Marks implements [queue.Store].
func (q *Queue) Marks(ctx context.Context, shards ...int) (out []queue.Mark, err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	for of, m := range q.marks {
		if slices.Contains(shards, of.shard) {
			m.Done = slices.Clone(m.Done)
			out = append(out, m)
		}
	}
	return out, nil
}

// remember returns the event as it was stored before, or stores it; one with a position is remembered by its lanes alone.
// Held: mu.
func (q *Queue) remember(e queue.Entry) *stored {
	if e.Position > 0 {
		return &stored{Event: e.Event, at: e.At, lanes: map[queue.LaneKey]int64{}}
	}
	id := identity{e.Event.Instance, e.Event.InstanceID, e.Event.ID}
	if s, ok := q.events[id]; ok {
		return s
	}
	s := &stored{Event: e.Event, at: e.At, lanes: map[queue.LaneKey]int64{}}
	q.events[id] = s
	q.seen = append(q.seen, s)
	q.bytes += len(e.Event.Data) + len(e.Event.Extras)
	return s
}

// putInLane puts an event into a lane, unless the lane has taken it before. Held: mu.
func (q *Queue) putInLane(s *stored, at time.Time, d queue.Destination) queue.PutResult {
	if seq, ok := s.lanes[d.Lane]; ok {
		if l := q.lanes[d.Lane]; l == nil || !l.has(seq) {
			seq = 0
		}
		return queue.PutResult{Seq: seq}
	}
	s.lanes[d.Lane] = q.newest
	if d.Refused != "" {
		s.lanes[d.Lane] = 0
		q.addDeadLetter(d.Lane, item{scope: d.Scope, event: s}, d.Refused, queue.Progress{}, at)
		return queue.PutResult{New: true}
	}
	q.add(d.Lane, item{seq: q.newest, scope: d.Scope, at: at, droppable: d.Droppable, event: s})
	return queue.PutResult{Seq: q.newest, New: true}
}

func (q *Queue) add(key queue.LaneKey, it item) {
	l := q.lanes[key]
	if l == nil {
		l = &queued{}
		q.lanes[key] = l
	}
	l.items = append(l.items, it)
	it.event.waiting++
}

func (l *queued) find(seq int64) (int, bool) {
	return slices.BinarySearchFunc(l.items, seq, func(it item, seq int64) int { return int(it.seq - seq) })
}

func (l *queued) has(seq int64) bool {
	_, ok := l.find(seq)
	return ok
}

// remove takes an item out of its lane, and the lane away with its last.
func (q *Queue) remove(key queue.LaneKey, i int) {
	l := q.lanes[key]
	s := l.items[i].event
	if i == 0 {
		l.items[0], l.items = item{}, l.items[1:] // the usual case, without moving the rest
	} else {
		l.items = slices.Delete(l.items, i, i+1)
	}
	if len(l.items) == 0 {
		delete(q.lanes, key)
	}
	if s.waiting--; s.old && s.waiting == 0 {
		delete(q.events, identity{s.Instance, s.InstanceID, s.ID})
	}
}

// Window implements [queue.Store].
func (q *Queue) Window(_ context.Context, key queue.LaneKey, after, until int64, limit, bytes int) ([]queue.Delivery, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	l := q.lanes[key]
	if l == nil {
		return nil, nil
	}
	var out []queue.Delivery
	i, _ := l.find(after + 1)
	for _, it := range l.items[i:] {
		if bytes -= len(it.event.Data); it.seq > until || len(out) == limit || bytes < 0 && len(out) > 0 {
			break
		}
		out = append(out, queue.Delivery{Seq: it.seq, Scope: it.scope, At: it.at, Event: it.event.Event})
	}
	return out, nil
}

// Record implements [queue.Store].
func (q *Queue) Record(ctx context.Context, leases []bus.Lease, results []queue.Result) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if err := q.fence(leases...); err != nil {
		return err
	}
	for _, o := range results {
		q.recordResult(o)
		if o.Attempt != nil {
			q.attempts = append(q.attempts, *o.Attempt)
		}
	}
	return nil
}

// recordResult does what a result says with the delivery that it is about: it is removed, stays with its progress, or becomes
// a dead letter. Held: mu.
func (q *Queue) recordResult(o queue.Result) {
	l := q.lanes[o.Lane]
	if l == nil {
		return
	}
	i, ok := l.find(o.Seq)
	if !ok {
		return
	}
	switch o.Kind {
	case queue.Retry:
		l.head, l.tried = o.Progress, o.Seq
		return
	case queue.DeadLettered:
		q.addDeadLetter(o.Lane, l.items[i], o.Reason, o.Progress, time.Now())
	}
	q.remove(o.Lane, i)
}

// Purge implements [queue.Store].
func (q *Queue) Purge(ctx context.Context, lease bus.Lease, c queue.PurgeRequest) (out queue.Purged, err error) {
	if err := ctx.Err(); err != nil {
		return out, err
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if err := q.fence(lease); err != nil {
		return out, err
	}
	l := q.lanes[c.Lane]
	if l == nil {
		return out, nil
	}
	i, _ := l.find(c.After + 1)
	for out.Count < c.Max && i < len(l.items) && l.items[i].seq <= c.Until {
		if c.Droppable && !l.items[i].droppable {
			i++
			continue
		}
		if c.Reason != "" {
			q.addDeadLetter(c.Lane, l.items[i], c.Reason, l.progress(l.items[i].seq), time.Now())
		}
		out.Count++
		out.Bytes += queue.Size(l.items[i].event.Event)
		q.remove(c.Lane, i)
	}
	return out, nil
}

// progress returns how far the attempts of an item are.
func (l *queued) progress(seq int64) queue.Progress {
	if l.tried == seq {
		return l.head
	}
	return queue.Progress{}
}

// Attempts implements [queue.Store].
func (q *Queue) Attempts(_ context.Context, eventID string) ([]queue.Attempt, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	var out []queue.Attempt
	for _, a := range q.attempts {
		if a.EventID == eventID {
			out = append(out, a)
		}
	}
	return out, nil
}

// Pauses implements [queue.Store].
func (q *Queue) Pauses(context.Context) ([]queue.Pause, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return slices.Clone(q.pauses), nil
}

// PutPause implements [queue.Store].
func (q *Queue) PutPause(ctx context.Context, p queue.Pause) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.pauses = slices.DeleteFunc(q.pauses, func(o queue.Pause) bool {
		return o.Selector == p.Selector && o.InstanceID == p.InstanceID
	})
	q.pauses = append(q.pauses, p)
	q.revision.Add(1)
	q.change()
	return nil
}

// DeletePause implements [queue.Store].
func (q *Queue) DeletePause(ctx context.Context, s queue.Selector) error {
	return q.deletePauses(ctx, func(p queue.Pause) bool { return p.Selector == s })
}

// DeletePausesOf implements [queue.Store].
func (q *Queue) DeletePausesOf(ctx context.Context, instance, id string) error {
	return q.deletePauses(ctx, func(p queue.Pause) bool {
		return p.Instance == instance && (p.InstanceID == "" || p.InstanceID == id)
	})
}

func (q *Queue) deletePauses(ctx context.Context, which func(queue.Pause) bool) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.pauses = slices.DeleteFunc(q.pauses, which)
	q.revision.Add(1)
	q.change()
	return nil
}

// Sweep implements [queue.Store].
func (q *Queue) Sweep(_ context.Context, r queue.Retention) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.seen) > 0 && (len(q.seen) > r.Seen || q.bytes > r.SeenBytes || time.Since(q.seen[0].at) > r.SeenAge) {
		s := q.seen[0]
		q.seen[0] = nil
		q.seen, q.bytes = q.seen[1:], q.bytes-len(s.Data)-len(s.Extras)
		if s.old = true; s.waiting == 0 {
			delete(q.events, identity{s.Instance, s.InstanceID, s.ID})
		}
	}
	for len(q.letters) > 0 && time.Since(q.letters[0].Died) > r.LetterAge {
		q.letters = q.letters[1:]
	}
	if len(q.letters) > r.Letters {
		counts := map[string]int{}
		for _, l := range q.letters {
			counts[l.Instance]++
		}
		excess := queue.Excess(counts, r.Letters)
		q.letters = slices.DeleteFunc(q.letters, func(l queue.DeadLetter) bool {
			excess[l.Instance]--
			return excess[l.Instance] >= 0
		})
	}
	if r.LetterBytes > 0 {
		bytes := map[string]int64{}
		for _, l := range q.letters {
			bytes[l.Instance] += queue.Size(l.Event)
		}
		excess := queue.Excess(bytes, r.LetterBytes)
		q.letters = slices.DeleteFunc(q.letters, func(l queue.DeadLetter) bool {
			over := excess[l.Instance] > 0
			if over {
				excess[l.Instance] -= queue.Size(l.Event)
			}
			return over
		})
	}
	for len(q.attempts) > 0 && (len(q.attempts) > r.Attempts || time.Since(q.attempts[0].At) > r.AttemptAge) {
		q.attempts = q.attempts[1:]
	}
	q.sweepJobs(r)
	return nil
}

func contains(s, part string) bool { return part == "" || strings.Contains(s, part) }
