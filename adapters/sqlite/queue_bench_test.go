package sqlite_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/evosink/evosink/adapters/sqlite"
	"github.com/evosink/evosink/core/bus"
	"github.com/evosink/evosink/core/event"
	"github.com/evosink/evosink/core/queue"
	"github.com/evosink/evosink/core/queue/queuetest"
	"github.com/evosink/evosink/core/sink"
)

// swallow is a sink that takes everything.
type swallow struct{ n atomic.Int64 }

func (*swallow) Start(context.Context) error { return nil }
func (*swallow) Close(context.Context) error { return nil }
func (s *swallow) Deliver(context.Context, *sink.Delivery) error {
	s.n.Add(1)
	return nil
}

func startQueue(t testing.TB, db *sqlite.DB, s sink.Sink) *queue.Queue {
	t.Helper()
	q, err := queue.New(queue.Options{
		Store: db.Queue(), Config: queue.DefaultConfig(), Sinks: []queue.Sink{{Name: "hook", Sink: s}}, Logger: nop,
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(q.Start(t.Context()), q.Acquire(t.Context(), queuetest.Alone(db.Queue())...)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := q.Close(context.Background()); err != nil {
			t.Errorf("close the queue: %v", err)
		}
	})
	return q
}

func ownLane(instance string) queue.Destination {
	return queue.Destination{Lane: queue.LaneKey{Sink: "hook", Target: "instance", Instance: instance}, Scope: sink.Instance}
}

// BenchmarkQueue is committed, delivered and removed: 1 KiB events of 256 instances, each put after the one before it.
func BenchmarkQueue(b *testing.B) {
	for _, lanes := range []int{1, 64, 512} {
		b.Run(fmt.Sprint(lanes, "lanes"), func(b *testing.B) {
			db := benchDB(b)
			s := &swallow{}
			q := startQueue(b, db, s)
			crowd(b, lanes, b.N, func(caller, i int) error {
				instance := fmt.Sprint("instance-", caller)
				e := &event.Event{ID: event.NewID(), Name: "messages.upsert", Instance: instance, Time: time.Now(), Data: data}
				return q.Put(b.Context(), e, []queue.Destination{ownLane(instance)})
			})
			empty(b, db, s, b.N)
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
		})
	}
}

// empty waits until everything was delivered and removed.
func empty(b *testing.B, db *sqlite.DB, s *swallow, n int) {
	b.Helper()
	for s.n.Load() < int64(n) {
		runtime.Gosched()
		time.Sleep(100 * time.Microsecond)
	}
	for {
		lanes, err := db.Queue().Lanes(b.Context())
		if err != nil {
			b.Fatal(err)
		}
		if len(lanes) == 0 {
			return
		}
	}
}

// BenchmarkQueuePut puts 256 entries of 1 KiB, of 64 instances, in one call, with marks of all their shards: with
// positions they are what the log has too, without they are absorbed when they come again.
func BenchmarkQueuePut(b *testing.B) {
	for _, positions := range []bool{true, false} {
		b.Run(fmt.Sprint("positions=", positions), func(b *testing.B) {
			store := benchDB(b).Queue()
			b.ReportAllocs()
			for n := range b.N {
				var entries []queue.Entry
				for i := range 256 {
					at := bus.Position(256*n + i + 1)
					if !positions {
						at = 0
					}
					instance := fmt.Sprint("instance-", i%64)
					e := &event.Event{ID: event.NewID(), Name: "messages.upsert", Instance: instance, Time: time.Now(), Data: data}
					to := []queue.Destination{ownLane(instance)}
					entries = append(entries, queue.Entry{Event: e, At: e.Time, To: to, Position: at})
				}
				marks := marksOf(store, bus.Position(256*n+256), 100)
				if _, err := store.Put(b.Context(), leasesOf(marks), marks, entries...); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(256*float64(b.N)/b.Elapsed().Seconds(), "events/s")
		})
	}
}

// BenchmarkCheckpoint writes marks of all 16 shards, each with what is done behind it in so many bytes.
func BenchmarkCheckpoint(b *testing.B) {
	for _, bytes := range []int{0, 100, 4000} {
		b.Run(fmt.Sprint("done=", bytes), func(b *testing.B) {
			db := benchDB(b)
			b.ReportAllocs()
			for n := range b.N {
				marks := marksOf(db.Queue(), bus.Position(n+1), bytes)
				if err := db.Queue().Checkpoint(b.Context(), leasesOf(marks), marks...); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// marksOf returns marks of all shards.
func marksOf(s queue.Store, at bus.Position, done int) (marks []queue.Mark) {
	for shard := range s.Shards() {
		c := bus.Cursor{Group: "dispatch", Shard: shard, Position: at}
		marks = append(marks, queue.Mark{Cursor: c, Done: make([]byte, done)})
	}
	return marks
}

func leasesOf(marks []queue.Mark) (leases []bus.Lease) {
	for _, m := range marks {
		leases = append(leases, bus.Lease{Group: "dispatch", Shard: m.Cursor.Shard, Node: "alone", Epoch: 1})
	}
	return leases
}

// BenchmarkQueueOpen opens a file in which a million events wait, in a thousand lanes.
func BenchmarkQueueOpen(b *testing.B) {
	const lanes, events = 1000, 1_000_000
	c := sqlite.DefaultConfig()
	c.Path = filepath.Join(b.TempDir(), "evosink.db")
	backlog(b, c, lanes, events)
	b.ResetTimer()
	for range b.N {
		before := heap()
		db, err := sqlite.Open(b.Context(), c, nop)
		if err != nil {
			b.Fatal(err)
		}
		q, err := queue.New(queue.Options{
			Store: db.Queue(), Config: queue.DefaultConfig(), Sinks: []queue.Sink{{Name: "hook", Sink: dead{}}}, Logger: nop,
		})
		if err != nil {
			b.Fatal(err)
		}
		if err := errors.Join(q.Start(b.Context()), q.Acquire(b.Context(), queuetest.Alone(db.Queue())...)); err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		if n := q.Stats()[0].Waiting; n != events {
			b.Fatalf("%d events wait", n)
		}
		b.ReportMetric(float64(heap()-before)/(1<<20), "MiB")
		q.Close(context.Background())
		db.Close(context.Background())
		b.StartTimer()
	}
}

// dead is a sink whose target is down.
type dead struct{}

func (dead) Start(context.Context) error { return nil }
func (dead) Close(context.Context) error { return nil }
func (dead) Deliver(context.Context, *sink.Delivery) error {
	return sink.Unavailable(errors.New("down"))
}

// backlog fills a file with events that wait, in calls of one event of each lane.
func backlog(b *testing.B, c sqlite.Config, lanes, events int) {
	b.Helper()
	db, err := sqlite.Open(b.Context(), c, nop)
	if err != nil {
		b.Fatal(err)
	}
	defer db.Close(context.Background())
	leases := leasesOf(marksOf(db.Queue(), 0, 0))
	for n := 0; n < events; n += lanes {
		var entries []queue.Entry
		for i := range lanes {
			instance := fmt.Sprint("instance-", i)
			e := &event.Event{ID: event.NewID(), Name: "messages.upsert", Instance: instance, Time: time.Now(), Data: data}
			to := []queue.Destination{ownLane(instance)}
			entries = append(entries, queue.Entry{Event: e, At: e.Time, To: to, Position: bus.Position(n + i + 1)})
		}
		if _, err := db.Queue().Put(b.Context(), leases, nil, entries...); err != nil {
			b.Fatal(err)
		}
	}
}

// heap returns the bytes in use after a collection.
func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapInuse)
}
