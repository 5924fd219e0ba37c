package queuetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/evosink/evosink/core/bus"
	"github.com/evosink/evosink/core/queue"
	"github.com/evosink/evosink/core/sink"
)

// logRules are about a queue that is given events by a log, and stores only what the log cannot answer for.
var logRules = []rule{
	{"what is delivered at once is not stored, and the mark follows", (*trial).delivers},
	{"what does not get through is stored once for all its lanes, and the mark passes it by", (*trial).spills},
	{"a lane that has caught up is not stored any more", (*trial).returns},
	{"while the store fails nothing is lost, and the log waits", (*trial).outlastsFailure},
	{"what the log answers for at a clean end goes on in the next process, in order, nothing twice", (*trial).goesOn},
	{"a kill between any two steps loses nothing, and repeats no more than what was not marked", (*trial).survivesKills},
}

// A shardLog is the log of one shard, which outlives the queues that read it.
type shardLog struct {
	shard  int
	events []queue.Logged // their positions are their indexes plus 1
}

func (g *shardLog) add(id string, lanes ...queue.LaneKey) {
	l := queue.Logged{Position: bus.Position(len(g.events) + 1), Event: newEvent(lanes[0].Instance, id)}
	for _, lane := range lanes {
		l.To = append(l.To, queue.Destination{Lane: lane, Scope: sink.Instance})
	}
	g.events = append(g.events, l)
}

// give gives the events up to a number to a queue, and counts them in given.
func (g *shardLog) give(ctx context.Context, q *queue.Queue, given *int, until int) error {
	for *given < until {
		n := min(*given+3, until)
		if err := q.Take(ctx, g.shard, g.events[*given:n]...); err != nil {
			return err
		}
		*given = n
	}
	return nil
}

// A reader is a queue on a store, given a log from where the store's mark is.
type reader struct {
	*queue.Queue
	t     *trial
	store queue.Store
	log   *shardLog
	given int
}

// read starts a queue on a store whose target answers every delivery.
func (t *trial) read(store queue.Store, log *shardLog, answer func(ctx context.Context, d *sink.Delivery) error) *reader {
	t.Helper()
	config := queue.DefaultConfig()
	config.BreakerWait, config.BreakerMax = 5*time.Millisecond, 5*time.Millisecond
	q, err := queue.New(queue.Options{
		Store: store, Config: config, Logger: zerolog.Nop(),
		Sinks: []queue.Sink{{Name: "webhook", Sink: answering(answer)}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := q.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	r := &reader{Queue: q, t: t, store: store, log: log, given: int(t.markOf(log.shard).Cursor.Position)}
	t.Cleanup(r.close)
	return r
}

// acquire takes the log's shard over and reports whether that went well.
func (r *reader) acquire() bool { return r.Acquire(r.t.Context(), Alone(r.store)...) == nil }

// give gives the log's events up to a number to the queue.
func (r *reader) give(ctx context.Context, until int) error {
	return r.log.give(ctx, r.Queue, &r.given, until)
}

// close stops the queue at once, as far as that goes.
func (r *reader) close() {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	r.Close(ctx)
}

// answering is a sink that tries again soon.
type answering func(ctx context.Context, d *sink.Delivery) error

func (answering) Start(context.Context) error                           { return nil }
func (answering) Close(context.Context) error                           { return nil }
func (f answering) Deliver(ctx context.Context, d *sink.Delivery) error { return f(ctx, d) }
func (answering) Retry(*sink.Delivery) sink.Policy {
	return sink.Policy{Base: 2 * time.Millisecond, Factor: 1, Timeout: patience}
}

// markOf returns the mark of a shard; the zero Mark if there is none.
func (t *trial) markOf(shard int) queue.Mark {
	t.Helper()
	marks, err := t.store.Marks(t.Context(), shard)
	if err != nil {
		t.Fatalf("Marks: %v", err)
	}
	for _, m := range marks {
		if m.Cursor.Shard == shard && m.Cursor.Group == group {
			return m
		}
	}
	return queue.Mark{}
}

// wantMark waits until the mark of a shard has everything up to a position, and nothing behind it.
func (t *trial) wantMark(why string, shard int, position int) {
	t.Helper()
	t.eventually(why, func() bool {
		m := t.markOf(shard)
		return int(m.Cursor.Position) == position && len(m.Done) == 0
	})
}

func (t *trial) eventually(what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(t.subject.Patience); !condition(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("after %v still not: %s", t.subject.Patience, what)
		}
	}
}

// deliveries are what targets have taken.
type deliveries struct {
	mu sync.Mutex
	by map[sink.Target][]string // ids; guarded by mu
}

func (d *deliveries) add(of *sink.Delivery) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.by == nil {
		d.by = map[sink.Target][]string{}
	}
	d.by[of.Target] = append(d.by[of.Target], of.Event.ID)
}

// of returns what a lane's target has taken.
func (d *deliveries) of(l queue.LaneKey) []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.by[l.Target])
}

