package core_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/evosink/evosink/adapters/memory"
	"github.com/evosink/evosink/core"
	"github.com/evosink/evosink/core/event"
	"github.com/evosink/evosink/core/instances"
	"github.com/evosink/evosink/core/sink"
)

// recorder is a live sink that hands on what it gets.
type recorder struct {
	deliver func(*sink.Delivery) error
	got     chan *sink.Delivery
	closed  chan struct{}
}

func (r *recorder) Start(context.Context) error { return nil }

func (r *recorder) Deliver(_ context.Context, d *sink.Delivery) error {
	if r.deliver != nil {
		if err := r.deliver(d); err != nil {
			return err
		}
	}
	r.got <- d
	return nil
}

func (r *recorder) Close(context.Context) error {
	close(r.closed)
	return nil
}

type switches struct{ On, Global bool }

// use makes a factory of a live sink called name.
func use(name string, r *recorder, rule sink.Rule) *sink.Factory {
	r.got, r.closed = make(chan *sink.Delivery, 10_000), make(chan struct{})
	return sink.Use(sink.Spec[switches]{
		Name: name, Mode: sink.Live,
		Defaults: func() switches { return switches{On: true} },
		Enabled:  func(c *switches) bool { return c.On },
		Rule:     func(*switches) sink.Rule { return rule },
		New:      func(switches, sink.Host) (sink.Sink, error) { return r, nil },
	})
}

// start runs a hub with the sinks on the memory engine until the test ends.
func start(t *testing.T, o core.Options, sinks ...*sink.Factory) (*core.Hub, *instances.Registry) {
	t.Helper()
	return startAfter(t, o, func(*core.Hub) {}, sinks...)
}

// startAfter is start for a host that prepares the hub before it runs.
func startAfter(t *testing.T, o core.Options, prepare func(*core.Hub), sinks ...*sink.Factory) (*core.Hub, *instances.Registry) {
	t.Helper()
	engine, err := memory.New(memory.DefaultConfig())
	if err != nil {
		t.Fatal(err)
	}
	registry, err := instances.Open(t.Context(), engine, instances.Sum("key"))
	if err != nil {
		t.Fatal(err)
	}
	b := engine.Bus()
	o.Bus, o.Instances, o.Sinks = b, registry, sinks
	o.Logger = zerolog.New(zerolog.NewTestWriter(t)).Level(zerolog.FatalLevel)
	hub, err := core.New(o)
	if err != nil {
		t.Fatal(err)
	}
	prepare(hub)
	ended := make(chan error, 1)
	go func() { ended <- hub.Run(context.Background()) }()
	<-hub.Started()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		if err := hub.Close(ctx); err != nil {
			t.Error(err)
		}
		if err := <-ended; err != nil {
			t.Error("Run:", err)
		}
		b.Close(ctx)
	})
	return hub, registry
}

func next(t *testing.T, r *recorder) *sink.Delivery {
	t.Helper()
	select {
	case d := <-r.got:
		return d
	case <-time.After(30 * time.Second):
		t.Fatal("nothing was delivered")
		return nil
	}
}

func upsert(instance string, n int) *event.Event {
	return &event.Event{Name: "MESSAGES_UPSERT", Instance: instance, Data: json.RawMessage(fmt.Sprintf(`{"n": %d}`, n))}
}

func TestAnEventReachesALiveSinkWithAllItLacksFilledIn(t *testing.T) {
	var r recorder
	hub, _ := start(t, core.Options{Name: "host", ServerURL: "https://api"}, use("rec", &r, sink.Rule{Global: true}))
	if d := next(t, &r); d.Event.Name != "application.startup" || d.Event.Instance != "host" {
		t.Fatalf("the first event is %+v", d.Event)
	}
	e := upsert("sales", 1)
	if err := hub.Emit(t.Context(), e); err != nil {
		t.Fatal(err)
	}
	d := next(t, &r)
	got := d.Event
	if got.ID != e.ID || len(got.ID) != 36 || got.Name != "messages.upsert" || got.ServerURL != "https://api" ||
		got.Time.IsZero() || string(got.Data) != `{"n": 1}` {
		t.Errorf("got %+v", got)
	}
	if d.Scope != sink.Global || d.Target != "global" || d.Key != e.ID+"/"+got.InstanceID+"/global" || got.InstanceID == "" || d.Attempt != 1 {
		t.Errorf("delivery %+v", d)
	}
}

