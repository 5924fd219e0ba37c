// Package queuetest is the contract suite of [queue.Store]: whatever keeps deliveries runs it, and each rule says
// what goes wrong in production when it is broken.
package queuetest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/evosink/evosink/core/bus"
	"github.com/evosink/evosink/core/event"
	"github.com/evosink/evosink/core/queue"
	"github.com/evosink/evosink/core/sink"
)

// A Subject is the store under test.
type Subject struct {
	// Open returns a new, empty store, which ends with the test.
	Open func(t *testing.T) queue.Store
	// Reopen closes the store and returns it as a start after a crash would find it; nil if the store does not
	// outlive its process.
	Reopen func(t *testing.T, s queue.Store) queue.Store
	// Cursor returns where the store's engine has a group; nil if it has no bus.
	Cursor func(t *testing.T, s queue.Store, group string, shard int) int64
	// Nodes returns a new, empty store that several nodes share, which ends with the test; nil for a store of one node.
	Nodes func(t *testing.T) Nodes
	// Patience is how long to wait for what must happen. Default 60 s.
	Patience time.Duration
}

// Lease is the lease that the only node of a store's engine has, without having asked for it, of an instance's shard.
func Lease(s queue.Store, instance string) bus.Lease { return lone(bus.Shard(instance, s.Shards())) }

// Alone returns all shards of a store as the only node of its engine owns them, for [queue.Queue.Acquire].
func Alone(s queue.Store) (all []queue.Owned) {
	for shard := range s.Shards() {
		all = append(all, queue.Owned{Lease: lone(shard)})
	}
	return all
}

func lone(shard int) bus.Lease { return bus.Lease{Group: group, Shard: shard, Node: "alone", Epoch: 1} }

// group is the group of the leases that queues write by.
const group = "dispatch"

// Run holds the subject to the contract of [queue.Store].
func Run(t *testing.T, s Subject) {
	if s.Patience == 0 {
		s.Patience = patience
	}
	rules := []rule{
		{"what is put waits in its lanes, in order and unchanged", (*trial).keeps},
		{"entries of one call are put in their order, each as if alone", (*trial).putsSeveral},
		{"an event that comes again is absorbed, by lane and instance", (*trial).absorbs},
		{"an event that comes again is absorbed after its delivery, until retention has forgotten it", (*trial).remembers},
		{"an event stays until its last lane has delivered it", (*trial).shares},
		{"a later instance of the name has lanes and dead letters of its own", (*trial).separates},
		{"what is refused is a dead letter at once", (*trial).refuses},
		{"a window is bounded and never empty when something waits", (*trial).bounds},
		{"attempts leave their progress, and only for the head", (*trial).progresses},
		{"an outcome of what has gone changes nothing", (*trial).ignores},
		{"a lane is cleared within bounds, for good or to the dead letters", (*trial).clears},
		{"dead letters are listed, counted, shown and erased", (*trial).lists},
		{"a dead letter is revived at the end of its lane, once", (*trial).revives},
		{"attempts are found by event", (*trial).logs},
		{"pauses are kept by selector", (*trial).pauses},
		{"what is kept of an instance is erased, and nothing of another's", (*trial).erasesInstance},
		{"pauses of an instance end with it", (*trial).endsPauses},
		{"retention removes the oldest, never what waits", (*trial).sweeps},
		{"dead letters of one instance push out no other's", (*trial).sharesLetters},
		{"bytes of dead letters of one instance push out no other's", (*trial).sharesLetterBytes},
		{"marks come back, by shard", (*trial).marks},
		{"a mark takes the place of the one before, but does not go back", (*trial).replacesMarks},
		{"marks and entries of several shards are put in one call", (*trial).putsMarks},
		{"an entry with a position is put whatever was put before, and is not remembered", (*trial).putsPlaced},
		{"an entry with a position is a dead letter each time that it is refused", (*trial).refusesPlaced},
		{"a call whose context has ended writes nothing", (*trial).heeds},
		{"calls at once neither lose nor reorder", (*trial).races},
		{"lanes are told by shard", (*trial).shards},
		{"a write with a stale epoch writes nothing", (*trial).fences},
	}
	if s.Cursor != nil {
		rules = append(rules, rule{"the cursor moves with the marks", (*trial).movesCursor})
	}
	if s.Reopen != nil {
		rules = append(rules, rule{"everything is there after a crash", (*trial).survives})
	}
	rules = append(rules, logRules...)
	for _, rule := range rules {
		t.Run(rule.name, func(t *testing.T) { rule.test(&trial{T: t, subject: s, store: s.Open(t)}) })
	}
	runNodes(t, s)
}