func (t *trial) newLog(instance string) *shardLog {
	return &shardLog{shard: bus.Shard(instance, t.store.Shards())}
}

// counted is a store that counts what is put.
type counted struct {
	queue.Store
	entries, deliveries atomic.Int64
}

func (c *counted) Put(
	ctx context.Context, l []bus.Lease, m []queue.Mark, entries ...queue.Entry,
) ([]queue.PutResult, error) {
	c.entries.Add(int64(len(entries)))
	for _, e := range entries {
		c.deliveries.Add(int64(len(e.To)))
	}
	return c.Store.Put(ctx, l, m, entries...)
}

func (t *trial) delivers() {
	var took deliveries
	store := &counted{Store: t.store}
	log := t.newLog("sales")
	r := t.read(store, log, func(_ context.Context, d *sink.Delivery) error { took.add(d); return nil })
	r.acquire()
	for n := range 30 {
		log.add(number(n), laneA, laneB)
	}
	if err := r.give(t.Context(), 30); err != nil {
		t.Fatal(err)
	}
	t.wantMark("the mark is behind all: after a restart it would all come again", log.shard, 30)
	for _, l := range []queue.LaneKey{laneA, laneB} {
		if got := took.of(l); !slices.Equal(got, numbers(30)) {
			t.Errorf("%v took %v", l, got)
		}
	}
	if store.entries.Load() > 0 {
		t.Errorf("%d events were stored although they were delivered at once", store.entries.Load())
	}
}

// down refuses everything of some lanes.
type down struct{ lanes sync.Map }

func (d *down) refuses(of *sink.Delivery) bool {
	_, refused := d.lanes.Load(of.Target)
	return refused
}

func (t *trial) spills() {
	var took deliveries
	var off down
	off.lanes.Store(laneB.Target, true)
	off.lanes.Store(laneD.Target, true)
	store := &counted{Store: t.store}
	log := t.newLog("sales")
	r := t.read(store, log, func(_ context.Context, d *sink.Delivery) error {
		if off.refuses(d) {
			return errors.New("503")
		}
		took.add(d)
		return nil
	})
	r.acquire()
	for n := range 60 {
		log.add(number(n), laneA, laneB, laneD)
	}
	for _, until := range []int{10, 60} { // the first ones are stored when each of the two targets is found dead
		if err := r.give(t.Context(), until); err != nil {
			t.Fatal(err)
		}
		t.eventually("what did not get through is stored", func() bool { return store.deliveries.Load() == int64(2*until) })
	}
	t.wantMark("what waits for dead targets keeps the log", log.shard, 60)
	t.wantWaiting("what did not get through was not stored", laneB, numbers(60)...)
	t.wantWaiting("what did not get through was not stored", laneD, numbers(60)...)
	t.eventually("the healthy target of the same events has all", func() bool { return slices.Equal(took.of(laneA), numbers(60)) })
	if n := store.entries.Load(); n > 70 {
		t.Errorf("%d copies of 60 events were stored, want one of each of the last 50 for both lanes that hold back", n)
	}
	off.lanes.Clear()
	for _, l := range []queue.LaneKey{laneB, laneD} {
		t.eventually("all is delivered when the targets are back", func() bool { return slices.Equal(took.of(l), numbers(60)) })
	}
}

