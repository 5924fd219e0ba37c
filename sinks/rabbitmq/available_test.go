package rabbitmq_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/evosink/evosink/adapters/memory"
	"github.com/evosink/evosink/core"
	"github.com/evosink/evosink/core/event"
	"github.com/evosink/evosink/core/instances"
	"github.com/evosink/evosink/core/queue"
	"github.com/evosink/evosink/core/sink"
	"github.com/evosink/evosink/core/sink/sinktest"
	"github.com/evosink/evosink/sinks/rabbitmq"
)

// Each instance has a queue of its own, and so a circuit breaker: here they stay open for an hour unless the sink's
// reconnecting ends that.
func TestWhatWaitsForABrokerGoesOnWhenItIsBack(t *testing.T) {
	b := newBroker(t)
	p, uri := b.proxied()
	engine, err := memory.New(memory.DefaultConfig())
	if err != nil {
		t.Fatal(err)
	}
	registry, err := instances.Open(t.Context(), engine, "")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for i := range 20 {
		name := fmt.Sprintf("%s-%d", b.name, i)
		b.owns(name, name+".call")
		names = append(names, name)
		if _, err := registry.Create(t.Context(), instances.Instance{Name: name}, ""); err != nil {
			t.Fatal(err)
		}
		if _, err := registry.Set(t.Context(), name, "rabbitmq", []byte(`{"enabled":true,"events":["CALL"]}`)); err != nil {
			t.Fatal(err)
		}
	}
	f := sink.Use(rabbitmq.Spec, func(c *rabbitmq.Config) { *c = b.config(); c.URI = uri })
	delivery := queue.DefaultConfig()
	delivery.BreakerWait, delivery.BreakerMax = time.Hour, time.Hour
	hub, err := core.New(core.Options{
		Bus: engine.Bus(), Instances: registry, Queue: engine.Queue(), Sinks: []*sink.Factory{f},
		Delivery: &delivery, Logger: zerolog.Nop(),
	})
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- hub.Run(context.Background()) }()
	<-hub.Started()
	t.Cleanup(func() {
		hub.Close(context.Background())
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	emit := func() {
		for _, name := range names {
			if err := hub.Emit(t.Context(), &event.Event{Name: "call", Instance: name, Data: []byte(`{}`)}); err != nil {
				t.Fatal(err)
			}
		}
	}
	stats := func() queue.Stats { return hub.Queue().Stats()[0] }
	emit()
	sinktest.Eventually(t, "all is delivered in good weather",
		func() bool { return stats().Delivered == int64(len(names)) })
	p.Down()
	emit()
	sinktest.Eventually(t, "every lane has failed", func() bool { return stats().Open == len(names) })
	p.Up()
	sinktest.Eventually(t, "every lane has caught up", func() bool { return stats().Waiting == 0 })
}
