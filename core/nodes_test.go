package core_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/evosink/evosink/adapters/memory"
	"github.com/evosink/evosink/core"
	"github.com/evosink/evosink/core/instances"
	"github.com/evosink/evosink/core/queue"
	"github.com/evosink/evosink/core/sink"
)

// A hubNode is one of several hubs on one engine.
type hubNode struct {
	*core.Hub
	registry *instances.Registry
	sink     *recorder
	changes  chan sink.Change
}

// cluster runs hubs on one memory engine until the test ends, each with a registry and a live sink of its own.
func cluster(t *testing.T, n int, o core.Options, rule sink.Rule) (nodes []*hubNode) {
	t.Helper()
	engine, err := memory.New(memory.DefaultConfig())
	if err != nil {
		t.Fatal(err)
	}
	for range n {
		node := &hubNode{sink: &recorder{got: make(chan *sink.Delivery, 10_000), closed: make(chan struct{})}, changes: make(chan sink.Change, 10_000)}
		if node.registry, err = instances.Open(t.Context(), engine); err != nil {
			t.Fatal(err)
		}
		b := engine.Bus()
		o.Bus, o.Instances, o.Logger = b, node.registry, zerolog.Nop()
		o.Sinks = []*sink.Factory{sink.Use(sink.Spec[switches]{
			Name: "rec", Mode: sink.Live, Defaults: func() switches { return switches{} }, Enabled: func(*switches) bool { return true },
			Rule: func(*switches) sink.Rule { return rule },
			New: func(_ switches, h sink.Host) (sink.Sink, error) {
				h.Directory.Watch(func(c sink.Change) { node.changes <- c })
				return node.sink, nil
			},
		})}
		if node.Hub, err = core.New(o); err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() { ended <- node.Run(context.Background()) }()
		<-node.Started()
		t.Cleanup(func() {
			if err := errors.Join(node.Close(context.Background()), <-ended, b.Close(context.Background())); err != nil {
				t.Error(err)
			}
		})
		nodes = append(nodes, node)
	}
	return nodes
}

func (n *hubNode) change(t *testing.T) sink.Change {
	t.Helper()
	select {
	case c := <-n.changes:
		return c
	case <-time.After(20 * time.Second):
		t.Fatal("the node was not told of a change that another one made")
		return sink.Change{}
	}
}

// Nodes that see an instance's first event at the same moment make one instance, and none of them fails.
func TestTheFirstEventsOfAnInstanceOnSeveralNodesMakeOne(t *testing.T) {
	nodes := cluster(t, 3, core.Options{}, sink.Rule{})
	for round := range 50 {
		name := fmt.Sprint("i", round)
		ids := make([]string, len(nodes))
		var running sync.WaitGroup
		for i, n := range nodes {
			running.Go(func() {
				e := upsert(name, i)
				if err := n.Emit(t.Context(), e); err != nil {
					t.Errorf("node %d: %v", i, err)
				}
				ids[i] = e.InstanceID
			})
		}
		running.Wait()
		if ids[0] == "" || ids[0] != ids[1] || ids[1] != ids[2] {
			t.Fatalf("%s has the ids %q", name, ids)
		}
	}
}

// What one node creates, sets and deletes is true on the others: for events that come in there, for their sinks, and
// for what watches them.
func TestWhatOneNodeChangesHoldsOnTheOthers(t *testing.T) {
	nodes := cluster(t, 2, core.Options{OnlyKnown: true}, sink.Rule{})
	one, two := nodes[0], nodes[1]
	for round := range 20 {
		name := fmt.Sprint("i", round)
		settings := map[string]instances.Settings{"rec": {Value: json.RawMessage(`{"enabled":true,"events":["ALL"]}`)}}
		if _, err := one.registry.Create(t.Context(), instances.Instance{Name: name, Settings: settings}, "token of "+name); err != nil {
			t.Fatal(err)
		}
		if err := two.Emit(t.Context(), upsert(name, round)); err != nil {
			t.Fatalf("an event on the other node, right after the instance was created: %v", err)
		}
		for _, n := range nodes {
			if d := next(t, n.sink); d.Event.Instance != name {
				t.Fatalf("delivered: %+v", d.Event)
			}
			if c := n.change(t); c.Kind != sink.Created || c.Instance != name {
				t.Fatalf("told of %+v", c)
			}
		}
		if _, owner, ok := two.registry.Authenticate("token of " + name); !ok || owner != name {
			t.Fatalf("on the other node the token opens %q", owner)
		}
		if err := two.registry.Delete(t.Context(), name); err != nil {
			t.Fatal(err)
		}
		if c := one.change(t); c.Kind != sink.Deleted || c.Instance != name {
			t.Fatalf("told of %+v", c)
		}
		two.change(t)
		if err := one.Emit(t.Context(), upsert(name, round)); !errors.Is(err, instances.ErrUnknown) {
			t.Fatalf("an event of a deleted instance: %v", err)
		}
	}
}