type rule struct {
	name string
	test func(*trial)
}

// trial is one test with its store.
type trial struct {
	*testing.T
	subject Subject
	store   queue.Store
	leases  map[int]bus.Lease // by shard; nil: those of the only node
}

func lane(name, target, instance string) queue.LaneKey {
	return queue.LaneKey{Sink: name, Target: sink.Target("t:" + target), Instance: instance}
}

var (
	laneA = lane("webhook", "one", "sales")
	laneB = lane("webhook", "two", "sales")
	laneC = lane("nats", "one", "sales")
)

func newEvent(instance, id string) *event.Event {
	return &event.Event{
		ID: id, Name: "messages.upsert", Instance: instance, Time: time.Date(2026, 5, 4, 3, 2, 1, 7e6, time.UTC),
		Sender: "5511@s.whatsapp.net", ServerURL: "https://api.example", Origin: "api", APIKey: "k", Sinks: []string{"webhook", "nats"},
		Data:   json.RawMessage(fmt.Sprintf(`{"text":"<%s> ünï & more"}`, id)),
		Extras: json.RawMessage(`{"isLatest":true,"progress": 50}`),
	}
}

// put puts an event of the lanes' instance and returns the places.
func (t *trial) put(id string, lanes ...queue.LaneKey) []queue.PutResult {
	t.Helper()
	e := queue.Entry{Event: newEvent(lanes[0].Instance, id), At: time.Now()}
	e.Event.InstanceID = lanes[0].InstanceID
	for _, l := range lanes {
		e.To = append(e.To, queue.Destination{Lane: l, Scope: sink.Instance})
	}
	return t.enter(e)
}

func (t *trial) enter(e queue.Entry) []queue.PutResult {
	t.Helper()
	places, err := t.store.Put(t.Context(), []bus.Lease{t.lease(e.Event.Instance)}, nil, e)
	if err != nil {
		t.Fatalf("Put: %v", err)
	}
	if len(places) != len(e.To) {
		t.Fatalf("Put told of %d of %d destinations", len(places), len(e.To))
	}
	return places
}

// lease returns the lease that writes for an instance carry.
func (t *trial) lease(instance string) bus.Lease {
	if t.leases != nil {
		return t.leases[bus.Shard(instance, t.store.Shards())]
	}
	return Lease(t.store, instance)
}

const everything = int64(1<<63 - 1)

func (t *trial) window(l queue.LaneKey) []queue.Delivery {
	t.Helper()
	items, err := t.store.Window(t.Context(), l, 0, everything, 1000, 1<<30)
	if err != nil {
		t.Fatalf("Window: %v", err)
	}
	return items
}

// wantWaiting fails unless exactly these events wait in the lane, in that order.
func (t *trial) wantWaiting(why string, l queue.LaneKey, ids ...string) {
	t.Helper()
	var got []string
	for _, item := range t.window(l) {
		got = append(got, item.Event.ID)
	}
	if !slices.Equal(got, ids) {
		t.Errorf("in %v wait %v, want %v: %s", l, got, ids, why)
	}
}

func (t *trial) settle(outcomes ...queue.Result) {
	t.Helper()
	var leases []bus.Lease
	for _, o := range outcomes {
		if l := t.lease(o.Lane.Instance); !slices.Contains(leases, l) {
			leases = append(leases, l)
		}
	}
	if err := t.store.Record(t.Context(), leases, outcomes); err != nil {
		t.Fatalf("Settle: %v", err)
	}
}