// laneD is another lane of laneA's instance.
var laneD = lane("webhook", "four", "sales")

func (t *trial) returns() {
	var took deliveries
	var off down
	off.lanes.Store(laneA.Target, true)
	store := &counted{Store: t.store}
	log := t.newLog("sales")
	r := t.read(store, log, func(_ context.Context, d *sink.Delivery) error {
		if off.refuses(d) {
			return errors.New("503")
		}
		took.add(d)
		return nil
	})
	r.acquire()
	for n := range 200 {
		log.add(number(n), laneA)
	}
	if err := r.give(t.Context(), 100); err != nil {
		t.Fatal(err)
	}
	t.eventually("what failed is stored", func() bool { return store.entries.Load() == 100 })
	off.lanes.Clear()
	t.eventually("what was stored is delivered", func() bool { return len(took.of(laneA)) == 100 && t.waits(laneA) == 0 })
	if err := r.give(t.Context(), 200); err != nil {
		t.Fatal(err)
	}
	t.wantMark("the mark follows", log.shard, 200)
	if got := took.of(laneA); !slices.Equal(got, numbers(200)) {
		t.Errorf("it took %v, want all in order", got)
	}
	if n := store.entries.Load(); n != 100 {
		t.Errorf("%d events were stored, want the 100 that came while the target was down", n)
	}
}

// waits returns how many deliveries of a lane the store has.
func (t *trial) waits(l queue.LaneKey) int { return len(t.window(l)) }

// failing is a store whose writes fail while it is off.
type failing struct {
	queue.Store
	off atomic.Bool
}

var errFull = errors.New("disk full")

func (f *failing) Put(
	ctx context.Context, l []bus.Lease, m []queue.Mark, entries ...queue.Entry,
) ([]queue.PutResult, error) {
	if f.off.Load() {
		return nil, errFull
	}
	return f.Store.Put(ctx, l, m, entries...)
}

func (f *failing) Checkpoint(ctx context.Context, l []bus.Lease, m ...queue.Mark) error {
	if f.off.Load() {
		return errFull
	}
	return f.Store.Checkpoint(ctx, l, m...)
}

// outlastsFailure gives a queue more than its window holds while nothing can be stored.
func (t *trial) outlastsFailure() {
	const events = 10_000
	var took deliveries
	var off down
	off.lanes.Store(laneA.Target, true)
	store := &failing{Store: t.store}
	store.off.Store(true)
	log := t.newLog("sales")
	r := t.read(store, log, func(_ context.Context, d *sink.Delivery) error {
		if off.refuses(d) {
			return errors.New("503")
		}
		took.add(d)
		return nil
	})
	r.acquire()
	for n := range events {
		log.add(fmt.Sprintf("%05d", n), laneA, laneB)
	}
	ctx, cancel := context.WithCancel(t.Context())
	given := make(chan error, 1)
	go func() { given <- r.give(ctx, events) }()
	t.eventually("the healthy lane gets what the window holds", func() bool { return len(took.of(laneB)) > 0 })
	select {
	case err := <-given:
		t.Fatalf("the queue took %d events that it could neither store nor deliver (%v)", events, err)
	case <-time.After(100 * time.Millisecond):
	}
	if m := t.markOf(log.shard); m.Cursor.Position != 0 || len(m.Done) > 0 {
		t.Errorf("a mark %+v was written", m)
	}
	cancel() // the bus gives the batch again, as after any error
	<-given
	store.off.Store(false)
	off.lanes.Clear()
	if err := r.give(t.Context(), events); err != nil {
		t.Fatal(err)
	}
	t.wantMark("all is handled when the store is back", log.shard, events)
	for _, l := range []queue.LaneKey{laneA, laneB} {
		t.eventually("all is delivered", func() bool { return len(took.of(l)) >= events })
		if got := took.of(l); len(got) != events || !slices.IsSorted(got) {
			t.Errorf("%v took %d events, in order %v", l, len(got), slices.IsSorted(got))
		}
	}
}

