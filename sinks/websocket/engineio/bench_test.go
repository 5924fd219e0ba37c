//go:build unix

package engineio_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/evosink/evosink/sinks/websocket/engineio"
	"github.com/gorilla/websocket"
)

const (
	fanout  = 1000
	idlers  = 10_000
	payload = 1024
)

// quiet is a handler without interest.
type quiet struct{}

func (quiet) Message(engineio.Message)      {}
func (quiet) Closed(engineio.Reason, error) {}

// A hall is a server under load and the sessions it holds.
type hall struct {
	address  string
	mu       sync.Mutex
	sessions []*engineio.Session
}

func openHall(b *testing.B, change func(*engineio.Config)) *hall {
	b.Helper()
	h := &hall{}
	config := engineio.DefaultConfig()
	config.Accept = func(s *engineio.Session, _ *http.Request) engineio.Handler {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.sessions = append(h.sessions, s)
		return quiet{}
	}
	if change != nil {
		change(&config)
	}
	server, err := engineio.New(config)
	if err != nil {
		b.Fatal(err)
	}
	h.address = serve(b, server)
	b.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		server.Close(ctx)
	})
	return h
}

func serve(b *testing.B, handler http.Handler) string {
	b.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	server := &http.Server{Handler: handler}
	go server.Serve(listener)
	b.Cleanup(func() { server.Close() })
	return listener.Addr().String()
}

// cpu returns the processor time of this process so far.
func cpu() time.Duration {
	var usage syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &usage)
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// BenchmarkBroadcast sends 1 KiB to 1,000 clients in another process, beside a
// bare gorilla loop over PreparedMessages. Compare the CPU of the two within
// one run only.
func BenchmarkBroadcast(b *testing.B) {
	text := []byte(strings.Repeat("x", payload))
	b.Run("engineio", func(b *testing.B) { benchEngine(b, text, 1, nil) })
	b.Run("engineio-goroutines", func(b *testing.B) {
		benchEngine(b, text, 1, func(c *engineio.Config) { c.GoroutineReaders = true })
	})
	b.Run("engineio-50-in-a-batch", func(b *testing.B) { benchEngine(b, text, 50, nil) })
	b.Run("gorilla", func(b *testing.B) { benchGorilla(b, text) })
}

func benchEngine(b *testing.B, text []byte, count int, change func(*engineio.Config)) {
	h := openHall(b, change)
	crowd(b, h.address, websocketPath, fanout)
	measure(b, count, func() {
		batch := engineio.NewBatch(slices.Repeat([]engineio.Message{{Data: text}}, count)...)
		for _, s := range h.sessions {
			if err := s.SendBatch(batch); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func benchGorilla(b *testing.B, text []byte) {
	var mu sync.Mutex
	var conns []*websocket.Conn
	address := serve(b, gorilla(func(conn *websocket.Conn) {
		mu.Lock()
		defer mu.Unlock()
		conns = append(conns, conn)
	}))
	crowd(b, address, "/", fanout)
	measure(b, 1, func() {
		message, err := websocket.NewPreparedMessage(websocket.TextMessage, text)
		if err != nil {
			b.Fatal(err)
		}
		for _, conn := range conns {
			if err := conn.WritePreparedMessage(message); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// gorilla is a bare server of websockets that reads and discards.
func gorilla(accept func(*websocket.Conn)) http.HandlerFunc {
	upgrader := websocket.Upgrader{}
	return func(w http.ResponseWriter, r *http.Request) {
		conn, err := upgrader.Upgrade(w, r, nil)
		if err != nil {
			return
		}
		accept(conn)
		for {
			if _, _, err := conn.NextReader(); err != nil {
				return
			}
		}
	}
}

// measure runs broadcast, which delivers count messages in all, b.N
// times, far enough apart that no client falls behind.
func measure(b *testing.B, count int, broadcast func()) {
	broadcast()
	ticker := time.NewTicker(time.Duration(min(count, 10)) * 20 * time.Millisecond)
	defer ticker.Stop()
	b.ReportAllocs()
	before := cpu()
	for b.Loop() {
		<-ticker.C
		broadcast()
	}
	b.ReportMetric(float64((cpu()-before).Nanoseconds())/float64(b.N*count)/fanout/1000, "cpu-us/delivery")
}

// BenchmarkIdle reports what it takes to admit and to keep an idle client, with
// 10,000 of them, who come sixteen at a time.
func BenchmarkIdle(b *testing.B) {
	b.Run("parked", func(b *testing.B) { benchIdle(b, openHall(b, nil).address, websocketPath) })
	b.Run("goroutines", func(b *testing.B) {
		h := openHall(b, func(c *engineio.Config) { c.GoroutineReaders = true })
		benchIdle(b, h.address, websocketPath)
	})
	b.Run("gorilla", func(b *testing.B) {
		benchIdle(b, serve(b, gorilla(func(*websocket.Conn) {})), "/")
	})
}

func benchIdle(b *testing.B, address, path string) {
	runtime.GC()
	used, busy, start := resident(b), cpu(), time.Now()
	crowd(b, address, path, idlers)
	took := time.Since(start)
	used, busy = resident(b)-used, cpu()-busy
	for b.Loop() { // one crowd, whatever b.N
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(idlers/took.Seconds(), "connects/s")
	b.ReportMetric(float64(busy.Microseconds())/idlers, "cpu-us/connect")
	b.ReportMetric(float64(used)/1024/idlers, "KiB/client")
}

// resident returns the memory of this process in bytes.
func resident(b *testing.B) int {
	b.Helper()
	status, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		b.Skip("resident memory is read from /proc: ", err)
	}
	var total, pages int
	if _, err := fmt.Sscan(string(status), &total, &pages); err != nil {
		b.Fatal(err)
	}
	return pages * os.Getpagesize()
}