// first returns the Seq of the first delivery of a lane.
func (t *trial) first(l queue.LaneKey) int64 {
	t.Helper()
	items := t.window(l)
	if len(items) == 0 {
		t.Fatalf("nothing waits in %v", l)
	}
	return items[0].Seq
}

// deliver removes the first delivery of a lane.
func (t *trial) deliver(l queue.LaneKey) {
	t.Helper()
	t.settle(queue.Result{Lane: l, Seq: t.first(l), Kind: queue.Delivered})
}

// kill makes the first delivery of a lane a dead letter.
func (t *trial) kill(l queue.LaneKey, why queue.Reason, text string) {
	t.Helper()
	p := queue.Progress{Attempts: 3, First: at(1), Last: at(2), Error: text}
	t.settle(queue.Result{Lane: l, Seq: t.first(l), Kind: queue.DeadLettered, Reason: why, Progress: p})
}

func at(minute int) time.Time { return time.Date(2026, 5, 4, 3, minute, 0, 5e6, time.UTC) }

func (t *trial) letters(f queue.DeadLetterFilter, p queue.Page) (ids []int64, letters []queue.DeadLetter) {
	t.Helper()
	letters, err := t.store.DeadLetters(t.Context(), f, p)
	if err != nil {
		t.Fatalf("Letters: %v", err)
	}
	for _, l := range letters {
		ids = append(ids, l.ID)
	}
	return ids, letters
}

// sweep removes everything that only retention keeps.
func (t *trial) sweep(r queue.Retention) {
	t.Helper()
	if err := t.store.Sweep(t.Context(), r); err != nil {
		t.Fatalf("Sweep: %v", err)
	}
}

// ample keeps everything.
func ample() queue.Retention {
	return queue.Retention{
		LetterAge: 1e6 * time.Hour, Letters: 1e6, AttemptAge: 1e6 * time.Hour, Attempts: 1e6, SeenAge: time.Hour, Seen: 1e6, SeenBytes: 1e9,
	}
}

func (t *trial) heeds() {
	t.put("e1", laneA)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	seq := t.window(laneA)[0].Seq
	m := mark(t.lease("sales").Shard, 7, "8")
	_, put := t.store.Put(ctx, []bus.Lease{t.lease("sales")}, []queue.Mark{m}, placed("sales", "e2", 7, laneA))
	checkpoint := t.store.Checkpoint(ctx, []bus.Lease{t.lease("sales")}, m)
	settle := t.store.Record(ctx, []bus.Lease{t.lease("sales")}, []queue.Result{{Lane: laneA, Seq: seq, Kind: queue.Delivered}})
	_, cleared := t.store.Purge(ctx, t.lease("sales"), queue.PurgeRequest{Lane: laneA, Until: everything, Max: 10})
	pause := t.store.PutPause(ctx, queue.Pause{Selector: queue.Selector{Sink: "webhook"}})
	for call, err := range map[string]error{
		"Put": put, "Checkpoint": checkpoint, "Settle": settle, "Clear": cleared, "PutPause": pause,
	} {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%s returned %v, want the context's error", call, err)
		}
	}
	t.wantWaiting("an error must mean that nothing was written", laneA, "e1")
	t.wantMarks("an error must mean that nothing was written")
	if p, err := t.store.Pauses(t.Context()); len(p) != 0 || err != nil {
		t.Errorf("Pauses = %v, %v", p, err)
	}
}

func (t *trial) shards() {
	want := map[int]int{}
	for i := range 50 {
		name := fmt.Sprint("i", i)
		t.put("e1", lane("webhook", "one", name))
		want[bus.Shard(name, t.store.Shards())]++
	}
	for shard := range t.store.Shards() {
		lanes, err := t.store.Lanes(t.Context(), shard)
		if len(lanes) != want[shard] || err != nil {
			t.Errorf("shard %d has %d lanes (%v), want %d: a node would deliver what is another's, or leave its own", shard, len(lanes), err, want[shard])
		}
	}
	all := make([]int, t.store.Shards())
	for shard := range all {
		all[shard] = shard
	}
	for _, shards := range [][]int{all, nil} {
		if lanes, err := t.store.Lanes(t.Context(), shards...); len(lanes) != 50 || err != nil {
			t.Errorf("Lanes(%v) tells %d of 50 lanes (%v)", shards, len(lanes), err)
		}
	}
}

