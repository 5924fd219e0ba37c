package core_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/evosink/evosink/adapters/memory"
	"github.com/evosink/evosink/core"
	"github.com/evosink/evosink/core/bus"
	"github.com/evosink/evosink/core/instances"
	"github.com/evosink/evosink/core/instances/storetest"
	"github.com/evosink/evosink/core/sink"
)

// runNode runs a hub on an engine, with a registry of its own over the store, until the test ends.
func runNode(t *testing.T, engine *memory.Engine, store instances.Store, sinks ...*sink.Factory) (*core.Hub, *instances.Registry) {
	t.Helper()
	registry, err := instances.Open(t.Context(), store, instances.Sum("key"))
	if err != nil {
		t.Fatal(err)
	}
	b := engine.Bus()
	hub, err := core.New(core.Options{
		Bus: b, Instances: registry, Queue: engine.Queue(), Sinks: sinks, OnlyKnown: true, Logger: zerolog.Nop(),
	})
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- hub.Run(context.Background()) }()
	<-hub.Started()
	t.Cleanup(func() {
		if err := errors.Join(hub.Close(context.Background()), <-ended, b.Close(context.Background())); err != nil {
			t.Error(err)
		}
	})
	return hub, registry
}

// What was set on one node before it emitted an event holds for that event on the node that delivers it, however late
// the change itself arrives there.
func TestAnEventIsDeliveredByWhatWasSetBeforeItOnAnotherNode(t *testing.T) {
	for _, mode := range []sink.Mode{sink.Live, sink.Queued} {
		t.Run(mode.String(), func(t *testing.T) {
			engine, err := memory.New(memory.DefaultConfig())
			if err != nil {
				t.Fatal(err)
			}
			var r recorder
			factory := use("rec", &r, sink.Rule{})
			if mode == sink.Queued {
				factory = queued("rec", &r, sink.Rule{})
			}
			late := storetest.NewLagging(engine)
			runNode(t, engine, late, factory)
			hub, registry := runNode(t, engine, engine)

			if _, err := registry.Create(t.Context(), instances.Instance{Name: "sales"}, ""); err != nil {
				t.Fatal(err)
			}
			for n := range 20 {
				late.Lag()
				value := fmt.Sprintf(`{"enabled":true,"events":["ALL"],"n":%d}`, n)
				if _, err := registry.Set(t.Context(), "sales", "rec", json.RawMessage(value)); err != nil {
					t.Fatal(err)
				}
				if err := hub.Emit(t.Context(), upsert("sales", n)); err != nil {
					t.Fatal(err)
				}
				select {
				case d := <-r.got:
					if want := fmt.Sprintf(`{"n": %d}`, n); string(d.Event.Data) != want || string(d.Settings) != value {
						t.Fatalf("event %s was delivered by the settings %s, want event %s by %s", d.Event.Data, d.Settings, want, value)
					}
				case <-time.After(20 * time.Second):
					t.Fatalf("event %d was not delivered, though its sink was enabled before", n)
				}
			}
		})
	}
}

// singleNode is a bus for one hub.
type singleNode struct{ *memory.Bus }

func (b singleNode) Features() bus.Features {
	f := b.Bus.Features()
	f.Nodes = false
	return f
}

// On one node nothing is added to an event.
func TestOnlyEventsThatOtherNodesReadCarryTheRevision(t *testing.T) {
	engine, err := memory.New(memory.DefaultConfig())
	if err != nil {
		t.Fatal(err)
	}
	for _, nodes := range []bool{false, true} {
		var b bus.Bus = engine.Bus()
		if !nodes {
			b = singleNode{engine.Bus()}
		}
		registry, err := instances.Open(t.Context(), engine)
		if err != nil {
			t.Fatal(err)
		}
		hub, err := core.New(core.Options{Bus: b, Instances: registry, Logger: zerolog.Nop()})
		if err != nil {
			t.Fatal(err)
		}
		got, err := hub.Subscriber("").Subscribe(t.Context(), bus.All)
		if err != nil {
			t.Fatal(err)
		}
		if err := hub.Emit(t.Context(), upsert("sales", 1)); err != nil {
			t.Fatal(err)
		}
		m := <-got
		m.Ack()
		if revision := bus.Revision(m); (revision > 0) != nodes || (m.Metadata["revision"] != "") != nodes || revision > registry.Revision() {
			t.Errorf("several nodes: %v: the revision of the event is %d", nodes, revision)
		}
		if err := hub.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}
}
