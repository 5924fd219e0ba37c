package e2e_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	gorilla "github.com/gorilla/websocket"
	"github.com/rs/zerolog"

	"github.com/evosink/evosink/adapters/sqlite"
	"github.com/evosink/evosink/core"
	"github.com/evosink/evosink/core/event"
	"github.com/evosink/evosink/core/instances"
	"github.com/evosink/evosink/core/sink"
	"github.com/evosink/evosink/sinks/websocket"
)

// house runs a hub on a fresh SQLite file, fsync on, with the websocket sink in global mode, until the benchmark ends.
func house(b *testing.B) (*core.Hub, *httptest.Server) {
	b.Helper()
	c := sqlite.DefaultConfig()
	c.Path = b.TempDir() + "/evosink.db"
	db, err := sqlite.Open(b.Context(), c, zerolog.Nop())
	if err != nil {
		b.Fatal(err)
	}
	registry, err := instances.Open(b.Context(), db, instances.Sum(key))
	if err != nil {
		b.Fatal(err)
	}
	hub, err := core.New(core.Options{
		Bus: db, Instances: registry, Log: db, Logger: zerolog.Nop(),
		Sinks: []*sink.Factory{sink.Use(websocket.Spec, func(c *websocket.Config) { c.Enabled, c.GlobalEvents, c.Recovery = true, true, 0 })},
	})
	if err != nil {
		b.Fatal(err)
	}
	server := httptest.NewServer(hub.Mounts()[0])
	go hub.Run(context.Background())
	<-hub.Started()
	b.Cleanup(func() {
		hub.Close(context.Background())
		server.Close()
		db.Close(context.Background())
	})
	return hub, server
}

func message(i int) *event.Event {
	return &event.Event{
		Name: "messages.upsert", Instance: fmt.Sprint("instance-", i%100),
		Data: json.RawMessage(fmt.Sprintf(`{"at":%d,"text":"%s"}`, time.Now().UnixNano(), strings.Repeat("x", 960))),
	}
}

// BenchmarkEmit is what one durable Emit of 1 KiB takes, fsync on, with 1 and 64 callers.
func BenchmarkEmit(b *testing.B) {
	for _, callers := range []int{1, 64} {
		b.Run(fmt.Sprintf("%d-callers", callers), func(b *testing.B) {
			hub, _ := house(b)
			b.ReportAllocs()
			b.ResetTimer()
			var wg sync.WaitGroup
			for c := range callers {
				wg.Go(func() {
					for i := c; i < b.N; i += callers {
						if err := hub.Emit(b.Context(), message(i)); err != nil {
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

// join opens a client on the root namespace.
func join(b *testing.B, server *httptest.Server) *gorilla.Conn {
	b.Helper()
	conn, _, err := gorilla.DefaultDialer.Dial("ws"+strings.TrimPrefix(server.URL, "http")+"/socket.io/?EIO=4&transport=websocket&apikey="+key, nil)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { conn.Close() })
	conn.WriteMessage(gorilla.TextMessage, []byte("40"))
	for range 2 {
		if _, _, err := conn.ReadMessage(); err != nil {
			b.Fatal(err)
		}
	}
	return conn
}

// BenchmarkEmitToClient is the time from Emit to a client over loopback, at 1,000 events per second of 100 instances, fsync on.
func BenchmarkEmitToClient(b *testing.B) {
	hub, server := house(b)
	conn := join(b, server)
	n := max(b.N, 3000)
	latencies := make(chan []time.Duration, 1)
	go func() {
		var took []time.Duration
		for len(took) < n {
			_, frame, err := conn.ReadMessage()
			if err != nil {
				b.Error(err)
				break
			}
			_, rest, found := strings.Cut(string(frame), `"at":`)
			if !found {
				continue
			}
			at, _, _ := strings.Cut(rest, ",")
			var sent int64
			fmt.Sscan(at, &sent)
			took = append(took, time.Duration(time.Now().UnixNano()-sent))
		}
		latencies <- took
	}()
	b.ResetTimer()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	var wg sync.WaitGroup
	for i := 0; i < n; i += 10 {
		<-tick.C
		for j := range 10 {
			wg.Go(func() {
				if err := hub.Emit(b.Context(), message(i+j)); err != nil {
					b.Error(err)
				}
			})
		}
	}
	wg.Wait()
	took := <-latencies
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "p50-ms")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, "p99-ms")
}
