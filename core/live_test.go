package core_test

import (
	"context"
	"testing"
	"time"

	"github.com/evosink/evosink/core"
	"github.com/evosink/evosink/core/bus"
	"github.com/evosink/evosink/core/event"
	"github.com/evosink/evosink/core/sink"
)

// handing is a sink that hands every delivery to a function, with its context.
type handing func(context.Context, *sink.Delivery) error

func (handing) Start(context.Context) error                           { return nil }
func (handing) Close(context.Context) error                           { return nil }
func (f handing) Deliver(ctx context.Context, d *sink.Delivery) error { return f(ctx, d) }

// liveSink makes a factory of a live sink that gets every event.
func liveSink(s sink.Sink) *sink.Factory {
	return sink.Use(sink.Spec[switches]{
		Name: "live", Mode: sink.Live, Defaults: func() switches { return switches{} },
		Enabled: func(*switches) bool { return true }, Rule: func(*switches) sink.Rule { return sink.Rule{Global: true} },
		New: func(switches, sink.Host) (sink.Sink, error) { return s, nil },
	})
}

// emitBatch emits events that a live sink gets in one batch: it is busy with one of the instance "busy" until all are
// emitted, and tells so by taken and is released by release.
func emitBatch(t *testing.T, hub *core.Hub, taken <-chan struct{}, release chan<- struct{}, events ...*event.Event) {
	t.Helper()
	if err := hub.Emit(t.Context(), upsert("busy", 0)); err != nil {
		t.Fatal(err)
	}
	<-taken
	for _, e := range events {
		if err := hub.Emit(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
	release <- struct{}{}
}

func TestWhatWaitsForAnEventDoesNotWaitForTheRestOfItsBatch(t *testing.T) {
	taken, release := make(chan struct{}), make(chan struct{})
	hub, _ := start(t, core.Options{}, liveSink(handing(func(_ context.Context, d *sink.Delivery) error {
		if d.Event.Instance == "busy" || d.Event.Instance == "stuck" {
			taken <- struct{}{}
			<-release
		}
		return nil
	})))
	if bus.Shard("sales", 16) == bus.Shard("stuck", 16) {
		t.Fatal("the instances must be of different shards")
	}
	emitBatch(t, hub, taken, release, upsert("sales", 0), upsert("stuck", 0), upsert("sales", 1))
	<-taken
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := hub.Settle(ctx, "sales"); err == nil {
		t.Error("Settle has not waited for the last event, which comes behind the one that the sink is busy with")
	}
	release <- struct{}{}
	ctx, cancel = context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := hub.Settle(ctx, "sales"); err != nil {
		t.Error("when the sink has everything:", err)
	}
	emitBatch(t, hub, taken, release, upsert("sales", 2), upsert("stuck", 1))
	<-taken
	if err := hub.Settle(ctx, "sales"); err != nil {
		t.Error("while the sink is busy with an event behind it:", err)
	}
	release <- struct{}{}
}

func TestWhatIsLeftOfALiveBatchIsLeftOutWhenTheHubStops(t *testing.T) {
	taken, release := make(chan struct{}), make(chan struct{})
	got := make(chan string, 100)
	hub, _ := start(t, core.Options{}, liveSink(handing(func(ctx context.Context, d *sink.Delivery) error {
		switch d.Event.Instance {
		case "busy":
			taken <- struct{}{}
			<-release
		case "sales":
			got <- d.Event.ID
			taken <- struct{}{}
			<-ctx.Done() // until the subscription has ended
		}
		return nil
	})))
	first, second := upsert("sales", 0), upsert("sales", 1)
	emitBatch(t, hub, taken, release, first, second)
	<-taken
	go func() { // so that the second one would come through, too
		select {
		case <-taken:
		case <-t.Context().Done():
		}
	}()
	if err := hub.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if close(got); <-got != first.ID {
		t.Error("the first event was not delivered")
	}
	for id := range got {
		t.Errorf("event %s was delivered to a sink that was about to be closed", id)
	}
}