// goesOn ends processes in the middle of a log that is as far as its targets: one is slow, so that much is handled behind
// what is not, and one fails now and then, so that some of it is stored.
func (t *trial) goesOn() {
	const events, ends = 60, 4
	slow, flaky := laneA, laneB
	lanes := []queue.LaneKey{slow, flaky, laneD}
	log := t.newLog("sales")
	for n := range events {
		log.add(number(n), lanes...)
	}
	var took deliveries
	answer := func(_ context.Context, d *sink.Delivery) error {
		switch {
		case d.Target == slow.Target:
			time.Sleep(time.Millisecond) // so that the other lanes are ahead
		case d.Target == flaky.Target && d.Attempt == 1 && d.Event.ID[3]%4 == 0:
			return errors.New("503")
		}
		took.add(d)
		return nil
	}
	for end := 1; end <= ends; end++ {
		r := t.read(t.store, log, answer)
		r.acquire()
		if err := r.give(t.Context(), events); err != nil {
			t.Fatal(err)
		}
		t.eventually("some more is delivered", func() bool { return len(took.of(slow)) >= end*events/ends })
		if err := errors.Join(r.Release(t.Context(), log.shard), r.Close(t.Context())); err != nil {
			t.Fatal(err)
		}
	}
	last := t.read(t.store, log, answer)
	last.acquire()
	t.wantMark("all was handled", log.shard, events)
	for _, l := range lanes {
		t.eventually("all is delivered", func() bool { return len(took.of(l)) >= events })
		if got := took.of(l); !slices.Equal(got, numbers(events)) {
			t.Errorf("%v took %v: each event was to arrive once, in order", l, got)
		}
	}
}

// A mortal is a store of a process that dies at one of its writes, before or after that is done. What is left of the
// process is told that its shard is another's, so that it ends at once.
type mortal struct {
	queue.Store
	shard int
	steps atomic.Int64 // writes until the end
	after bool         // the last one is done
	dead  atomic.Bool
}

func (m *mortal) step(write func() error) error {
	left := m.steps.Add(-1)
	if left > 0 {
		return write()
	}
	if left == 0 && m.after {
		_ = write()
	}
	m.dead.Store(true)
	return &queue.FencedError{Shards: []int{m.shard}}
}

func (m *mortal) Put(
	ctx context.Context, l []bus.Lease, marks []queue.Mark, entries ...queue.Entry,
) (places []queue.PutResult, err error) {
	err = m.step(func() (err error) {
		places, err = m.Store.Put(ctx, l, marks, entries...)
		return err
	})
	return places, err
}

func (m *mortal) Checkpoint(ctx context.Context, l []bus.Lease, marks ...queue.Mark) error {
	return m.step(func() error { return m.Store.Checkpoint(ctx, l, marks...) })
}

func (m *mortal) Record(ctx context.Context, l []bus.Lease, results []queue.Result) error {
	return m.step(func() error { return m.Store.Record(ctx, l, results) })
}

// survivesKills runs the same events through a process that dies at its first write, at its second, and so on, until one
// lives to the end; each time another process goes on.
func (t *trial) survivesKills() {
	for step := int64(1); ; step++ {
		lived := true
		for _, after := range []bool{false, true} {
			t.Run(fmt.Sprintf("write %d, done %v", step, after), func(tt *testing.T) {
				one := &trial{T: tt, subject: t.subject, store: t.subject.Open(tt)}
				lived = one.killAt(step, after) && lived
			})
		}
		if lived || t.Failed() {
			return
		}
	}
}

