package instances_test

import (
	"context"
	"fmt"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/evosink/evosink/adapters/memory"
	"github.com/evosink/evosink/adapters/sqlite"
	"github.com/evosink/evosink/core/instances"
)

// BenchmarkCreate20000 creates 20,000 instances per iteration, by one caller or by many. It tells how the last 2,000
// compare with the first, and what an instance takes in memory.
func BenchmarkCreate20000(b *testing.B) {
	engines := map[string]func() instances.Store{
		"memory": func() instances.Store {
			e, err := memory.New(memory.DefaultConfig())
			if err != nil {
				b.Fatal(err)
			}
			return e
		},
		"sqlite": func() instances.Store {
			c := sqlite.DefaultConfig()
			c.Path = filepath.Join(b.TempDir(), "evosink.db")
			db, err := sqlite.Open(b.Context(), c, zerolog.Nop())
			if err != nil {
				b.Fatal(err)
			}
			b.Cleanup(func() { db.Close(context.Background()) })
			return db
		},
	}
	for name, open := range engines {
		for _, callers := range []int{1, 64} {
			b.Run(fmt.Sprint(name, "/", callers, " callers"), func(b *testing.B) {
				for b.Loop() {
					create20000(b, open(), callers)
				}
			})
		}
	}
}

func create20000(b *testing.B, store instances.Store, callers int) {
	const total, part = 20_000, 2_000
	r, err := instances.Open(b.Context(), store)
	if err != nil {
		b.Fatal(err)
	}
	var next atomic.Int64
	create := func(until int64) time.Duration {
		begin := time.Now()
		var running sync.WaitGroup
		for range callers {
			running.Go(func() {
				for i := next.Add(1); i <= until; i = next.Add(1) {
					name := fmt.Sprintf("instance %05d", i)
					if _, err := r.Create(b.Context(), instances.Instance{Name: name}, "token of "+name); err != nil {
						b.Error(err)
					}
				}
			})
		}
		running.Wait()
		next.Store(until)
		return time.Since(begin)
	}
	first := create(part)
	create(total - part)
	last := create(total)
	b.ReportMetric(float64(last)/float64(first), "last/first")

	var with, without runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&with)
	again, err := instances.Open(b.Context(), store)
	if err != nil || len(again.All()) != total {
		b.Fatal(err)
	}
	runtime.GC()
	runtime.ReadMemStats(&without)
	b.ReportMetric(float64(int64(without.HeapAlloc)-int64(with.HeapAlloc))/total, "B/instance")
	runtime.KeepAlive(again)
}

// BenchmarkRead reads while nothing, or one caller without end, writes.
func BenchmarkRead(b *testing.B) {
	for _, writing := range []bool{false, true} {
		b.Run(fmt.Sprint("writing ", writing), func(b *testing.B) {
			e, err := memory.New(memory.DefaultConfig())
			if err != nil {
				b.Fatal(err)
			}
			r, err := instances.Open(b.Context(), e)
			if err != nil {
				b.Fatal(err)
			}
			for i := range 1000 {
				if _, err := r.Create(b.Context(), instances.Instance{Name: fmt.Sprint(i)}, fmt.Sprint("token ", i)); err != nil {
					b.Fatal(err)
				}
			}
			stop := make(chan struct{})
			var running sync.WaitGroup
			if writing {
				running.Go(func() {
					for {
						select {
						case <-stop:
							return
						default:
							r.Set(b.Context(), "7", "webhook", []byte(`{}`))
						}
					}
				})
			}
			b.RunParallel(func(p *testing.PB) {
				for p.Next() {
					if _, ok := r.Get("7"); !ok {
						b.Error("it is gone")
					}
				}
			})
			close(stop)
			running.Wait()
		})
	}
}
