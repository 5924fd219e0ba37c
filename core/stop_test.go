package core_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/evosink/evosink/adapters/memory"
	"github.com/evosink/evosink/core"
	"github.com/evosink/evosink/core/bus"
	"github.com/evosink/evosink/core/event"
	"github.com/evosink/evosink/core/instances"
	"github.com/evosink/evosink/core/sink"
)

// A sticky sink holds its first delivery until it is cancelled, or for ever, and closes at once, or never.
type sticky struct {
	began, cancelled, closed, release chan struct{}
	deaf                              bool // neither Deliver nor Close look at their contexts
}

func newSticky(deaf bool) *sticky {
	return &sticky{make(chan struct{}, 100), make(chan struct{}, 100), make(chan struct{}, 100), make(chan struct{}), deaf}
}

func (s *sticky) Start(context.Context) error { return nil }

func (s *sticky) Deliver(ctx context.Context, _ *sink.Delivery) error {
	s.began <- struct{}{}
	if s.deaf {
		<-s.release
		return nil
	}
	<-ctx.Done()
	s.cancelled <- struct{}{}
	return ctx.Err()
}

func (s *sticky) Close(context.Context) error {
	if s.deaf {
		<-s.release
	}
	s.closed <- struct{}{}
	return nil
}

func (s *sticky) use(name string) *sink.Factory {
	return sink.Use(sink.Spec[switches]{
		Name: name, Mode: sink.Queued,
		Defaults: func() switches { return switches{On: true} },
		Enabled:  func(c *switches) bool { return c.On },
		Rule:     func(*switches) sink.Rule { return sink.Rule{Global: true, Events: event.NewFilter("messages.upsert")} },
		New:      func(switches, sink.Host) (sink.Sink, error) { return s, nil },
	})
}

// run runs a hub with the sinks, whose drain takes that long, and returns it with the result of Run.
func run(t *testing.T, drain time.Duration, sinks ...*sink.Factory) (*core.Hub, <-chan error) {
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
	t.Cleanup(func() { b.Close(context.Background()) })
	hub, err := core.New(core.Options{Bus: b, Instances: registry, Sinks: sinks, Queue: engine.Queue(), Logger: zerolog.Nop(), DrainTimeout: drain})
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- hub.Run(context.Background()) }()
	<-hub.Started()
	return hub, ended
}

// signalled waits for a channel; only a failure uses its time up.
func signalled(t *testing.T, what string, c <-chan struct{}) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(20 * time.Second):
		t.Fatalf("not within 20 s: %s", what)
	}
}

func TestASinkThatHangsTakesNoOtherSinksTime(t *testing.T) {
	hung := newSticky(false)
	var other, live recorder
	hub, ended := run(t, 5*time.Second, hung.use("hung"), queued("other", &other, sink.Rule{Global: true}), use("live", &live, sink.Rule{Global: true}))
	if err := hub.Emit(t.Context(), upsert("sales", 1)); err != nil {
		t.Fatal(err)
	}
	signalled(t, "the delivery that hangs", hung.began)
	hub.Stop()
	signalled(t, "the live sink closes", live.closed)
	signalled(t, "the other queued sink closes", other.closed)
	if len(hung.cancelled) > 0 {
		t.Error("the others closed only when the delivery that hangs had been cancelled")
	}
	if err := hub.Emit(t.Context(), upsert("sales", 2)); err != nil {
		t.Errorf("an event of a request under way: %v", err)
	}
	err := <-ended
	var unfinished *core.Unfinished
	if !errors.As(err, &unfinished) || len(unfinished.What) != 1 || !strings.Contains(err.Error(), "sink hung, target global, instance sales") {
		t.Errorf("Run: %v", err)
	}
	signalled(t, "the delivery is cancelled", hung.cancelled)
	signalled(t, "its sink closes", hung.closed)
	if err := hub.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if err := hub.Emit(t.Context(), upsert("sales", 3)); !errors.Is(err, core.ErrClosed) {
		t.Errorf("Emit after Close: %v", err)
	}
}

func TestRunReturnsAndTellsWhateverASinkDoes(t *testing.T) {
	deaf := newSticky(true)
	defer close(deaf.release)
	hub, ended := run(t, 100*time.Millisecond, deaf.use("deaf"))
	if err := hub.Emit(t.Context(), upsert("sales", 1)); err != nil {
		t.Fatal(err)
	}
	signalled(t, "the delivery", deaf.began)
	hub.Stop()
	select {
	case err := <-ended:
		for _, want := range []string{"sink deaf, target global, instance sales", "goes on delivering although its attempt was cancelled", "sink deaf does not return from Close"} {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("Run: %v, want %q", err, want)
			}
		}
	case <-time.After(20 * time.Second):
		t.Fatal("Run does not return")
	}
}

// hung are the leases of an engine that does not answer while it is told so.
type hung struct {
	bus.Leases
	silent atomic.Bool
	asked  chan struct{} // a call waits for an answer
}

func (h *hung) wait(ctx context.Context) error {
	if !h.silent.Load() {
		return nil
	}
	select {
	case h.asked <- struct{}{}:
	default:
	}
	<-ctx.Done()
	return ctx.Err()
}

func (h *hung) Join(ctx context.Context, node string) ([]string, error) {
	if err := h.wait(ctx); err != nil {
		return nil, err
	}
	return h.Leases.Join(ctx, node)
}

func (h *hung) Release(ctx context.Context, l bus.Lease) error {
	if err := h.wait(ctx); err != nil {
		return err
	}
	return h.Leases.Release(ctx, l)
}

func (h *hung) Leave(ctx context.Context, node string) error {
	if err := h.wait(ctx); err != nil {
		return err
	}
	return h.Leases.Leave(ctx, node)
}

// A hub can be stopped while its engine does not answer: before the first shards, and with shards to be given back.
func TestRunReturnsThoughTheLeasesDoNotAnswer(t *testing.T) {
	for _, first := range []bool{true, false} {
		t.Run(fmt.Sprint("at the start: ", first), func(t *testing.T) {
			c := memory.DefaultConfig()
			c.LeaseTime = 2 * time.Second
			engine, err := memory.New(c)
			if err != nil {
				t.Fatal(err)
			}
			registry, err := instances.Open(t.Context(), engine)
			if err != nil {
				t.Fatal(err)
			}
			b := engine.Bus()
			defer b.Close(context.Background())
			leases := &hung{Leases: engine.Leases(), asked: make(chan struct{}, 1)}
			leases.silent.Store(first)
			var r recorder
			hub, err := core.New(core.Options{
				Bus: b, Instances: registry, Queue: engine.Queue(), Leases: leases, Logger: zerolog.Nop(),
				Sinks: []*sink.Factory{queued("hook", &r, sink.Rule{Global: true})},
			})
			if err != nil {
				t.Fatal(err)
			}
			ended := make(chan error, 1)
			go func() { ended <- hub.Run(context.Background()) }()
			if first {
				signalled(t, "the node joins", leases.asked)
			} else {
				signalled(t, "the hub runs", hub.Started())
				leases.silent.Store(true)
			}
			hub.Stop()
			select {
			case err := <-ended:
				if err != nil {
					t.Error(err)
				}
			case <-time.After(30 * time.Second):
				t.Fatal("Run does not return")
			}
			signalled(t, "the sink closes", r.closed)
		})
	}
}
