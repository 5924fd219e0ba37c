package core_test

import (
	"context"
	"errors"
	"fmt"
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
	"github.com/evosink/evosink/core/event"
	"github.com/evosink/evosink/core/instances"
	"github.com/evosink/evosink/core/sink"
	"github.com/evosink/evosink/sinks/e2e/sinkbench"
)

// kilobyte is 1 KiB of JSON.
var kilobyte = append(append([]byte{'"'}, slices.Repeat([]byte{'x'}, 1022)...), '"')

// each is a sink that hands every delivery to a function.
type each func(d *sink.Delivery) error

func (each) Start(context.Context) error                         { return nil }
func (each) Close(context.Context) error                         { return nil }
func (f each) Deliver(_ context.Context, d *sink.Delivery) error { return f(d) }

// benchHub runs a hub on a file, with one queued sink that instances subscribe to.
func benchHub(b *testing.B, shards int, names []string, s sink.Sink) *core.Hub {
	b.Helper()
	db := benchFile(b, shards)
	return benchHubOn(b, core.Options{Bus: db, Queue: db.Queue()}, db, names, s)
}

// benchFile is an engine on a file that lasts as long as the benchmark.
func benchFile(b *testing.B, shards int) *sqlite.DB {
	b.Helper()
	c := sqlite.DefaultConfig()
	c.Path, c.Shards = filepath.Join(b.TempDir(), "evosink.db"), shards
	db, err := sqlite.Open(b.Context(), c, zerolog.Nop())
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { db.Close(context.Background()) })
	return db
}

// benchHubOn runs a hub on the engine in the options, with one queued sink that the instances, kept in store, subscribe
// to.
func benchHubOn(b *testing.B, o core.Options, store instances.Store, names []string, s sink.Sink) *core.Hub {
	b.Helper()
	registry, err := instances.Open(b.Context(), store, "")
	if err != nil {
		b.Fatal(err)
	}
	for _, name := range names {
		if _, err := registry.Create(b.Context(), instances.Instance{Name: name}, ""); err != nil {
			b.Fatal(err)
		}
		if _, err := registry.Set(b.Context(), name, "hook", []byte(`{"enabled":true,"events":["ALL"]}`)); err != nil {
			b.Fatal(err)
		}
	}
	hook := sink.Use(sink.Spec[switches]{
		Name: "hook", Mode: sink.Queued, Defaults: func() switches { return switches{} },
		Enabled: func(*switches) bool { return true }, Rule: func(*switches) sink.Rule { return sink.Rule{} },
		New: func(switches, sink.Host) (sink.Sink, error) { return s, nil },
	})
	o.Instances, o.Sinks, o.Logger = registry, []*sink.Factory{hook}, zerolog.Nop()
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
	})
	return hub
}

func named(prefix string, n int) (names []string) {
	for i := range n {
		names = append(names, fmt.Sprint(prefix, i))
	}
	return names
}

