package core_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/rs/zerolog"

	"github.com/evosink/evosink/adapters/memory"
	"github.com/evosink/evosink/core"
	"github.com/evosink/evosink/core/bus"
	"github.com/evosink/evosink/core/event"
	"github.com/evosink/evosink/core/instances"
	"github.com/evosink/evosink/core/queue"
	"github.com/evosink/evosink/core/sink"
)

// queued makes a factory of a queued sink called name; every sink that it makes hands on to the same recorder.
func queued(name string, r *recorder, rule sink.Rule) *sink.Factory {
	r.got, r.closed = make(chan *sink.Delivery, 10_000), make(chan struct{}, 100)
	return sink.Use(sink.Spec[switches]{
		Name: name, Mode: sink.Queued,
		Defaults: func() switches { return switches{On: true} },
		Enabled:  func(c *switches) bool { return c.On },
		Rule:     func(*switches) sink.Rule { return rule },
		New:      func(switches, sink.Host) (sink.Sink, error) { return &mortal{recorder: r}, nil },
	})
}

// mortal is one of several sinks of a recorder, each with its own life.
type mortal struct {
	*recorder
	once sync.Once
}

func (m *mortal) Close(context.Context) error {
	m.once.Do(func() { m.closed <- struct{}{} })
	return nil
}

// node is a hub on the memory engine with its queue.
type node struct {
	*core.Hub
	engine   *memory.Engine
	bus      *memory.Bus
	registry *instances.Registry
}

func startNode(t *testing.T, store func(queue.Store) queue.Store, sinks ...*sink.Factory) node {
	t.Helper()
	return startNodeWith(t, core.Options{}, store, sinks...)
}

func startNodeWith(t *testing.T, o core.Options, store func(queue.Store) queue.Store, sinks ...*sink.Factory) node {
	t.Helper()
	engine, err := memory.New(memory.DefaultConfig())
	if err != nil {
		t.Fatal(err)
	}
	registry, err := instances.Open(t.Context(), engine, instances.Sum("key"))
	if err != nil {
		t.Fatal(err)
	}
	var q queue.Store = engine.Queue()
	if store != nil {
		q = store(q)
	}
	n := node{engine: engine, bus: engine.Bus(), registry: registry}
	logger := zerolog.New(zerolog.NewTestWriter(t)).Level(zerolog.FatalLevel)
	o.Bus, o.Instances, o.Sinks, o.Queue, o.Logger = n.bus, registry, sinks, q, logger
	n.Hub, err = core.New(o)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- n.Run(context.Background()) }()
	<-n.Started()
	t.Cleanup(func() {
		if err := n.Close(context.Background()); err != nil {
			t.Errorf("Close: %v", err)
		}
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
		n.bus.Close(context.Background())
	})
	return n
}

func (n node) emit(t *testing.T, instance, id string) {
	t.Helper()
	e := &event.Event{ID: id, Name: "messages.upsert", Instance: instance, Data: []byte(`{}`)}
	if err := n.Emit(t.Context(), e); err != nil {
		t.Fatalf("Emit: %v", err)
	}
}

// arrival returns what a recorder got next, but for the hub's own events.
func arrival(t *testing.T, r *recorder) *sink.Delivery {
	t.Helper()
	for {
		select {
		case d := <-r.got:
			if d.Event.Instance != "evosink" {
				return d
			}
		case <-time.After(20 * time.Second):
			t.Fatal("nothing was delivered")
		}
	}
}

var everything = sink.Rule{Global: true, Events: event.NewFilter()}

func TestQueuedSinksGetEveryEventInOrderPerInstance(t *testing.T) {
	var hook, rabbit recorder
	n := startNode(t, nil, queued("hook", &hook, everything), queued("rabbit", &rabbit, everything))
	for i := range 50 {
		for _, instance := range []string{"a", "b", "c"} {
			n.emit(t, instance, fmt.Sprintf("%s-%02d", instance, i))
		}
	}
	for _, r := range []*recorder{&hook, &rabbit} {
		last := map[string]string{}
		for range 150 {
			d := arrival(t, r)
			if d.Event.ID <= last[d.Event.Instance] {
				t.Errorf("%s came after %s", d.Event.ID, last[d.Event.Instance])
			}
			if d.Scope != sink.Global || d.Target != "global" || d.Event.InstanceID == "" ||
				d.Key != sink.Key(d.Event, "global") || d.Attempt != 1 {
				t.Errorf("delivery is %+v", d)
			}
			last[d.Event.Instance] = d.Event.ID
		}
	}
}

