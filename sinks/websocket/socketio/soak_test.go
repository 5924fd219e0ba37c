package socketio_test

import (
	"context"
	"math/rand/v2"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/evosink/evosink/sinks/websocket/socketio"
)

// TestClientsThatComeGoAndMisbehaveCostNobodyElse has clients join, emit,
// leave, stall, send garbage and vanish while two others follow a stream, which
// must be complete; and nothing may be left at the end. EVOSINK_SOAK makes it
// as long as it says ("30m").
func TestClientsThatComeGoAndMisbehaveCostNobodyElse(t *testing.T) {
	duration := 2 * time.Second
	if d, err := time.ParseDuration(os.Getenv("EVOSINK_SOAK")); err == nil {
		duration = d
	}
	srv, url := serve(t, func(c *socketio.Config) {
		c.Recovery.Window = time.Minute
		c.Recovery.MaxSessions = 100
		c.Engine.AllowEIO3 = true
		c.Engine.MaxQueueBytes = 256 << 10
	})
	var joined, left atomic.Int64
	hooks := socketio.Hooks{
		Authorize: func(_ context.Context, r *socketio.ConnectRequest) error {
			r.Rooms = []string{"everybody"}
			return nil
		},
		Connect:    func(context.Context, *socketio.Socket) { joined.Add(1) },
		Disconnect: func(*socketio.Socket, socketio.Reason) { left.Add(1) },
		Event: echo(socketio.Mux{
			"all": func(ctx context.Context, s *socketio.Socket, e *socketio.Event) error {
				return s.To("everybody").Emit(ctx, "noise", e.Args...)
			},
			"bye":  func(_ context.Context, s *socketio.Socket, _ *socketio.Event) error { s.Disconnect(); return nil },
			"drop": func(_ context.Context, s *socketio.Socket, _ *socketio.Event) error { s.Client().Drop(); return nil },
		}),
	}
	n := srv.Handle("/", hooks)
	srv.HandleFunc(func(name string) bool { return strings.HasPrefix(name, "/d") }, hooks)
	plain := srv.Handle("/stream", socketio.Hooks{})

	followers := []*peer{dial(t, url), poll(t, url)}
	for _, p := range followers {
		p.join("/stream")
	}
	before := runtime.NumGoroutine()
	stop := stream(func(i int) {
		plain.Emit(ctx, "n", num(i))
		n.Emit(ctx, "n", num(i), socketio.String(strings.Repeat("x", 500)))
	})
	var wg sync.WaitGroup
	deadline := time.Now().Add(duration)
	for i := range 8 {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(uint64(i), 1))
			for time.Now().Before(deadline) {
				misbehave(t, url, r)
			}
		})
	}
	last := -1
	done := make(chan int)
	go func() { wg.Wait(); done <- stop() }()
	read := make([]int, len(followers)) // next number of each
	for last < 0 || min(read[0], read[1]) <= last {
		select {
		case last = <-done:
			plain.Emit(ctx, "n", num(last))
		case packet, open := <-followers[0].in:
			check(t, packet, open, &read[0])
		case packet, open := <-followers[1].in:
			check(t, packet, open, &read[1])
		case <-time.After(patience):
			t.Fatal("the stream has stopped")
		}
	}
	eventually(t, "nobody but the followers", func() bool { return srv.Stats().Sessions == 2 && joined.Load() == left.Load() })
	eventually(t, "one namespace less", func() bool { return n.Len() == 0 })
	eventually(t, "no goroutine more than before", func() bool { return runtime.NumGoroutine() <= before+4 })
	t.Logf("%d joined, %d numbers, disconnects %v", joined.Load(), last, srv.Stats().Disconnects)
}

func check(t *testing.T, packet string, open bool, next *int) {
	t.Helper()
	event, _ := offset(t, packet)
	if want := `2/stream,["n",` + string(num(*next).JSON) + `]`; !open || event != want {
		t.Fatalf("got %q, want %s", packet, want)
	}
	*next++
}

// misbehave is the life of one client.
func misbehave(t *testing.T, url string, r *rand.Rand) {
	p := anyClient(t, url, r)
	defer p.close()
	p.send("40")
	garbage := []string{"4abc", "40", "x", "2", "451-[1]", "42{}", "1", `42["drop"]`, "41"}
	for range r.IntN(6) {
		switch r.IntN(7) {
		case 0:
			p.send("40/d" + string(rune('a'+r.IntN(5))))
		case 1:
			p.send(`42["all","` + strings.Repeat("y", r.IntN(2000)) + `"]`)
		case 2:
			p.send(`451-["all",{"_placeholder":true,"num":0}]`)
			p.sendBinary(make([]byte, r.IntN(500)))
		case 3:
			p.send(`421["echo",1]`)
		case 4:
			p.send(`42["bye"]`)
		case 5:
			p.send(garbage[r.IntN(len(garbage))])
		case 6:
			time.Sleep(time.Duration(r.IntN(20)) * time.Millisecond) // nor does it ever read
		}
	}
}

func anyClient(t *testing.T, url string, r *rand.Rand) wire {
	switch r.IntN(4) {
	case 0:
		return pollWire(t, url)
	case 1:
		return dialWire(t, url, "EIO=3")
	}
	return dialWire(t, url, "EIO=4")
}
