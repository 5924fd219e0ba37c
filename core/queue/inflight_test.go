package queue_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/evosink/evosink/core/queue"
	"github.com/evosink/evosink/core/sink"
)

// gauge measures how many bytes of events are in hand at once.
type gauge struct {
	mu   sync.Mutex
	now  map[string]int64 // by instance, "" for all
	most map[string]int64
}

func newGauge() *gauge { return &gauge{now: map[string]int64{}, most: map[string]int64{}} }

func (g *gauge) add(sign int64, all ...*sink.Delivery) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, d := range all {
		for _, of := range []string{"", d.Event.Instance} {
			g.now[of] += sign * queue.Size(d.Event)
			g.most[of] = max(g.most[of], g.now[of])
		}
	}
}

// hold is in hand for a second.
func (g *gauge) hold(all ...*sink.Delivery) {
	g.add(1, all...)
	time.Sleep(time.Second)
	g.add(-1, all...)
}

// batching is a target that takes batches.
type batching struct {
	*target
	hold func(all ...*sink.Delivery)
}

func (s batching) DeliverBatch(_ context.Context, all []*sink.Delivery) []error {
	s.hold(all...)
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, d := range all {
		s.tries = append(s.tries, try{id: d.Event.ID, instance: d.Event.Instance})
	}
	return make([]error, len(all))
}

func TestEventsInHandAreBoundedInBytes(t *testing.T) {
	const size = 40_000
	for name, c := range map[string]struct {
		cache int
		own   bool // targets are the instances' own
	}{
		"own targets, events in memory":    {32 << 20, true},
		"own targets, events on the disk":  {0, true},
		"shared targets, events in memory": {32 << 20, false},
		"shared targets, events on disk":   {0, false},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				config := queue.DefaultConfig()
				config.CacheBytes, config.InFlightPerInstance, config.InFlightBytes = c.cache, 100_000, 300_000
				g := newGauge()
				s := &target{deliver: func(_ context.Context, d *sink.Delivery) error { g.hold(d); return nil }}
				r := start(t, newStore(t), config, outlet("hook", s))
				lane := func(instance string, i int) queue.Destination {
					d := ownTarget(instance, fmt.Sprint("target", i))
					if !c.own {
						d.Scope = sink.Global
					}
					return d
				}
				for i := range 60 {
					for _, hog := range []string{"hog0", "hog1", "hog2", "hog3", "hog4"} {
						r.put(large(hog, fmt.Sprintf("%04d", i), size), lane(hog, i%20))
					}
				}
				for i := range 60 {
					r.put(newEvent("small", fmt.Sprintf("%04d", i)), lane("small", i%20))
				}
				after(time.Hour)
				want(t, "delivered", len(s.took("")), 6*60)
				for of, most := range map[string]int64{"hog0": 100_000, "hog4": 100_000, "": 300_000} {
					if limit := most + queue.Size(large("hog0", "0000", size)); g.most[of] > limit || g.most[of] < most/2 {
						t.Errorf("%d bytes of %q were in hand at once, want up to %d", g.most[of], of, limit)
					}
				}
				if lanes, endpoints := r.Size(); lanes+endpoints != 0 {
					t.Errorf("%d lanes and %d endpoints are left in memory", lanes, endpoints)
				}
			})
		})
	}
}

func TestAnEventLargerThanAllThatMayBeInHandIsDelivered(t *testing.T) {
	bubble(t, func(t *testing.T) {
		config := queue.DefaultConfig()
		config.CacheBytes, config.InFlightPerInstance, config.InFlightBytes = 0, 1, 1
		g := newGauge()
		s := &target{deliver: func(_ context.Context, d *sink.Delivery) error { g.hold(d); return nil }}
		r := start(t, newStore(t), config, outlet("hook", s))
		for i := range 20 {
			r.put(newEvent(fmt.Sprint("i", i%4), fmt.Sprintf("%04d", i)), ownTarget(fmt.Sprint("i", i%4), fmt.Sprint(i)))
		}
		after(time.Hour)
		want(t, "delivered", len(s.took("")), 20)
		want(t, "most in hand", g.most[""], queue.Size(newEvent("i0", "0000")))
	})
}

func TestABatchIsBoundedInBytes(t *testing.T) {
	bubble(t, func(t *testing.T) {
		config := queue.DefaultConfig()
		config.InFlightPerInstance, config.InFlightBytes = 1<<20, 4<<20
		g := newGauge()
		s := batching{&target{}, g.hold}
		r := start(t, newStore(t), config, outlet("hook", s))
		for i := range 20 {
			for k := range 40 {
				r.put(large(fmt.Sprint("i", k), fmt.Sprintf("%04d", i), 400_000), to(fmt.Sprint("i", k)))
			}
		}
		after(time.Hour)
		want(t, "delivered", len(s.took("")), 800)
		if limit := int64(4<<20 + 1<<20 + 400_000); g.most[""] > limit {
			t.Errorf("%d bytes were in hand at once, want up to %d", g.most[""], limit)
		}
	})
}
