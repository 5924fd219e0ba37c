package postgres_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/evosink/evosink/adapters/postgres"
	"github.com/evosink/evosink/core/bus"
	"github.com/evosink/evosink/core/event"
	"github.com/evosink/evosink/core/queue"
	"github.com/evosink/evosink/core/sink"
)

func sized(instance string, n, bytes int) *event.Event {
	e := newEvent(instance, n)
	e.Data = []byte(`"` + strings.Repeat("x", bytes) + `"`)
	return e
}

// BenchmarkAppend appends events of 1 KiB by so many callers, on so many nodes.
func BenchmarkAppend(b *testing.B) {
	for _, nodes := range []int{1, 3} {
		for _, callers := range []int{1, 16, 64} {
			b.Run(fmt.Sprintf("%d nodes/%d callers", nodes, callers), func(b *testing.B) {
				c := newConfig(b)
				var all []*postgres.DB
				for range nodes {
					all = append(all, open(b, c))
				}
				var running sync.WaitGroup
				b.ResetTimer()
				for caller := range callers {
					running.Go(func() {
						for n := caller; n < b.N; n += callers {
							if _, err := appendEvent(context.Background(), all[n%nodes], sized(fmt.Sprint("i", n%100), n, 1000)); err != nil {
								b.Error(err)
								return
							}
						}
					})
				}
				running.Wait()
				b.StopTimer()
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
			})
		}
	}
}

// BenchmarkOtherNode measures from Append on one node to a broadcast on another, at about 1,000 events a second.
func BenchmarkOtherNode(b *testing.B) {
	c := newConfig(b)
	one, two := open(b, c), open(b, c)
	awake(b, one)
	awake(b, two)
	seen := broadcast(b, two)
	latencies := make([]time.Duration, 0, b.N)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for len(latencies) < b.N {
			batch := <-seen
			for _, m := range batch.Messages {
				e, err := bus.Event(m)
				if err != nil {
					b.Error(err)
				}
				latencies = append(latencies, time.Since(e.Time))
			}
			batch.Ack()
		}
	}()
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	b.ResetTimer()
	for n := 0; n < b.N; {
		<-ticker.C
		for range min(10, b.N-n) {
			n++
			go func() {
				if _, err := appendEvent(context.Background(), one, sized(fmt.Sprint("i", n%100), n, 1000)); err != nil {
					b.Error(err)
				}
			}()
		}
	}
	<-done
	slices.Sort(latencies)
	b.ReportMetric(float64(latencies[len(latencies)/2].Microseconds())/1000, "p50-ms")
	b.ReportMetric(float64(latencies[len(latencies)*99/100].Microseconds())/1000, "p99-ms")
}

// BenchmarkQueue puts 256 entries of 1 KiB at once, with their marks, and removes them.
func BenchmarkQueue(b *testing.B) {
	c := newConfig(b)
	s := open(b, c).Queue()
	const entries, instances = 256, 16
	var leases []bus.Lease
	for shard := range s.Shards() {
		leases = append(leases, bus.Lease{Group: "dispatch", Shard: shard, Node: "alone", Epoch: 1})
	}
	position := bus.Position(0)
	for b.Loop() {
		var puts []queue.Entry
		for i := range entries {
			position++
			name := fmt.Sprint("i", i%instances)
			puts = append(puts, queue.Entry{
				Event: sized(name, i, 1000), At: time.Now(), Position: position,
				To: []queue.Destination{{Lane: queue.LaneKey{Sink: "webhook", Target: "t:one", Instance: name}, Scope: sink.Instance}},
			})
		}
		var marks []queue.Mark
		for shard := range s.Shards() {
			marks = append(marks, queue.Mark{Cursor: bus.Cursor{Group: "dispatch", Shard: shard, Position: position}})
		}
		places, err := s.Put(context.Background(), leases, marks, puts...)
		if err != nil {
			b.Fatal(err)
		}
		var results []queue.Result
		for i, p := range places {
			results = append(results, queue.Result{Lane: puts[i].To[0].Lane, Seq: p.Seq, Kind: queue.Delivered})
		}
		if err := s.Record(context.Background(), leases, results); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)*entries/b.Elapsed().Seconds(), "events/s")
}
