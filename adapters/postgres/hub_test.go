package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/evosink/evosink/adapters/postgres"
	"github.com/evosink/evosink/core"
	"github.com/evosink/evosink/core/instances"
	"github.com/evosink/evosink/core/queue"
	"github.com/evosink/evosink/core/sink"
)

// A target is the one that both hubs deliver to.
type target struct {
	down atomic.Bool

	mu sync.Mutex
	// mu guards the fields below.
	last  map[string]string // by instance: the id of the last event
	count int
	wrong []string
}

type hookConfig struct{}

// A hook is a queued sink.
type hook struct{ to *target }

func (hook) Start(context.Context) error { return nil }
func (hook) Close(context.Context) error { return nil }
func (h hook) Deliver(_ context.Context, d *sink.Delivery) error {
	if d.Event.Instance == "evosink" { // of the hub itself
		return nil
	}
	if h.to.down.Load() {
		return sink.Unavailable(errors.New("down"))
	}
	h.to.mu.Lock()
	defer h.to.mu.Unlock()
	if id := d.Event.ID; id <= h.to.last[d.Event.Instance] {
		h.to.wrong = append(h.to.wrong, id+" behind "+h.to.last[d.Event.Instance])
	}
	h.to.last[d.Event.Instance] = d.Event.ID
	h.to.count++
	return nil
}

func (h *target) delivered() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.count
}

// runHub runs a hub on a node until the test ends, or end is called.
func runHub(t *testing.T, c postgres.Config, name string, to *target) (hub *core.Hub, end func()) {
	t.Helper()
	db, err := postgres.Open(context.Background(), c, nop)
	if err != nil {
		t.Fatal(err)
	}
	registry, err := instances.Open(t.Context(), db, instances.Sum("key"))
	if err != nil {
		t.Fatal(err)
	}
	delivery := queue.DefaultConfig()
	delivery.BreakerWait, delivery.BreakerMax = 20*time.Millisecond, 50*time.Millisecond
	hub, err = core.New(core.Options{
		Bus: db, Queue: db.Queue(), Instances: registry, Leases: db.Leases(), Node: name, Logger: nop,
		Delivery: &delivery,
		Sinks: []*sink.Factory{sink.Use(sink.Spec[hookConfig]{
			Name: "hook", Mode: sink.Queued, Defaults: func() hookConfig { return hookConfig{} },
			Enabled: func(*hookConfig) bool { return true }, Rule: func(*hookConfig) sink.Rule { return sink.Rule{Global: true} },
			New: func(hookConfig, sink.Host) (sink.Sink, error) { return hook{to}, nil },
		})},
	})
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- hub.Run(context.Background()) }()
	<-hub.Started()
	end = sync.OnceFunc(func() {
		if err := errors.Join(hub.Close(context.Background()), <-ended, db.Close(context.Background())); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(end)
	return hub, end
}

// Whole hubs on one database: what is emitted on any is delivered once and in order, while a hub joins and another stops,
// and also what has waited for a target that was down.
func TestHubsOnOneDatabaseDeliverOnceAndInOrder(t *testing.T) {
	const tenants, part = 20, 10
	c := newConfig(t)
	c.Shards = 4
	to := &target{last: map[string]string{}}
	to.down.Store(true)
	one, end := runHub(t, c, "one", to)
	emitAll := func(hub *core.Hub, from int) {
		t.Helper()
		for n := from; n < from+part; n++ {
			for i := range tenants {
				e := newEvent(fmt.Sprint("tenant-", i), n)
				e.ID = fmt.Sprintf("%02d-%03d", i, n)
				if err := hub.Emit(t.Context(), e); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	emitAll(one, 0)
	two, _ := runHub(t, c, "two", to)
	waitFor(t, "the second hub has its share of the shards", func() bool {
		return number(t, c, "SELECT count(*) FROM @.leases WHERE grp = 'dispatch' AND node = 'two'") == 2
	})
	to.down.Store(false)
	emitAll(two, part)
	waitFor(t, "all is delivered", func() bool { return to.delivered() == 2*tenants*part })
	end()
	emitAll(two, 2*part)
	waitFor(t, "all is delivered by the hub that is left", func() bool { return to.delivered() == 3*tenants*part })
	to.mu.Lock()
	defer to.mu.Unlock()
	if len(to.wrong) > 0 {
		t.Errorf("twice or out of order: %v", to.wrong)
	}
}
