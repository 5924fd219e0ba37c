package core_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/pubsub/gochannel"
	"github.com/rs/zerolog"

	"github.com/evosink/evosink/adapters/memory"
	"github.com/evosink/evosink/core"
	"github.com/evosink/evosink/core/bus"
	"github.com/evosink/evosink/core/instances"
	"github.com/evosink/evosink/core/sink"
)

// An adapted is a hub on a Pub/Sub that the test, or the process around it, has already.
type adapted struct {
	*core.Hub
	log   page
	ended chan error
}

// A page is a log that can be read while others write: watermill's router has goroutines that do when Run has returned.
type page struct {
	mu   sync.Mutex
	text strings.Builder // guarded by mu
}

func (p *page) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.text.Write(b)
}

func (p *page) String() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.text.String()
}

// adapt makes a hub over a Pub/Sub; it does not run yet.
func adapt(t *testing.T, subscriber message.Subscriber, local *gochannel.GoChannel, sinks ...*sink.Factory) *adapted {
	t.Helper()
	b, err := bus.Adapt(local, subscriber, bus.AdaptOptions{Buffer: 64})
	if err != nil {
		t.Fatal(err)
	}
	store, err := memory.New(memory.DefaultConfig())
	if err != nil {
		t.Fatal(err)
	}
	registry, err := instances.Open(t.Context(), store, instances.Sum("key"))
	if err != nil {
		t.Fatal(err)
	}
	a := &adapted{ended: make(chan error, 1)}
	o := core.Options{Bus: b, Instances: registry, Queue: store.Queue(), Sinks: sinks, Logger: zerolog.New(&a.log)}
	if a.Hub, err = core.New(o); err != nil {
		t.Fatal(err)
	}
	o.Log = store
	if _, err := core.New(o); err == nil || !strings.Contains(err.Error(), "Replay") {
		t.Errorf("a log beside a bus that cannot replay: %v", err)
	}
	t.Cleanup(func() {
		if err := a.Close(context.Background()); err != nil {
			t.Errorf("close the hub: %v", err)
		}
		if err := b.Close(context.Background()); err != nil {
			t.Errorf("close the bus: %v", err)
		}
	})
	return a
}

func (a *adapted) run() { go func() { a.ended <- a.Run(context.Background()) }() }

func newLocal(t *testing.T) *gochannel.GoChannel {
	local := gochannel.NewGoChannel(gochannel.Config{BlockPublishUntilSubscriberAck: true}, nil)
	t.Cleanup(func() { local.Close() })
	return local
}

func TestAHubRunsOnAPubSubThatTheProcessHas(t *testing.T) {
	var live, hook recorder
	local := newLocal(t)
	a := adapt(t, local, local, use("live", &live, sink.Rule{Global: true}), queued("hook", &hook, sink.Rule{Global: true}))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := a.Emit(ctx, upsert("a", 0)); !errors.Is(err, bus.ErrOverloaded) {
		t.Errorf("Emit returned %v before the hub runs, when the bus would forget the event", err)
	}
	early := make(chan error, 1)
	go func() { early <- a.Emit(t.Context(), upsert("early", 0)) }()
	a.run()
	if err := <-early; err != nil {
		t.Fatalf("Emit at the start: %v", err)
	}
	const n = 300
	for i := range n {
		for _, instance := range []string{"a", "b", "c"} {
			if err := a.Emit(t.Context(), upsert(instance, i)); err != nil {
				t.Fatal(err)
			}
		}
	}
	for name, r := range map[string]*recorder{"live": &live, "hook": &hook} {
		next := map[string]int{}
		for range 3*n + 1 { // the early one too
			d := arrival(t, r)
			if want := fmt.Sprintf(`{"n": %d}`, next[d.Event.Instance]); d.Event.Name == "messages.upsert" && string(d.Event.Data) != want {
				t.Fatalf("%s: %s of %s, want %s", name, d.Event.Data, d.Event.Instance, want)
			}
			next[d.Event.Instance]++
		}
		if next["a"] != n || next["b"] != n || next["c"] != n || next["early"] != 1 {
			t.Errorf("%s: %v", name, next)
		}
	}
	if err := a.Settle(t.Context(), "a"); !errors.Is(err, bus.ErrUnsupported) {
		t.Errorf("Settle returned %v, but the bus has no positions", err)
	}
	a.Stop()
	if err := a.Emit(t.Context(), upsert("a", 0)); !errors.Is(err, core.ErrClosed) {
		t.Errorf("Emit after Stop returned %v, but the bus forgets", err)
	}
	if err := <-a.ended; err != nil {
		t.Errorf("Run: %v", err)
	}
	if !strings.Contains(a.log.String(), `"missing":["Reopens","Backlog","AtomicBatches","Once","Positions","Replay","CursorWithQueue"]`) {
		t.Errorf("the log does not tell what is missing: %s", a.log.String())
	}
}

// down is a Pub/Sub that cannot be reached.
type down struct {
	message.Subscriber
	tried atomic.Int32
}

func (d *down) Subscribe(context.Context, string) (<-chan *message.Message, error) {
	d.tried.Add(1)
	return nil, errors.New("connection refused")
}

func TestAHubWhosePubSubIsDownCanBeStopped(t *testing.T) {
	var live recorder
	d := &down{}
	a := adapt(t, d, newLocal(t), use("live", &live, sink.Rule{Global: true}))
	a.run()
	eventually(t, "a try", func() bool { return d.tried.Load() > 0 })
	a.Stop()
	select {
	case err := <-a.ended:
		if err != nil {
			t.Errorf("Run: %v", err)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("Run does not return")
	}
}
