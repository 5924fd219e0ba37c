// Package sinkbench measures a queued sink the whole way: emitted, committed by the SQLite engine, dispatched, put into the durable queue, delivered,
// confirmed by the sink's server and removed. In the same run the client library's bare loop publishes as many events to the same server.
//
// Both share one process, so what a server inside it (an emulator for tests) takes counts for both.
package sinkbench

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/evosink/evosink/adapters/sqlite"
	"github.com/evosink/evosink/core"
	"github.com/evosink/evosink/core/event"
	"github.com/evosink/evosink/core/instances"
	"github.com/evosink/evosink/core/queue"
	"github.com/evosink/evosink/core/sink"
)

// Name is the name of the events that are emitted; a sink's global rule has to include it.
const Name = "call"

// Data is the data of an event whose envelope has about 1 KiB.
var Data = json.RawMessage(`"` + strings.Repeat("x", 768) + `"`)

// Bare has the client library publish n events of that size, so many at once, and returns when the server has confirmed them all.
type Bare func(n, atOnce int) error

// Run emits b.N events of 64 instances, 4 callers each, to a sink that takes all of them to its global target, and reports what that took: events/s,
// and the processor time of this process in us/event. Beside it the same of the bare loop, with as many at once as the protocol has in a batch,
// and the events/s as a share of the bare loop's, and of one that waits for each event (with a tenth of the events).
func Run(b *testing.B, f *sink.Factory, batch int, bare Bare) {
	hub := open(b, f)
	deliver(b, hub, callers) // connects and declares
	if err := bare(callers, batch); err != nil {
		b.Fatal(err)
	}
	b.ResetTimer()
	few := max(1, b.N/10)
	single := measure(b, few, func(n int) error { return bare(n, 1) })
	floor := measure(b, b.N, func(n int) error { return bare(n, batch) })
	whole := measure(b, b.N, func(n int) error { deliver(b, hub, n); return nil })
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(whole.perSecond(), "events/s")
	b.ReportMetric(whole.perEvent(), "cpu-us/event")
	b.ReportMetric(floor.perSecond(), "bare-events/s")
	b.ReportMetric(floor.perEvent(), "bare-cpu-us/event")
	b.ReportMetric(whole.perSecond()/floor.perSecond(), "of-bare")
	b.ReportMetric(whole.perSecond()/single.perSecond(), "of-single")
}

// cost is what a number of events took.
type cost struct {
	events    int
	wall, cpu time.Duration
}

func (c cost) perSecond() float64 { return float64(c.events) / c.wall.Seconds() }
func (c cost) perEvent() float64  { return float64(c.cpu.Microseconds()) / float64(c.events) }

func measure(b *testing.B, events int, run func(n int) error) cost {
	b.Helper()
	begin, before := time.Now(), ProcessorTime()
	if err := run(events); err != nil {
		b.Fatal(err)
	}
	return cost{events, time.Since(begin), ProcessorTime() - before}
}

// open runs a hub on a file, with that sink only, until the benchmark is over.
func open(b *testing.B, f *sink.Factory) *core.Hub {
	b.Helper()
	c := sqlite.DefaultConfig()
	c.Path = filepath.Join(b.TempDir(), "evosink.db")
	db, err := sqlite.Open(b.Context(), c, zerolog.Nop())
	if err != nil {
		b.Fatal(err)
	}
	registry, err := instances.Open(b.Context(), db, "")
	if err != nil {
		b.Fatal(err)
	}
	hub, err := core.New(core.Options{
		Bus: db, Instances: registry, Queue: db.Queue(), Sinks: []*sink.Factory{f}, Name: "bench", Logger: zerolog.Nop(),
	})
	if err != nil {
		b.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- hub.Run(context.Background()) }()
	b.Cleanup(func() {
		if err := hub.Close(context.Background()); err != nil {
			b.Error(err)
		}
		if err := <-ended; err != nil {
			b.Error(err)
		}
		if err := db.Close(context.Background()); err != nil {
			b.Error(err)
		}
	})
	<-hub.Started()
	return hub
}

const (
	lanes   = 64
	callers = 4 * lanes
)

// deliver emits n events and waits until all have been delivered and removed.
func deliver(b *testing.B, hub *core.Hub, n int) {
	b.Helper()
	until := stats(hub).Delivered + int64(n)
	var wg sync.WaitGroup
	for caller := range callers {
		instance := fmt.Sprint("bench-", caller%lanes)
		wg.Go(func() {
			for i := caller; i < n; i += callers {
				e := &event.Event{Name: Name, Instance: instance, Data: Data}
				if err := hub.Emit(context.Background(), e); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	for s := stats(hub); !b.Failed() && (s.Delivered < until || s.Waiting > 0); s = stats(hub) {
		if s.DeadLettered > 0 || s.Failed > 100 {
			b.Fatalf("%d attempts failed, %d events are dead letters; the last error: %s", s.Failed, s.DeadLettered, s.LastError)
		}
		time.Sleep(time.Millisecond)
	}
}

func stats(hub *core.Hub) queue.Stats { return hub.Queue().Stats()[0] }
