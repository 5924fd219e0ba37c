package core_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/evosink/evosink/adapters/memory"
	"github.com/evosink/evosink/core"
	"github.com/evosink/evosink/core/bus"
	"github.com/evosink/evosink/core/event"
	"github.com/evosink/evosink/core/instances"
	"github.com/evosink/evosink/core/queue"
	"github.com/evosink/evosink/core/sink"
)

// A pair is two hubs on one engine, with a queued sink each.
type pair struct {
	engine *memory.Engine
	choose func(*event.Event) // called when the sinks are asked for targets; nil if they have one each
	down   atomic.Bool        // the target of the sinks
	mu     sync.Mutex
	// mu guards the fields below.
	got   map[string][]string // event id -> nodes that delivered it
	order []*event.Event      // as they were delivered
}

func newPair(t *testing.T, leaseTime time.Duration) *pair {
	t.Helper()
	c := memory.DefaultConfig()
	c.Shards, c.LeaseTime = 4, leaseTime
	engine, err := memory.New(c)
	if err != nil {
		t.Fatal(err)
	}
	registry, err := instances.Open(t.Context(), engine, instances.Sum("key"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range append([]string{"evosink"}, names...) {
		if _, err := registry.Create(t.Context(), instances.Instance{Name: name}, ""); err != nil {
			t.Fatal(err)
		}
	}
	return &pair{engine: engine, got: map[string][]string{}}
}

// chooser is a sink that is asked for targets.
type chooser struct {
	*mortal
	choose func(*event.Event)
}

func (c chooser) Targets(e *event.Event, _ []sink.Scope, _ json.RawMessage) []sink.Destination {
	c.choose(e)
	return []sink.Destination{{Scope: sink.Global}}
}

// start runs a hub until close is called, or the test ends.
func (p *pair) start(t *testing.T, node string, leases bus.Leases) (hub *core.Hub, end func()) {
	t.Helper()
	registry, err := instances.Open(t.Context(), p.engine, instances.Sum("key"))
	if err != nil {
		t.Fatal(err)
	}
	var r recorder
	r.deliver = func(d *sink.Delivery) error {
		if d.Event.Instance == "evosink" { // emitted before the other hub has started
			return nil
		}
		if p.down.Load() {
			return sink.Unavailable(errors.New("down"))
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		p.order = append(p.order, d.Event)
		p.got[d.Event.ID] = append(p.got[d.Event.ID], node)
		return nil
	}
	b := p.engine.Bus()
	hook := queued("hook", &r, sink.Rule{Global: true})
	if p.choose != nil {
		hook = sink.Use(sink.Spec[switches]{
			Name: "hook", Mode: sink.Queued,
			Defaults: func() switches { return switches{On: true} },
			Enabled:  func(c *switches) bool { return c.On },
			Rule:     func(*switches) sink.Rule { return sink.Rule{Global: true} },
			New:      func(switches, sink.Host) (sink.Sink, error) { return chooser{&mortal{recorder: &r}, p.choose}, nil },
		})
	}
	delivery := queue.DefaultConfig()
	delivery.BreakerWait, delivery.BreakerMax = 20*time.Millisecond, 50*time.Millisecond
	hub, err = core.New(core.Options{
		Bus: b, Instances: registry, Queue: p.engine.Queue(), Leases: leases, Node: node, Logger: zerolog.Nop(), Delivery: &delivery,
		Sinks: []*sink.Factory{hook},
	})
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- hub.Run(context.Background()) }()
	<-hub.Started()
	var once sync.Once
	end = func() {
		once.Do(func() {
			if err := errors.Join(hub.Close(context.Background()), <-ended, b.Close(context.Background())); err != nil {
				t.Errorf("close node %s: %v", node, err)
			}
		})
	}
	t.Cleanup(end)
	return hub, end
}

// holds returns how many shards a node has.
func (p *pair) holds(t *testing.T, node string) (n int) {
	t.Helper()
	held, err := p.engine.Leases().Held(t.Context(), "dispatch")
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range held {
		if l.Node == node {
			n++
		}
	}
	return n
}

// names are instances in all shards.
var names = []string{"a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l"}

// emit emits an event of each instance.
func (p *pair) emit(t *testing.T, hub *core.Hub, n int) {
	t.Helper()
	for _, name := range names {
		e := upsert(name, n)
		e.ID = fmt.Sprintf("%s-%d", name, n)
		if err := hub.Emit(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
}

// once checks that n events of each instance are delivered, each once, and returns how many by each node.
func (p *pair) once(t *testing.T, n int) map[string]int {
	t.Helper()
	by := map[string]int{}
	eventually(t, "all deliveries", func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		for i := range n {
			if slices.ContainsFunc(names, func(name string) bool { return p.got[fmt.Sprintf("%s-%d", name, i)] == nil }) {
				return false
			}
		}
		return true
	})
	p.mu.Lock()
	defer p.mu.Unlock()
	for id, nodes := range p.got {
		if len(nodes) != 1 {
			t.Errorf("%s was delivered by %v", id, nodes)
		}
		by[nodes[0]]++
	}
	return by
}

func TestShardsSpreadOverHubsAndComeBackWhenOneStops(t *testing.T) {
	p := newPair(t, time.Hour) // what moves here moves without the end of a lease
	one, end := p.start(t, "one", p.engine.Leases())
	eventually(t, "the first to have all", func() bool { return p.holds(t, "one") == 4 })
	two, _ := p.start(t, "two", p.engine.Leases())
	n := 0
	eventually(t, "both to have their share", func() bool {
		p.emit(t, []*core.Hub{one, two}[n%2], n) // handed over under load
		n++
		return p.holds(t, "one") == 2 && p.holds(t, "two") == 2
	})
	for range 20 {
		p.emit(t, one, n)
		n++
	}
	if by := p.once(t, n); by["one"] == 0 || by["two"] == 0 {
		t.Errorf("delivered by %v, want some by each", by)
	}
	end()
	if held := p.holds(t, "one"); held != 0 {
		t.Errorf("a hub that has stopped holds %d shards", held)
	}
	eventually(t, "the second to have all", func() bool { return p.holds(t, "two") == 4 })
	p.emit(t, two, n)
	p.once(t, n+1)
}

// parted are the leases of a node that may lose its engine: no call of it gets through then.
type parted struct {
	bus.Leases
	away atomic.Bool
}

var errAway = errors.New("connection lost")

func (p *parted) Join(ctx context.Context, node string) ([]string, error) {
	if p.away.Load() {
		return nil, errAway
	}
	return p.Leases.Join(ctx, node)
}

func (p *parted) Leave(ctx context.Context, node string) error {
	if p.away.Load() {
		return errAway
	}
	return p.Leases.Leave(ctx, node)
}

func (p *parted) Release(ctx context.Context, l bus.Lease) error {
	if p.away.Load() {
		return errAway
	}
	return p.Leases.Release(ctx, l)
}

func TestTheShardsOfAHubThatIsLostGoOnElsewhere(t *testing.T) {
	p := newPair(t, 5*time.Second)
	lost := &parted{Leases: p.engine.Leases()}
	p.start(t, "one", lost)
	eventually(t, "the first to have all", func() bool { return p.holds(t, "one") == 4 })
	two, _ := p.start(t, "two", p.engine.Leases())
	eventually(t, "both to have their share", func() bool { return p.holds(t, "one") == 2 && p.holds(t, "two") == 2 })
	p.emit(t, two, 0)
	p.once(t, 1)
	lost.away.Store(true)
	eventually(t, "the other to have all", func() bool { return p.holds(t, "two") == 4 })
	p.mu.Lock()
	before := len(p.got)
	p.mu.Unlock()
	p.emit(t, two, 1)
	by := p.once(t, 2)
	if by["two"] < len(names) || before+len(names) != len(p.got) {
		t.Errorf("delivered by %v, want the last %d by the one that is left", by, len(names))
	}
	lost.away.Store(false)
	eventually(t, "it to get its share again", func() bool { return p.holds(t, "one") == 2 && p.holds(t, "two") == 2 })
	p.emit(t, two, 2)
	p.once(t, 3)
}

func TestAShardThatDoesNotComeToRestKeepsNoOtherFromBeingRenewed(t *testing.T) {
	p := newPair(t, 8*time.Second)
	stuck := names[slices.IndexFunc(names, func(name string) bool { return bus.Shard(name, 4) == 3 })]
	release := make(chan struct{})
	p.choose = func(e *event.Event) {
		if e.Instance == stuck {
			<-release
		}
	}
	one, _ := p.start(t, "one", p.engine.Leases())
	defer close(release) // before the hubs end
	eventually(t, "the first to have all", func() bool { return p.holds(t, "one") == 4 })
	if err := one.Emit(t.Context(), upsert(stuck, 0)); err != nil {
		t.Fatal(err)
	}
	p.start(t, "two", p.engine.Leases())
	eventually(t, "both to have their share", func() bool { return p.holds(t, "one") == 2 && p.holds(t, "two") == 2 })
	held, err := p.engine.Leases().Held(t.Context(), "dispatch")
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range held {
		if l.Node == "one" && l.Epoch != 1 {
			t.Errorf("shard %d changed hands meanwhile: epoch %d", l.Shard, l.Epoch)
		}
	}
}