// killAt runs events for a healthy lane, one that fails now and then, one whose events are refused for good now and then,
// and one that fails until the second process. It reports whether the first process lived.
func (t *trial) killAt(step int64, after bool) (lived bool) {
	const events = 12
	healthy, flaky, strict, dead := laneA, laneB, lane("webhook", "three", "sales"), laneD
	lanes := []queue.LaneKey{healthy, flaky, strict, dead}
	log := t.newLog("sales")
	store := &mortal{Store: t.store, shard: log.shard, after: after}
	store.steps.Store(step)
	for n := range events {
		if n%3 == 2 {
			log.add(number(n), healthy)
		} else {
			log.add(number(n), lanes...)
		}
	}
	var first, second deliveries
	var refused sync.Map
	answer := func(took *deliveries, dies *mortal) func(ctx context.Context, d *sink.Delivery) error {
		return func(ctx context.Context, d *sink.Delivery) error {
			_, before := refused.LoadOrStore(string(d.Target)+d.Event.ID, true)
			switch {
			case dies != nil && dies.dead.Load():
				<-ctx.Done()
				return ctx.Err()
			case d.Target == dead.Target && dies != nil, d.Target == flaky.Target && !before && d.Event.ID[3]%2 == 0:
				return errors.New("503")
			case d.Target == strict.Target && d.Event.ID == number(4):
				return sink.Permanent(errors.New("410"))
			}
			took.add(d)
			return nil
		}
	}
	one := t.read(store, log, answer(&first, store))
	one.acquire()
	ctx, cancel := context.WithCancel(t.Context())
	given := make(chan struct{})
	go func() {
		defer close(given)
		_ = one.give(ctx, events)
	}()
	done := func() bool {
		return len(first.of(healthy)) == events && len(first.of(flaky)) == events*2/3 &&
			int(t.markOf(log.shard).Cursor.Position) == events && t.waits(flaky) == 0 && t.waits(strict) == 0
	}
	t.eventually("the first process dies, or has delivered all it can", func() bool { return store.dead.Load() || done() })
	store.dead.Store(true)
	store.steps.Store(0)
	cancel()
	<-given
	one.close()
	lived = done()

	marked := int(t.markOf(log.shard).Cursor.Position)
	two := t.read(t.store, log, answer(&second, nil))
	if !two.acquire() {
		t.Fatal("the second process cannot take the shard over")
	}
	if err := two.give(t.Context(), events); err != nil {
		t.Fatal(err)
	}
	t.wantMark("all is handled in the end", log.shard, events)
	for _, l := range lanes {
		t.eventually("nothing waits", func() bool { return t.waits(l) == 0 && len(two.Backlog(queue.Selector{Target: l.Target})) == 0 })
	}
	for _, l := range lanes {
		var want []string
		for n := range events {
			if (n%3 != 2 || l == healthy) && (l != strict || n != 4) {
				want = append(want, number(n))
			}
		}
		before, since := first.of(l), second.of(l)
		all := slices.Concat(before, since)
		slices.Sort(all)
		if got := slices.Compact(all); !slices.Equal(got, want) || !ordered(before) || !ordered(since) {
			t.Errorf("%v took %v, then %v", l, before, since)
		}
		for _, id := range since {
			if n := slices.Index(numbers(events), id); n < marked && l == healthy {
				t.Errorf("%v took %s again although the mark was at %d", l, id, marked)
			}
		}
	}
	if ids, _ := t.letters(queue.DeadLetterFilter{}, queue.Page{}); len(ids) != 1 {
		t.Errorf("there are %d dead letters, want 1", len(ids))
	}
	return lived
}

// ordered reports whether each id is behind the one before it, so that none is there twice.
func ordered(ids []string) bool {
	for i := 1; i < len(ids); i++ {
		if ids[i] <= ids[i-1] {
			return false
		}
	}
	return true
}