func TestInstancesSettingsDecideAndChangeAtOnce(t *testing.T) {
	var r recorder
	hub, registry := start(t, core.Options{}, use("rec", &r, sink.Rule{}))
	set := func(settings string) {
		t.Helper()
		if _, err := registry.Set(t.Context(), "sales", "rec", json.RawMessage(settings)); err != nil {
			t.Fatal(err)
		}
	}
	emit := func(name string, n int) {
		t.Helper()
		e := upsert("sales", n)
		e.Name = name
		if err := hub.Emit(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := registry.Create(t.Context(), instances.Instance{Name: "sales"}, ""); err != nil {
		t.Fatal(err)
	}
	for n, wanted := range []string{"CALL", "messages-upsert", "GROUP_UPDATE"} {
		set(`{"enabled":true,"events":["` + wanted + `"]}`)
		emit("chats.set", -1)
		emit(event.Canonical(wanted), n)
		// What was delivered shows that all before it was handled: the next settings touch later events only.
		d := next(t, &r)
		if string(d.Event.Data) != fmt.Sprintf(`{"n": %d}`, n) || d.Scope != sink.Instance || d.Settings == nil {
			t.Fatalf("%s: got %s for %v with %s", wanted, d.Event.Data, d.Scope, d.Settings)
		}
	}
}

func TestOrderPerInstanceWithManyEmitters(t *testing.T) {
	var r recorder
	hub, _ := start(t, core.Options{}, use("rec", &r, sink.Rule{Global: true}))
	next(t, &r)
	const names, each = 20, 50
	var wg sync.WaitGroup
	for i := range names {
		wg.Go(func() {
			for n := range each {
				if err := hub.Emit(t.Context(), upsert(fmt.Sprint("i", i), n)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	seen := map[string]int{}
	for range names * each {
		e := next(t, &r).Event
		if want := fmt.Sprintf(`{"n": %d}`, seen[e.Instance]); string(e.Data) != want {
			t.Fatalf("%s: got %s, want %s", e.Instance, e.Data, want)
		}
		seen[e.Instance]++
	}
}

func TestAnEventThatComesWithAnIDReachesLiveSinksOnce(t *testing.T) {
	var r recorder
	hub, _ := start(t, core.Options{}, use("rec", &r, sink.Rule{Global: true}))
	next(t, &r)
	emit := func(events ...*event.Event) {
		if err := hub.Emit(t.Context(), events...); err != nil {
			t.Error(err)
		}
	}
	given := func(instance, id string) *event.Event {
		e := upsert(instance, 1)
		e.ID = id
		return e
	}
	first := upsert("sales", 1)
	emit(first)
	emit(given("sales", first.ID), given("sales", "x"), given("sales", "x"), given("sales", "y"))
	var racing sync.WaitGroup
	for range 8 {
		racing.Go(func() { emit(given("sales", "z")) })
	}
	racing.Wait()
	emit(given("other", "x"))
	emit(upsert("sales", 1))
	emit(given("sales", "last"))
	got := map[string]int{}
	for range 7 {
		e := next(t, &r).Event
		got[e.Instance+" "+e.ID]++
	}
	for _, key := range []string{"sales " + first.ID, "sales x", "sales y", "sales z", "other x", "sales last"} {
		if got[key] != 1 {
			t.Errorf("%s was delivered %d times; all: %v", key, got[key], got)
		}
	}
}

func TestAPanickingSinkHoldsUpNobody(t *testing.T) {
	var bad, good recorder
	bad.deliver = func(*sink.Delivery) error { panic("boom") }
	hub, _ := start(t, core.Options{}, use("bad", &bad, sink.Rule{Global: true}), use("good", &good, sink.Rule{Global: true}))
	for n := range 10 {
		if err := hub.Emit(t.Context(), upsert("sales", n)); err != nil {
			t.Fatal(err)
		}
	}
	for range 11 {
		next(t, &good)
	}
}

// undecided is a live sink that cannot say which targets an event is for.
type undecided struct{ *recorder }

func (undecided) Targets(*event.Event, []sink.Scope, json.RawMessage) []sink.Destination {
	panic("boom")
}

func TestALiveSinkThatPanicsWhenAskedForTargetsGetsTheEventAsOneThatDoesNotChoose(t *testing.T) {
	var r recorder
	rule := sink.Rule{Global: true}
	use("undecided", &r, rule) // makes its channels
	f := sink.Use(sink.Spec[switches]{
		Name: "undecided", Mode: sink.Live,
		Defaults: func() switches { return switches{On: true} },
		Enabled:  func(c *switches) bool { return c.On },
		Rule:     func(*switches) sink.Rule { return rule },
		New:      func(switches, sink.Host) (sink.Sink, error) { return undecided{&r}, nil },
	})
	hub, _ := start(t, core.Options{}, f)
	next(t, &r) // application.startup
	for n := range 2 {
		if err := hub.Emit(t.Context(), upsert("sales", n)); err != nil {
			t.Fatal(err)
		}
		if d := next(t, &r); string(d.Event.Data) != fmt.Sprintf(`{"n": %d}`, n) || d.Scope != sink.Global {
			t.Errorf("delivered: %+v", d)
		}
	}
}

func TestOneBadEventRefusesAllAndPublishesNone(t *testing.T) {
	var r recorder
	hub, _ := start(t, core.Options{}, use("rec", &r, sink.Rule{Global: true}))
	next(t, &r)
	err := hub.Emit(t.Context(), upsert("sales", 1), &event.Event{Instance: "sales"})
	if !errors.Is(err, event.ErrInvalid) || !strings.Contains(err.Error(), "event 1:") {
		t.Errorf("got %v", err)
	}
	if err := hub.Emit(t.Context(), upsert("sales", 2)); err != nil {
		t.Fatal(err)
	}
	if d := next(t, &r); string(d.Event.Data) != `{"n": 2}` {
		t.Errorf("%s was published", d.Event.Data)
	}
}

func TestAnUnknownInstanceIsRefusedWhereConfigured(t *testing.T) {
	var r recorder
	hub, registry := start(t, core.Options{OnlyKnown: true}, use("rec", &r, sink.Rule{Global: true}))
	if err := hub.Emit(t.Context(), upsert("ghost", 1)); !errors.Is(err, instances.ErrUnknown) {
		t.Errorf("got %v", err)
	}
	if _, err := registry.Create(t.Context(), instances.Instance{Name: "ghost"}, ""); err != nil {
		t.Fatal(err)
	}
	if err := hub.Emit(t.Context(), upsert("ghost", 1)); err != nil {
		t.Error(err)
	}
}

func TestAHubThatIsClosedSaysSo(t *testing.T) {
	var r recorder
	engine, _ := memory.New(memory.DefaultConfig())
	registry, _ := instances.Open(t.Context(), engine, "")
	b := engine.Bus()
	defer b.Close(t.Context())
	hub, err := core.New(core.Options{Bus: b, Instances: registry, Sinks: []*sink.Factory{use("rec", &r, sink.Rule{})}})
	if err != nil {
		t.Fatal(err)
	}
	if err := hub.Check(t.Context()); err == nil || err.Error() != "starting" {
		t.Errorf("before Run: %v", err)
	}
	if err := hub.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	<-r.closed
	if err := hub.Close(t.Context()); err != nil {
		t.Error("second Close:", err)
	}
	if err := hub.Run(t.Context()); !errors.Is(err, core.ErrClosed) {
		t.Errorf("Run after Close: %v", err)
	}
	if err := hub.Emit(t.Context(), upsert("sales", 1)); !errors.Is(err, core.ErrClosed) {
		t.Errorf("Emit after Close: %v", err)
	}
}

func BenchmarkEmitToALiveSink(b *testing.B) {
	engine, _ := memory.New(memory.DefaultConfig())
	registry, _ := instances.Open(b.Context(), engine, "")
	n := engine.Bus()
	defer n.Close(b.Context())
	var r recorder
	f := use("rec", &r, sink.Rule{Global: true})
	hub, _ := core.New(core.Options{Bus: n, Instances: registry, Sinks: []*sink.Factory{f}})
	go hub.Run(b.Context())
	<-hub.Started()
	<-r.got
	b.ReportAllocs()
	for b.Loop() {
		if err := hub.Emit(b.Context(), upsert("sales", 1)); err != nil {
			b.Fatal(err)
		}
		<-r.got
	}
	b.StopTimer()
	hub.Close(b.Context())
}

func TestSettleWaitsForLiveSinks(t *testing.T) {
	var r recorder
	release := make(chan struct{})
	r.deliver = func(d *sink.Delivery) error {
		if d.Event.Instance == "sales" {
			<-release
		}
		return nil
	}
	hub, _ := start(t, core.Options{}, use("rec", &r, sink.Rule{Global: true}))
	e := upsert("sales", 1)
	if err := hub.Emit(t.Context(), e); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := hub.Settle(ctx, "sales"); !errors.Is(err, context.Canceled) {
		t.Errorf("while the sink is busy: %v", err)
	}
	close(release)
	if err := hub.Settle(t.Context(), "sales"); err != nil {
		t.Error(err)
	}
	if err := hub.Settle(t.Context(), "sales"); err != nil {
		t.Error("afterwards:", err)
	}
}

func TestSettleKnowsOfEventsHoweverManyCameBehindThem(t *testing.T) {
	var r recorder
	hub, _ := start(t, core.Options{}, use("rec", &r, sink.Rule{Global: true}))
	for n := range 1500 {
		instance := "other"
		if n == 0 {
			instance = "sales"
		}
		if err := hub.Emit(t.Context(), upsert(instance, n)); err != nil {
			t.Fatal(err)
		}
	}
	for range 1501 { // application.startup too
		next(t, &r)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := hub.Settle(ctx, "sales"); err != nil {
		t.Errorf("Settle of an event that was handled long ago: %v", err)
	}
}