func TestAQueuedSinkIsRefusedWithoutAStore(t *testing.T) {
	engine, _ := memory.New(memory.DefaultConfig())
	registry, _ := instances.Open(t.Context(), engine, "")
	var r recorder
	_, err := core.New(core.Options{Bus: engine.Bus(), Instances: registry, Sinks: []*sink.Factory{queued("hook", &r, everything)}})
	if err == nil || !strings.Contains(err.Error(), "Options.Queue") {
		t.Errorf("New returned %v", err)
	}
}

// unwilling is a store whose Put fails a few times.
type unwilling struct {
	queue.Store
	left atomic.Int32
}

func (u *unwilling) Put(
	ctx context.Context, leases []bus.Lease, marks []queue.Mark, entries ...queue.Entry,
) ([]queue.PutResult, error) {
	if u.left.Add(-1) >= 0 {
		return nil, errors.New("disk full")
	}
	return u.Store.Put(ctx, leases, marks, entries...)
}

// counting is a store that counts its transactions.
type counting struct {
	queue.Store
	puts atomic.Int32
}

func (c *counting) Put(
	ctx context.Context, leases []bus.Lease, marks []queue.Mark, entries ...queue.Entry,
) ([]queue.PutResult, error) {
	c.puts.Add(1)
	return c.Store.Put(ctx, leases, marks, entries...)
}

func TestABurstOfOneInstanceSharesTransactions(t *testing.T) {
	var hook recorder
	store := &counting{}
	n := startNode(t, func(s queue.Store) queue.Store {
		store.Store = s
		return store
	}, queued("hook", &hook, sink.Rule{}))
	enable(t, n, "a")
	var events []*event.Event
	for i := range 640 {
		events = append(events, &event.Event{ID: fmt.Sprintf("%03d", i), Name: "call", Instance: "a"})
	}
	if err := n.Emit(t.Context(), events...); err != nil {
		t.Fatal(err)
	}
	for i := range events {
		if d := arrival(t, &hook); d.Event.ID != fmt.Sprintf("%03d", i) {
			t.Fatalf("event %d is %s", i, d.Event.ID)
		}
	}
	if puts := store.puts.Load(); puts > 100 {
		t.Errorf("%d events took %d transactions", len(events), puts)
	}
}

func TestWhatTheQueueCannotTakeComesAgainInOrder(t *testing.T) {
	var hook recorder
	store := &unwilling{}
	n := startNode(t, func(s queue.Store) queue.Store { store.Store = s; return store }, queued("hook", &hook, everything))
	store.left.Store(3)
	for i := range 5 {
		n.emit(t, "a", fmt.Sprint("a-", i))
	}
	var got []string
	for range 5 {
		got = append(got, arrival(t, &hook).Event.ID)
	}
	if !slices.IsSorted(got) {
		t.Errorf("delivered %v", got)
	}
}

func TestAMessageThatIsNoEventIsLeftOut(t *testing.T) {
	var hook recorder
	n := startNode(t, nil, queued("hook", &hook, everything))
	shard := bus.Shard("a", n.bus.Shards())
	if err := n.bus.Publisher().Publish(bus.Topic(shard), message.NewMessage("foreign", []byte("?"))); err != nil {
		t.Fatal(err)
	}
	n.emit(t, "a", "a-1")
	if d := arrival(t, &hook); d.Event.ID != "a-1" {
		t.Errorf("delivered %s", d.Event.ID)
	}
}