// fences tries each writing method with a former epoch.
func (t *trial) fences() {
	t.waitForRefusal()
	stale := t.lease("sales")
	stale.Epoch--
	wantRefused(t, stale, t.lease("support"))
}

// waitForRefusal makes what wantRefused begins with.
func (t *trial) waitForRefusal() {
	t.Helper()
	t.put("e1", laneA)
	t.put("e2", laneA)
	t.checkpoint(mark(t.lease("sales").Shard, 1, "3"))
	t.kill(laneA, queue.Permanent, "410")
	t.put("o1", lane("webhook", "one", "support"))
}

// wantRefused fails unless each writing method refuses a stale lease of laneA's shard, where e2 waits while e1 is a
// dead letter, and writes nothing. valid is a lease of the shard of an instance "support", where o1 waits.
func wantRefused(t *trial, stale, valid bus.Lease) {
	t.Helper()
	other := lane("webhook", "one", "support")
	ctx, seq, otherSeq := t.Context(), t.first(laneA), t.first(other)
	ids, _ := t.letters(queue.DeadLetterFilter{}, queue.Page{})
	before, _ := t.store.Marks(ctx, stale.Shard, valid.Shard)
	marks := []queue.Mark{mark(stale.Shard, 1<<40, "")}
	entry := placed("sales", "e3", 1<<40, laneA)
	result := queue.Result{Lane: laneA, Seq: seq, Kind: queue.Delivered, Attempt: &queue.Attempt{LaneKey: laneA, EventID: "e2", Number: 1, At: at(1), Error: "500"}}
	calls := map[string]func() error{
		"Put":        func() error { _, err := t.store.Put(ctx, []bus.Lease{stale}, marks, entry); return err },
		"Checkpoint": func() error { return t.store.Checkpoint(ctx, []bus.Lease{stale}, marks...) },
		"Record":     func() error { return t.store.Record(ctx, []bus.Lease{stale}, []queue.Result{result}) },
		"Purge": func() error {
			_, err := t.store.Purge(ctx, stale, queue.PurgeRequest{Lane: laneA, Until: everything, Max: 10})
			return err
		},
		"Requeue": func() error { _, err := t.store.Requeue(ctx, stale, ids, time.Now()); return err },
	}
	if stale.Shard != valid.Shard {
		marks = append(marks, mark(valid.Shard, 1<<40, ""))
		calls["Put of two shards"] = func() error {
			_, err := t.store.Put(ctx, []bus.Lease{valid, stale}, marks, placed("support", "o2", 1<<40, other), entry)
			return err
		}
		calls["Checkpoint of two shards"] = func() error {
			return t.store.Checkpoint(ctx, []bus.Lease{valid, stale}, marks...)
		}
		calls["Record of two shards"] = func() error {
			return t.store.Record(ctx, []bus.Lease{valid, stale}, []queue.Result{{Lane: other, Seq: otherSeq, Kind: queue.Delivered}, result})
		}
	}
	for call, f := range calls {
		err := f()
		var fenced *queue.FencedError
		if !errors.Is(err, bus.ErrFenced) || !errors.As(err, &fenced) || !slices.Equal(fenced.Shards, []int{stale.Shard}) {
			t.Errorf("%s with a stale lease of shard %d returned %v, want a FencedError that names it: a node that was frozen would overwrite its successor",
				call, stale.Shard, err)
		}
	}
	t.wantWaiting("a stale write was done", laneA, "e2")
	t.wantWaiting("the part of one shard was written although that of another was refused", other, "o1")
	t.wantMarks("a stale write moved the cursor: the shard's events since would be lost", before...)
	if now, _ := t.letters(queue.DeadLetterFilter{}, queue.Page{}); !slices.Equal(now, ids) {
		t.Errorf("the dead letters were %v and are %v", ids, now)
	}
	if attempts, _ := t.store.Attempts(ctx, "e2"); len(attempts) != 0 {
		t.Errorf("a stale write left attempts %v", attempts)
	}
}
