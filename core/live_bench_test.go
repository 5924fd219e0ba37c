package core_test

import (
	"context"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/evosink/evosink/adapters/memory"
	"github.com/evosink/evosink/adapters/sqlite"
	"github.com/evosink/evosink/core"
	"github.com/evosink/evosink/core/bus"
	"github.com/evosink/evosink/core/event"
	"github.com/evosink/evosink/core/instances"
	"github.com/evosink/evosink/core/sink"
)

// liveEngines are the engines that live delivery is measured on.
var liveEngines = map[string]func(b *testing.B) (bus.Bus, instances.Store){
	"memory": func(b *testing.B) (bus.Bus, instances.Store) {
		e, err := memory.New(memory.DefaultConfig())
		if err != nil {
			b.Fatal(err)
		}
		return e.Bus(), e
	},
	"sqlite": func(b *testing.B) (bus.Bus, instances.Store) {
		c := sqlite.DefaultConfig()
		c.Path = filepath.Join(b.TempDir(), "evosink.db")
		db, err := sqlite.Open(b.Context(), c, zerolog.Nop())
		if err != nil {
			b.Fatal(err)
		}
		return db, db
	},
}

// liveHub runs a hub with one live sink, which hands the events of [some] to a function.
func liveHub(b *testing.B, engine string, deliver func(*sink.Delivery)) *core.Hub {
	b.Helper()
	s := each(func(d *sink.Delivery) error {
		if d.Event.Name == "messages.upsert" { // and not the hub's own
			deliver(d)
		}
		return nil
	})
	transport, store := liveEngines[engine](b)
	registry, err := instances.Open(b.Context(), store, "")
	if err != nil {
		b.Fatal(err)
	}
	o := core.Options{Bus: transport, Instances: registry, Sinks: []*sink.Factory{liveSink(s)}, Logger: zerolog.Nop()}
	hub, err := core.New(o)
	if err != nil {
		b.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- hub.Run(context.Background()) }()
	<-hub.Started()
	b.Cleanup(func() {
		hub.Close(context.Background())
		if err := <-ended; err != nil {
			b.Error(err)
		}
		transport.Close(context.Background())
	})
	return hub
}

// some returns n events of an instance.
func some(instance string, n int) []*event.Event {
	events := make([]*event.Event, n)
	for i := range events {
		events[i] = &event.Event{Name: "messages.upsert", Instance: instance, Data: kilobyte, Time: time.Now()}
	}
	return events
}

// BenchmarkLive is how fast a live sink that answers at once gets what is emitted in large calls, for 16 instances.
func BenchmarkLive(b *testing.B) {
	for engine := range liveEngines {
		b.Run(engine, func(b *testing.B) {
			var delivered atomic.Int64
			hub := liveHub(b, engine, func(*sink.Delivery) { delivered.Add(1) })
			names := named("instance-", 16)
			b.ReportAllocs()
			b.ResetTimer()
			for n := 0; n < b.N; n += 256 {
				if err := hub.Emit(context.Background(), some(names[n/256%16], min(256, b.N-n))...); err != nil {
					b.Fatal(err)
				}
			}
			for delivered.Load() < int64(b.N) {
				time.Sleep(100 * time.Microsecond)
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
		})
	}
}

// BenchmarkLiveBesideAFlood is the time from Emit to live delivery for 63 instances that emit ten events a second each,
// while another one emits as fast as the engine takes it. behind-ms is how long the sink was still busy with the flood
// when it had ended, after five seconds.
func BenchmarkLiveBesideAFlood(b *testing.B) {
	for engine := range liveEngines {
		b.Run(engine, func(b *testing.B) {
			var mu sync.Mutex
			var waits []time.Duration
			var delivered, emitted atomic.Int64
			hub := liveHub(b, engine, func(d *sink.Delivery) {
				delivered.Add(1)
				if d.Event.Instance != "flood" {
					mu.Lock()
					defer mu.Unlock()
					waits = append(waits, time.Since(d.Event.Time))
				}
			})
			emit := func(events []*event.Event) {
				emitted.Add(int64(len(events)))
				if err := hub.Emit(context.Background(), events...); err != nil {
					b.Error(err)
				}
			}
			b.ResetTimer()
			for range b.N {
				end := time.Now().Add(5 * time.Second)
				var emitting sync.WaitGroup
				for range 2 {
					emitting.Go(func() {
						for time.Now().Before(end) {
							emit(some("flood", 256))
						}
					})
				}
				for _, name := range named("instance-", 63) {
					emitting.Go(func() {
						ticker := time.NewTicker(100 * time.Millisecond)
						defer ticker.Stop()
						for ; time.Now().Before(end); <-ticker.C {
							emit(some(name, 1))
						}
					})
				}
				emitting.Wait()
				ended := time.Now()
				for delivered.Load() < emitted.Load() {
					time.Sleep(100 * time.Microsecond)
				}
				b.ReportMetric(float64(time.Since(ended).Milliseconds()), "behind-ms")
			}
			mu.Lock()
			defer mu.Unlock()
			slices.Sort(waits)
			for name, share := range map[string]float64{"p50-ms": 0.5, "p99-ms": 0.99, "max-ms": 1} {
				b.ReportMetric(float64(waits[int(share*float64(len(waits)-1))].Microseconds())/1000, name)
			}
			b.ReportMetric(float64(emitted.Load())/b.Elapsed().Seconds(), "events/s")
		})
	}
}