func TestASinkThatPanicsIsReplacedAndItsEventDelivered(t *testing.T) {
	var hook recorder
	var calls atomic.Int32
	hook.deliver = func(*sink.Delivery) error {
		if calls.Add(1) == 1 {
			panic("poison")
		}
		return nil
	}
	n := startNode(t, nil, queued("hook", &hook, sink.Rule{}))
	enable(t, n, "a")
	n.emit(t, "a", "a-1")
	<-hook.closed     // the sink that panicked
	enable(t, n, "a") // a change of settings has what waits tried at once
	if d := arrival(t, &hook); d.Event.ID != "a-1" || d.Attempt != 2 {
		t.Errorf("delivered %s, attempt %d", d.Event.ID, d.Attempt)
	}
	if err := n.SinkHealth(t.Context())["hook"]; err != nil {
		t.Errorf("after its restart the sink's health is %v", err)
	}
}

// enable has an instance subscribe to everything at the sink "hook".
func enable(t *testing.T, n node, instance string) {
	t.Helper()
	set(t, n, instance, `{"enabled":true,"events":["ALL"]}`)
}

func set(t *testing.T, n node, instance, settings string) {
	t.Helper()
	if _, ok := n.registry.Get(instance); !ok {
		if _, err := n.registry.Create(t.Context(), instances.Instance{Name: instance}, ""); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := n.registry.Set(t.Context(), instance, "hook", []byte(settings)); err != nil {
		t.Fatal(err)
	}
}

func TestASinkThatCannotTellIsJudgedByItsDeliveries(t *testing.T) {
	var hook recorder
	hook.deliver = func(*sink.Delivery) error { return sink.Unavailable(errors.New("no route")) }
	n := startNode(t, nil, queued("hook", &hook, sink.Rule{}))
	enable(t, n, "a")
	if err := n.SinkHealth(t.Context())["hook"]; err != nil {
		t.Errorf("before its first delivery: %v", err)
	}
	n.emit(t, "a", "a-1")
	eventually(t, "the sink to be unwell", func() bool {
		err := n.SinkHealth(t.Context())["hook"]
		return err != nil && strings.Contains(err.Error(), "no route")
	})
}

func TestWhatWaitsFollowsTheInstancesSettings(t *testing.T) {
	var hook recorder
	var up atomic.Bool
	hook.deliver = func(*sink.Delivery) error {
		if up.Load() {
			return nil
		}
		return sink.Unavailable(errors.New("down"))
	}
	n := startNode(t, nil, queued("hook", &hook, sink.Rule{}))
	enable(t, n, "a")
	n.emit(t, "a", "a-1")
	eventually(t, "the first attempt", func() bool { return attempts(t, n, "a-1") > 0 })
	set(t, n, "a", `{"enabled":false,"events":["ALL"]}`)
	eventually(t, "a disabled lane to be parked", func() bool { return n.Queue().Backlog(queue.Selector{})[0].State == "parked" })
	up.Store(true)
	set(t, n, "a", `{"enabled":true,"events":["ALL"],"url":"new"}`)
	if d := arrival(t, &hook); d.Event.ID != "a-1" || !strings.Contains(string(d.Settings), "new") {
		t.Errorf("delivered %s with settings %s", d.Event.ID, d.Settings)
	}
}

func TestWhatWaitsForADeletedInstanceIsKeptAsDeadLetters(t *testing.T) {
	var hook recorder
	hook.deliver = func(*sink.Delivery) error { return sink.Unavailable(errors.New("down")) }
	n := startNode(t, nil, queued("hook", &hook, sink.Rule{}))
	enable(t, n, "a")
	for i := range 3 {
		n.emit(t, "a", fmt.Sprint("a-", i))
	}
	eventually(t, "the attempts", func() bool { return attempts(t, n, "a-0") > 0 })
	eventually(t, "three to wait", func() bool { return n.Queue().Backlog(queue.Selector{})[0].Waiting == 3 })
	if err := n.registry.Delete(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "three dead letters", func() bool {
		c, _ := n.Queue().CountDeadLetters(t.Context(), queue.DeadLetterFilter{Reason: queue.Gone})
		return c == 3
	})
}

func TestALaterInstanceOfTheNameInheritsNothingThatWaits(t *testing.T) {
	var hook recorder
	var once sync.Once
	tried, answer := make(chan struct{}), make(chan struct{})
	hook.deliver = func(*sink.Delivery) error {
		once.Do(func() { close(tried); <-answer })
		return nil
	}
	n := startNode(t, nil, queued("hook", &hook, sink.Rule{}))
	enable(t, n, "a")
	n.emit(t, "a", "former-0")
	<-tried
	n.emit(t, "a", "former-1")
	eventually(t, "two to wait", func() bool { return n.Queue().Backlog(queue.Selector{})[0].Waiting == 2 })
	if err := n.registry.Delete(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	enable(t, n, "a")
	n.emit(t, "a", "later-0")
	close(answer)
	for _, want := range []string{"former-0", "later-0"} { // in any order: they are of two lanes
		if d := arrival(t, &hook); d.Event.ID == "former-1" {
			t.Errorf("%s was delivered to a later instance, want %s", d.Event.ID, want)
		}
	}
	eventually(t, "a dead letter", func() bool {
		letters, err := n.Queue().DeadLetters(t.Context(), queue.DeadLetterFilter{Reason: queue.Gone}, queue.Page{})
		return err == nil && len(letters) == 1 && letters[0].EventID == "former-1"
	})
}

func TestALaterInstanceOfTheNameIsNotPaused(t *testing.T) {
	var hook recorder
	n := startNode(t, nil, queued("hook", &hook, sink.Rule{}))
	enable(t, n, "a")
	if err := n.Queue().Pause(t.Context(), queue.Selector{Instance: "a"}, "maintenance"); err != nil {
		t.Fatal(err)
	}
	if err := n.registry.Delete(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	enable(t, n, "a")
	n.emit(t, "a", "later-0")
	if d := arrival(t, &hook); d.Event.ID != "later-0" {
		t.Errorf("delivered %s", d.Event.ID)
	}
	eventually(t, "the pause to end with its instance", func() bool { return len(n.Queue().Pauses()) == 0 })
}

func TestAnInstanceAtItsLimitIsRefusedAtTheDoor(t *testing.T) {
	for _, mode := range []queue.WhenFull{queue.Reject, queue.Block} {
		t.Run(string(mode), func(t *testing.T) { refusedAtTheDoor(t, mode) })
	}
}

func refusedAtTheDoor(t *testing.T, mode queue.WhenFull) {
	var hook recorder
	hook.deliver = func(*sink.Delivery) error { return sink.Unavailable(errors.New("down")) }
	config := queue.DefaultConfig()
	config.InstanceLimit, config.WhenFull = 2, mode
	n := startNodeWith(t, core.Options{Delivery: &config}, nil, queued("hook", &hook, everything))
	n.emit(t, "hog", "hog-0")
	n.emit(t, "hog", "hog-1")
	eventually(t, "two to wait", func() bool {
		lanes := n.Queue().Backlog(queue.Selector{Instance: "hog"})
		return len(lanes) == 1 && lanes[0].Waiting == 2
	})
	if err := n.Emit(t.Context(), upsert("hog", 2)); !errors.Is(err, queue.ErrFull) || !strings.Contains(err.Error(), "instance_limit") {
		t.Errorf("Emit of an instance at its limit: %v, want the name of the limit", err)
	}
	n.emit(t, "other", "other-0")
	eventually(t, "the other's event to wait", func() bool {
		return len(n.Queue().Backlog(queue.Selector{Instance: "other"})) == 1
	})
}

func TestSettleWaitsUntilTheInstancesOwnTargetsHaveTheEvent(t *testing.T) {
	var hook recorder
	gate := make(chan struct{})
	hook.deliver = func(*sink.Delivery) error { <-gate; return nil }
	n := startNode(t, nil, queued("hook", &hook, sink.Rule{}))
	enable(t, n, "a")
	n.emit(t, "a", "a-1")
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := n.Settle(ctx, "a"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Settle returned %v although the event waits", err)
	}
	close(gate)
	if err := n.Settle(t.Context(), "a"); err != nil {
		t.Errorf("Settle: %v", err)
	}
	if d := arrival(t, &hook); d.Event.ID != "a-1" {
		t.Errorf("delivered %s", d.Event.ID)
	}
}

func attempts(t *testing.T, n node, id string) int {
	t.Helper()
	a, err := n.Queue().Attempts(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return len(a)
}

// eventually polls a condition.
func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for !condition() {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
		time.Sleep(time.Millisecond)
	}
}
