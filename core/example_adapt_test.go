package core_test

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/ThreeDotsLabs/watermill/pubsub/gochannel"

	"github.com/evosink/evosink/adapters/memory"
	"github.com/evosink/evosink/core"
	"github.com/evosink/evosink/core/bus"
	"github.com/evosink/evosink/core/event"
	"github.com/evosink/evosink/core/instances"
	"github.com/evosink/evosink/core/sink"
)

// printer is a sink that prints.
type printer struct{ printed chan struct{} }

func (printer) Start(context.Context) error { return nil }
func (printer) Close(context.Context) error { return nil }
func (p printer) Deliver(_ context.Context, d *sink.Delivery) error {
	if d.Event.Name == "messages.upsert" {
		fmt.Println(d.Event.Instance, d.Event.Name, string(d.Event.Data))
		p.printed <- struct{}{}
	}
	return nil
}

// A process that has a Pub/Sub of watermill runs the hub on it. What waits for queued sinks, and the instances, are in an
// engine's store beside it: sqlite's, or memory's as here.
func Example_watermill() {
	ctx := context.Background()
	local := gochannel.NewGoChannel(gochannel.Config{BlockPublishUntilSubscriberAck: true}, nil) // the process's own
	defer local.Close()

	b, err := bus.Adapt(local, local, bus.AdaptOptions{Prefix: "evosink.", Buffer: 1024})
	if err != nil {
		panic(err)
	}
	defer b.Close(ctx)
	store, err := memory.New(memory.DefaultConfig())
	if err != nil {
		panic(err)
	}
	registry, err := instances.Open(ctx, store, instances.Sum("an-administrator's-key"))
	if err != nil {
		panic(err)
	}
	p := printer{make(chan struct{})}
	hub, err := core.New(core.Options{
		Bus: b, Instances: registry, Queue: store.Queue(),
		Sinks: []*sink.Factory{sink.Use(sink.Spec[struct{}]{
			Name: "printer", Mode: sink.Queued,
			Defaults: func() struct{} { return struct{}{} },
			Enabled:  func(*struct{}) bool { return true },
			Rule:     func(*struct{}) sink.Rule { return sink.Rule{Global: true} },
			New:      func(struct{}, sink.Host) (sink.Sink, error) { return p, nil },
		})},
	})
	if err != nil {
		panic(err)
	}
	go hub.Run(ctx)
	defer hub.Close(ctx)

	e := &event.Event{Name: "messages.upsert", Instance: "sales", Data: json.RawMessage(`{"text":"hello"}`)}
	if err := hub.Emit(ctx, e); err != nil {
		panic(err)
	}
	<-p.printed
	// Output: sales messages.upsert {"text":"hello"}
}