// An event whose name looks like another instance's does not create one. Its producer learns why.
func TestAnEventCreatesNoInstanceThatLooksLikeAnother(t *testing.T) {
	hub, registry := start(t, core.Options{})
	err := hub.Emit(t.Context(), upsert("sales\u200b", 1))
	if err == nil || err.Error() != instances.ValidateNewName("sales\u200b").Error() || len(registry.All()) != 0 {
		t.Errorf("Emit: %v; the instances are %v", err, registry.All())
	}
}

// waiting returns how many deliveries wait on a hub.
func waiting(hub *core.Hub) int {
	n := 0
	for _, s := range hub.Queue().Stats() {
		n += s.Waiting
	}
	return n
}

// What waits goes with its shards: to a hub that joins, and back when one stops.
func TestWhatWaitsIsDeliveredOnceWhicheverHubComesAndGoes(t *testing.T) {
	const instanceCount, perInstance = 30, 10
	p := newPair(t, time.Hour) // what moves here moves without the end of a lease
	p.down.Store(true)
	one, end := p.start(t, "one", p.engine.Leases())
	emit := func(hub *core.Hub, from int) {
		t.Helper()
		for n := from; n < from+perInstance; n++ {
			for i := range instanceCount {
				e := upsert(fmt.Sprint("tenant-", i), n)
				e.ID = fmt.Sprintf("%02d-%03d", i, n)
				if err := hub.Emit(t.Context(), e); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	const all = instanceCount * perInstance
	emit(one, 0)
	eventually(t, "all to wait", func() bool { return waiting(one) == all })
	two, _ := p.start(t, "two", p.engine.Leases())
	eventually(t, "the second to have its share of what waits", func() bool {
		return p.holds(t, "two") == 2 && waiting(one)+waiting(two) == all && waiting(one) > 0 && waiting(two) > 0
	})
	fresh := upsert("fresh", 0)
	fresh.ID = "made on the first"
	if err := one.Emit(t.Context(), fresh); err != nil {
		t.Fatal(err)
	}
	again := upsert("fresh", 1)
	again.ID = "used on the second"
	if err := two.Emit(t.Context(), again); err != nil || again.InstanceID != fresh.InstanceID {
		t.Fatalf("an event of an instance that another hub has made: %v; it has id %q there and %q here", err, fresh.InstanceID, again.InstanceID)
	}
	p.down.Store(false)
	eventually(t, "all to be delivered", func() bool { return waiting(one)+waiting(two) == 0 && p.delivered() == all+2 })
	p.down.Store(true)
	emit(two, perInstance)
	eventually(t, "all to wait", func() bool { return waiting(one)+waiting(two) == all })
	end()
	eventually(t, "all to wait at the hub that is left", func() bool { return p.holds(t, "two") == 4 && waiting(two) == all })
	p.down.Store(false)
	eventually(t, "all to be delivered", func() bool { return waiting(two) == 0 && p.delivered() == 2*all+2 })
	p.mu.Lock()
	defer p.mu.Unlock()
	next := map[string]string{}
	for _, e := range p.order {
		if e.ID <= next[e.Instance] && e.Instance != "fresh" {
			t.Errorf("%s of %s was delivered behind %s", e.ID, e.Instance, next[e.Instance])
		}
		next[e.Instance] = e.ID
	}
	for id, nodes := range p.got {
		if len(nodes) != 1 {
			t.Errorf("%s was delivered by %v", id, nodes)
		}
	}
	if n, err := two.Queue().CountDeadLetters(t.Context(), queue.DeadLetterFilter{}); n != 0 || err != nil {
		t.Errorf("%d dead letters, %v", n, err)
	}
	eventually(t, "the results to be in the store, which are written behind", func() bool {
		lanes, err := p.engine.Queue().Lanes(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return len(lanes) == 0
	})
}

// delivered returns how many deliveries were made.
func (p *pair) delivered() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.order)
}
