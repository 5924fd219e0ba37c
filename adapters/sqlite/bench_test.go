package sqlite_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/evosink/evosink/adapters/sqlite"
	"github.com/evosink/evosink/core/bus"
	"github.com/evosink/evosink/core/event"
)

// data is 1 KiB of JSON.
var data = append(append([]byte(`{"text":"`), bytes.Repeat([]byte("x"), 1013)...), `"}`...)

func benchDB(b *testing.B) *sqlite.DB {
	b.Helper()
	c := sqlite.DefaultConfig()
	c.Path = filepath.Join(b.TempDir(), "evosink.db")
	db, err := sqlite.Open(b.Context(), c, nop)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { db.Close(context.Background()) })
	return db
}

func emit(b bus.Bus, instance string) error {
	e := &event.Event{ID: event.NewID(), Name: "messages.upsert", Instance: instance, Time: time.Now(), Data: data}
	return b.Publisher().Publish(bus.Topic(bus.Shard(instance, b.Shards())), bus.Message(e))
}

// BenchmarkPublish publishes events of 1 KiB from so many callers, each waiting for its own commit.
func BenchmarkPublish(b *testing.B) {
	for _, callers := range []int{1, 16, 64, 256} {
		b.Run(fmt.Sprintf("callers=%d", callers), func(b *testing.B) {
			db := benchDB(b)
			b.SetBytes(1 << 10)
			crowd(b, callers, b.N, func(caller, i int) error { return emit(db, fmt.Sprintf("instance-%d", caller)) })
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
			s := db.Stats()
			b.ReportMetric(float64(s.Writes)/float64(s.Commits), "writes/commit")
		})
	}
}

// crowd spreads n calls over callers.
func crowd(b *testing.B, callers, n int, call func(caller, i int) error) {
	b.Helper()
	var running sync.WaitGroup
	b.ResetTimer()
	for caller := range callers {
		running.Go(func() {
			for i := caller; i < n; i += callers {
				if err := call(caller, i); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	running.Wait()
	b.StopTimer()
}

// BenchmarkBroadcastLatency publishes 1,000 events a second of 100 instances and measures the time from the call of
// Publish to the broadcast subscriber, fsync included.
func BenchmarkBroadcastLatency(b *testing.B) {
	db := benchDB(b)
	c, err := db.Broadcast().Subscribe(b.Context(), bus.All)
	if err != nil {
		b.Fatal(err)
	}
	var took []time.Duration
	received := make(chan struct{})
	go func() {
		defer close(received)
		for range b.N {
			m := <-c
			e, _ := bus.Event(m)
			took = append(took, time.Since(e.Time))
			m.Ack()
		}
	}()
	ticker := time.NewTicker(time.Millisecond)
	defer ticker.Stop()
	var running sync.WaitGroup
	b.ResetTimer()
	for i := range b.N {
		<-ticker.C
		running.Go(func() {
			if err := emit(db, fmt.Sprintf("instance-%d", i%100)); err != nil {
				b.Error(err)
			}
		})
	}
	running.Wait()
	<-received
	b.StopTimer()
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-us")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-us")
}

// BenchmarkGroup consumes a log of b.N events with a group, one handler per shard that does nothing.
func BenchmarkGroup(b *testing.B) {
	db := benchDB(b)
	for i := 0; i < b.N; i += 500 {
		for shard := range min(db.Shards(), b.N) {
			var batch []*message.Message
			for n := range min(500, b.N-i)/db.Shards() + 1 {
				batch = append(batch, bus.Message(&event.Event{
					ID: fmt.Sprint(i, shard, n), Name: "messages.upsert", Instance: "a", Time: time.Now(), Data: data,
				}))
			}
			if err := db.Publisher().Publish(bus.Topic(shard), batch...); err != nil {
				b.Fatal(err)
			}
		}
	}
	total := int(db.Stats().Published)
	var running sync.WaitGroup
	seen := make(chan struct{}, 1024)
	ctx, cancel := context.WithCancel(b.Context())
	b.ResetTimer()
	for shard := range db.Shards() {
		c, err := db.Group("g").Subscribe(ctx, bus.Topic(shard))
		if err != nil {
			b.Fatal(err)
		}
		running.Go(func() {
			for m := range c {
				m.Ack()
				seen <- struct{}{}
			}
		})
	}
	for range total {
		<-seen
	}
	b.StopTimer()
	cancel()
	running.Wait()
	b.ReportMetric(float64(total)/b.Elapsed().Seconds(), "events/s")
}

// BenchmarkPublishBesideReplays publishes from one caller while 50 clients replay all of a log of 20,000 events again
// and again, each encoding what it is given.
func BenchmarkPublishBesideReplays(b *testing.B) {
	db := benchDB(b)
	for from := 0; from < 20_000; from += 500 {
		var batch []*message.Message
		for n := from; n < from+500; n++ {
			batch = append(batch, bus.Message(numbered("a", n)))
		}
		if err := db.Publisher().Publish(bus.Topic(bus.Shard("a", db.Shards())), batch...); err != nil {
			b.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(b.Context())
	var replaying sync.WaitGroup
	for range 50 {
		replaying.Go(func() {
			for ctx.Err() == nil {
				_ = replay(ctx, db, "a#0", "a", func(e *event.Event) error { _, err := json.Marshal(e.Data); return err })
			}
		})
	}
	var took []time.Duration
	b.ResetTimer()
	for range b.N {
		begin := time.Now()
		if err := emit(db, "other"); err != nil {
			b.Error(err)
			break
		}
		took = append(took, time.Since(begin))
	}
	b.StopTimer()
	cancel()
	replaying.Wait()
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-us")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-us")
}
