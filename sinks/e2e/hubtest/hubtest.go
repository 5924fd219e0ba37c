// Package hubtest runs sinks under a real hub with the memory engine, for tests of what no sink can show alone: keys, names and
// the lives of instances.
package hubtest

import (
	"context"
	"encoding/json"
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
)

// A Hub is a running hub, closed with its test.
type Hub struct {
	*core.Hub
	Registry *instances.Registry
	t        testing.TB
}

// Run starts a hub with the sinks given.
func Run(t testing.TB, sinks ...*sink.Factory) *Hub {
	t.Helper()
	engine, err := memory.New(memory.DefaultConfig())
	if err != nil {
		t.Fatal(err)
	}
	registry, err := instances.Open(t.Context(), engine, "")
	if err != nil {
		t.Fatal(err)
	}
	delivery := queue.DefaultConfig()
	hub, err := core.New(core.Options{
		Bus: engine.Bus(), Instances: registry, Queue: engine.Queue(), Log: engine, Sinks: sinks, Delivery: &delivery,
		Logger: zerolog.New(zerolog.NewTestWriter(t)).Level(zerolog.WarnLevel),
	})
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- hub.Run(context.Background()) }()
	<-hub.Started()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		if err := hub.Close(ctx); err != nil {
			t.Error(err)
		}
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return &Hub{hub, registry, t}
}

// Create makes an instance that has set all events of a sink.
func (h *Hub) Create(name, sink string) {
	h.t.Helper()
	if _, err := h.Registry.Create(h.t.Context(), instances.Instance{Name: name}, ""); err != nil {
		h.t.Fatal(err)
	}
	if _, err := h.Registry.Set(h.t.Context(), name, sink, json.RawMessage(`{"enabled":true,"events":[]}`)); err != nil {
		h.t.Fatal(err)
	}
}

// Delete deletes an instance.
func (h *Hub) Delete(name string) {
	h.t.Helper()
	if err := h.Registry.Delete(h.t.Context(), name); err != nil {
		h.t.Fatal(err)
	}
}

// Emit emits an event; its id is the engine's to choose if "".
func (h *Hub) Emit(instance, name, id string) {
	h.t.Helper()
	e := &event.Event{ID: id, Name: name, Instance: instance, Data: json.RawMessage(`{}`)}
	if err := h.Hub.Emit(h.t.Context(), e); err != nil {
		h.t.Fatal(err)
	}
}

// Delivered waits until the only queued sink has delivered n events, and nothing waits.
func (h *Hub) Delivered(n int64) {
	h.t.Helper()
	sinktest.Eventually(h.t, "all is delivered", func() bool {
		s := h.Queue().Stats()[0]
		return s.Delivered >= n && s.Waiting == 0
	})
}