// BenchmarkEmitToQueuedSink is the whole way: emitted, committed, dispatched, delivered by one queued sink, removed.
func BenchmarkEmitToQueuedSink(b *testing.B) {
	for _, shards := range []int{16, 64} {
		b.Run(fmt.Sprint("shards=", shards), func(b *testing.B) {
			var delivered atomic.Int64
			names := named("instance-", 256)
			hub := benchHub(b, shards, names, each(func(*sink.Delivery) error { delivered.Add(1); return nil }))
			b.ResetTimer()
			var wg sync.WaitGroup
			for i, name := range names {
				wg.Go(func() {
					for n := i; n < b.N; n += len(names) {
						e := &event.Event{Name: "messages.upsert", Instance: name, Data: kilobyte}
						if err := hub.Emit(context.Background(), e); err != nil {
							b.Error(err)
						}
					}
				})
			}
			wg.Wait()
			for delivered.Load() < int64(b.N) || hub.Queue().Stats()[0].Waiting > 0 {
				time.Sleep(time.Millisecond)
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
		})
	}
}

// BenchmarkEmitToNoopSink is the same way by one caller and by 64, to a sink that answers at once: what an event costs
// beside its delivery, until all are delivered and none waits.
func BenchmarkEmitToNoopSink(b *testing.B) {
	engines := map[string]func(*testing.B) (core.Options, instances.Store){
		"sqlite": func(b *testing.B) (core.Options, instances.Store) {
			db := benchFile(b, 16)
			return core.Options{Bus: db, Queue: db.Queue()}, db
		},
		"memory": func(b *testing.B) (core.Options, instances.Store) {
			engine, err := memory.New(memory.DefaultConfig())
			if err != nil {
				b.Fatal(err)
			}
			node := engine.Bus()
			b.Cleanup(func() { node.Close(context.Background()) })
			return core.Options{Bus: node, Queue: engine.Queue()}, engine
		},
	}
	for name, open := range engines {
		for _, callers := range []int{1, 64} {
			b.Run(fmt.Sprintf("%s/%d-callers", name, callers), func(b *testing.B) {
				var delivered atomic.Int64
				o, store := open(b)
				names := named("instance-", 50)
				s := each(func(*sink.Delivery) error { delivered.Add(1); return nil })
				hub := benchHubOn(b, o, store, names, s)
				b.ReportAllocs()
				before := sinkbench.ProcessorTime()
				b.ResetTimer()
				var wg sync.WaitGroup
				for caller := range callers {
					wg.Go(func() {
						for n := caller; n < b.N; n += callers {
							e := &event.Event{Name: "messages.upsert", Instance: names[n%len(names)], Data: kilobyte}
							if err := hub.Emit(context.Background(), e); err != nil {
								b.Error(err)
							}
						}
					})
				}
				wg.Wait()
				for delivered.Load() < int64(b.N) || hub.Queue().Stats()[0].Waiting > 0 {
					time.Sleep(time.Millisecond)
				}
				b.StopTimer()
				b.ReportMetric(float64((sinkbench.ProcessorTime()-before).Microseconds())/float64(b.N), "cpu-us/event")
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
			})
		}
	}
}

// BenchmarkEmitWithAnID is what a producer's own id costs beside a new one: the engine looks whether it has the event.
func BenchmarkEmitWithAnID(b *testing.B) {
	for name, id := range map[string]func(i, n int) string{
		"new":   func(int, int) string { return "" },
		"given": func(i, n int) string { return fmt.Sprintf("%x-%d-%d", (i*2654435761)^n*40503, i, n) },
	} {
		b.Run(name, func(b *testing.B) {
			names := named("instance-", 256)
			hub := benchHub(b, 16, names, each(func(*sink.Delivery) error { return nil }))
			b.ResetTimer()
			var wg sync.WaitGroup
			for i, instance := range names {
				wg.Go(func() {
					for n := i; n < b.N; n += len(names) {
						e := &event.Event{ID: id(i, n), Name: "messages.upsert", Instance: instance, Data: kilobyte}
						if err := hub.Emit(context.Background(), e); err != nil {
							b.Error(err)
						}
					}
				})
			}
			wg.Wait()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
		})
	}
}

// BenchmarkHealthyBesideDead is the time from Emit to delivery at 1,000 events/s over 50 instances: all healthy, then
// half of them dead, in turns.
func BenchmarkHealthyBesideDead(b *testing.B) {
	var mu sync.Mutex
	var waits []time.Duration
	s := each(func(d *sink.Delivery) error {
		if d.Event.Instance[:4] == "dead" {
			return errors.New("503")
		}
		mu.Lock()
		defer mu.Unlock()
		waits = append(waits, time.Since(d.Event.Time))
		return nil
	})
	good, mixed := named("good-", 50), append(named("good-", 25), named("dead-", 25)...)
	run := func(hub *core.Hub, names []string, d time.Duration) (p50, p99 float64) {
		mu.Lock()
		waits = nil
		mu.Unlock()
		var wg sync.WaitGroup
		for _, name := range names {
			wg.Go(func() {
				ticker := time.NewTicker(50 * time.Millisecond)
				defer ticker.Stop()
				for end := time.Now().Add(d); time.Now().Before(end); <-ticker.C {
					e := &event.Event{Name: "messages.upsert", Instance: name, Data: kilobyte, Time: time.Now()}
					if err := hub.Emit(context.Background(), e); err != nil {
						b.Error(err)
					}
				}
			})
		}
		wg.Wait()
		mu.Lock()
		defer mu.Unlock()
		slices.Sort(waits)
		at := func(share float64) float64 {
			return float64(waits[int(share*float64(len(waits)-1))].Microseconds()) / 1000
		}
		return at(0.5), at(0.99)
	}
	hub := benchHub(b, 16, slices.Concat(good, mixed[25:]), s)
	for range b.N {
		alone50, alone99 := run(hub, good, 5*time.Second)
		beside50, beside99 := run(hub, mixed, 5*time.Second)
		b.ReportMetric(alone50, "alone-p50-ms")
		b.ReportMetric(alone99, "alone-p99-ms")
		b.ReportMetric(beside50, "beside-p50-ms")
		b.ReportMetric(beside99, "beside-p99-ms")
	}
}
