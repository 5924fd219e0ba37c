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

	"github.com/gorilla/websocket"

	"github.com/evosink/evosink/sinks/websocket/socketio"
)

// TestClientsThatComeGoAndMisbehaveCostNobodyElse has clients join, emit,
// leave, stall, send garbage and vanish while two others follow a stream, which
// must be complete; and nothing may be left at the end. EVOSINK_SOAK makes it
// as long as it says ("30m"), with some 2,000 clients at once; then memory must not
// grow either.
func TestClientsThatComeGoAndMisbehaveCostNobodyElse(t *testing.T) {
	load := soak{duration: 2 * time.Second, clients: 8, stall: 20 * time.Millisecond, noise: 1}
	if d, err := time.ParseDuration(os.Getenv("EVOSINK_SOAK")); err == nil {
		load = soak{duration: d, clients: 6000, stall: 6 * time.Second, noise: 50, beat: 2 * time.Millisecond}
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
	plain := srv.Handle("/stream", socketio.Hooks{
		Disconnect: func(_ *socketio.Socket, reason socketio.Reason) { t.Log("a follower has left:", reason) },
	})

	followers := []*peer{dial(t, url), poll(t, url)}
	for _, p := range followers {
		p.join("/stream")
	}
	before := runtime.NumGoroutine()
	stop := stream(func(i int) {
		plain.Emit(ctx, "n", num(i))
		if i%load.noise == 0 {
			n.Emit(ctx, "n", num(i), socketio.String(strings.Repeat("x", 500)))
		}
		time.Sleep(load.beat)
	})
	var wg sync.WaitGroup
	deadline := time.Now().Add(load.duration)
	for i := range load.clients {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(uint64(i), 1))
			time.Sleep(rand.N(4 * load.stall)) // not all at once
			for time.Now().Before(deadline) {
				load.misbehave(t, url, r)
			}
		})
	}
	wg.Go(func() { load.watchMemory(t, srv) })
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
	if !open {
		t.Fatal("a follower has been cut off")
	}
	event, _ := offset(t, packet)
	if want := `2/stream,["n",` + string(num(*next).JSON) + `]`; event != want {
		t.Fatalf("got %q, want %s", packet, want)
	}
	*next++
}

// soak is how much there is to bear.
type soak struct {
	duration time.Duration
	clients  int           // that come again and again; most of the time they are cut off
	stall    time.Duration // of a client, at most
	noise    int           // one in so many events goes to all of them
	beat     time.Duration // of the stream
}

// watchMemory fails if the heap is larger in the last quarter than it was after
// the first. It holds the clients too.
func (l soak) watchMemory(t *testing.T, srv *socketio.Server) {
	if l.duration < time.Minute {
		return
	}
	var heap [4]uint64 // the most seen in each quarter
	var sessions int
	for i := range 40 {
		time.Sleep(l.duration / 41)
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		heap[i/10] = max(heap[i/10], m.HeapInuse+m.StackInuse)
		sessions = max(sessions, srv.Stats().Sessions)
	}
	t.Logf("at most %d sessions; most memory in each quarter: %v", sessions, heap)
	if heap[3] > heap[1]*5/4 {
		t.Errorf("memory grows: %v", heap)
	}
}

// misbehave is the life of one client.
func (l soak) misbehave(t *testing.T, url string, r *rand.Rand) {
	p := anyClient(t, url, r)
	defer p.close()
	defer func() { time.Sleep(rand.N(l.stall)) }() // some have been cut off by then
	p.send("40")
	garbage := []string{"4abc", "40", "x", "2", "451-[1]", "42{}", "1", `42["drop"]`, "41"}
	for range r.IntN(6) {
		switch r.IntN(7) {
		case 0:
			p.send("40/d" + string(rune('a'+r.IntN(5))))
		case 1:
			if r.IntN(l.noise) == 0 {
				p.send(`42["all","` + strings.Repeat("y", r.IntN(2000)) + `"]`)
			}
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
			time.Sleep(rand.N(l.stall)) // nor does it ever read
		}
	}
}

func anyClient(t *testing.T, url string, r *rand.Rand) wire {
	switch r.IntN(5) {
	case 0:
		return pollWire(t, url)
	case 1:
		return dialWire(t, url, "EIO=3")
	case 2:
		return halfUpgraded(t, url)
	}
	return dialWire(t, url, "EIO=4")
}

// halfUpgraded is a client that upgrades and lets its poll go without a word.
func halfUpgraded(t *testing.T, url string) wire {
	w := pollWire(t, url)
	conn, resp, err := websocket.DefaultDialer.Dial("ws"+strings.TrimPrefix(url, "http")+"?EIO=4&transport=websocket&sid="+w.sid, nil)
	if err != nil {
		return w
	}
	resp.Body.Close()
	w.close()
	conn.WriteMessage(websocket.TextMessage, []byte("2probe"))
	conn.SetReadDeadline(time.Now().Add(time.Second))
	conn.ReadMessage()
	conn.WriteMessage(websocket.TextMessage, []byte("5"))
	return &wsWire{conn}
}
