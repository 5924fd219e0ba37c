package memory_test

import (
	"context"
	"fmt"
	"slices"

	"github.com/rs/zerolog"

	"github.com/evosink/evosink/adapters/memory"
	"github.com/evosink/evosink/core"
	"github.com/evosink/evosink/core/event"
	"github.com/evosink/evosink/core/instances"
	"github.com/evosink/evosink/core/sink"
)

// A teller is a queued sink that says which hub delivers an event.
type teller struct {
	hub  string
	told chan<- string
}

func (teller) Start(context.Context) error { return nil }
func (teller) Close(context.Context) error { return nil }
func (s teller) Deliver(_ context.Context, d *sink.Delivery) error {
	if d.Event.Name == "messages.upsert" {
		s.told <- s.hub + " delivers for " + d.Event.Instance
	}
	return nil
}

// Several hubs share an engine, its instances and its queue. Each has a bus and a registry of its own. Leases give each hub
// its part of the shards; when a hub ends, the others take over its part, with what waits there.
func Example_severalHubs() {
	ctx := context.Background()
	engine, err := memory.New(memory.DefaultConfig())
	if err != nil {
		panic(err)
	}
	told := make(chan string)
	start := func(name string) *core.Hub {
		registry, err := instances.Open(ctx, engine)
		if err != nil {
			panic(err)
		}
		hub, err := core.New(core.Options{
			Bus: engine.Bus(), Instances: registry, Log: engine, Queue: engine.Queue(), Leases: engine.Leases(),
			Logger: zerolog.Nop(),
			Sinks: []*sink.Factory{sink.Use(sink.Spec[struct{}]{
				Name: "teller", Mode: sink.Queued,
				Defaults: func() struct{} { return struct{}{} },
				Enabled:  func(*struct{}) bool { return true },
				Rule:     func(*struct{}) sink.Rule { return sink.Rule{Global: true} },
				New:      func(struct{}, sink.Host) (sink.Sink, error) { return teller{name, told}, nil },
			})},
		})
		if err != nil {
			panic(err)
		}
		go hub.Run(ctx)
		<-hub.Started()
		return hub
	}
	one, two := start("one"), start("two")

	// An event may come in at any hub. It is delivered by the one that has the shard of its instance.
	names := []string{"sales", "support", "billing", "reception"}
	for i, name := range names {
		hub := []*core.Hub{one, two}[i%2]
		if err := hub.Emit(ctx, &event.Event{Name: "messages.upsert", Instance: name}); err != nil {
			panic(err)
		}
	}
	for range names {
		<-told
	}

	if err := one.Close(ctx); err != nil {
		panic(err)
	}
	var after []string
	for _, name := range names {
		if err := two.Emit(ctx, &event.Event{Name: "messages.upsert", Instance: name}); err != nil {
			panic(err)
		}
		after = append(after, <-told)
	}
	slices.Sort(after)
	for _, line := range after {
		fmt.Println(line)
	}
	fmt.Println(two.Close(ctx))
	// Output:
	// two delivers for billing
	// two delivers for reception
	// two delivers for sales
	// two delivers for support
	// <nil>
}
