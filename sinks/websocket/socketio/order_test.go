package socketio_test

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/evosink/evosink/sinks/websocket/socketio"
)

func TestWhatOneGoroutineEmitsArrivesInItsOrder(t *testing.T) {
	srv, url := serve(t, nil)
	n := srv.Handle("/", socketio.Hooks{Event: echo(nil)})
	peers, sockets := members(t, url, n)
	const rounds = 500
	i := 0
	for range rounds {
		for _, emit := range []func(i int) error{
			func(i int) error { return n.Emit(ctx, "n", num(i)) },
			func(i int) error { return n.Emit(ctx, "n", num(i)) },
			func(i int) error {
				return n.To(sockets["a"].ID(), sockets["b"].ID(), sockets["c"].ID()).Emit(ctx, "n", num(i))
			},
			func(i int) error { return emitToEach(sockets, i) },
		} {
			if err := emit(i); err != nil {
				t.Fatal(err)
			}
			i++
		}
	}
	for _, p := range peers {
		for i := range 4 * rounds {
			p.expect(fmt.Sprintf(`2["n",%d]`, i))
		}
	}
}

func emitToEach(sockets map[string]*socketio.Socket, i int) error {
	for _, s := range sockets {
		if err := s.Emit(ctx, "n", num(i)); err != nil {
			return err
		}
	}
	return nil
}

// stream emits 0, 1, 2, ... until stopped.
func stream(emit func(i int)) (stop func() int) {
	var wg sync.WaitGroup
	quit := make(chan struct{})
	next := 0
	wg.Go(func() {
		for {
			select {
			case <-quit:
				return
			default:
				emit(next)
				next++
				pause := 50 * time.Microsecond // let others have the machine
				if next > 1<<15 {
					pause = time.Millisecond // peers keep 1<<16 packets that the test has not read, and then read no more
				}
				time.Sleep(pause)
			}
		}
	})
	return func() int {
		close(quit)
		wg.Wait()
		return next
	}
}

// follow reads a stream: it returns the first number and checks that none is
// missing until last.
func follow(p *peer, last int) (first int) {
	first = -1
	for want := -1; want <= last; {
		var got int
		if _, err := fmt.Sscanf(p.next(), `2["n",%d]`, &got); err != nil {
			continue
		}
		if want < 0 {
			first, want = got, got
		}
		if got != want {
			p.t.Fatalf("got %d, want %d", got, want)
		}
		want++
	}
	return first
}

func TestWhoJoinsAStreamMissesNothingAfterItsAnswer(t *testing.T) {
	srv, url := serve(t, nil)
	connected := make(chan int, 100)
	var emitted sync.Mutex // held while a number is emitted
	next := 0
	n := srv.Handle("/", socketio.Hooks{
		Connect: func(ctx context.Context, s *socketio.Socket) {
			emitted.Lock()
			defer emitted.Unlock()
			s.Emit(ctx, "joined before", num(next))
			connected <- next
		},
		Event: echo(nil),
	})
	stop := stream(func(i int) {
		emitted.Lock()
		defer emitted.Unlock()
		n.Emit(ctx, "n", num(i))
		next = i + 1
	})
	var peers []*peer
	for i := range 20 {
		connect := dial
		if i%4 == 0 {
			connect = poll
		}
		p := connect(t, url)
		p.send("0")
		if answer := p.next(); !strings.HasPrefix(answer, `0{"sid"`) {
			t.Fatalf("the first packet is %s", answer)
		}
		peers = append(peers, p)
		within(t, connected)
	}
	last := stop()
	n.Emit(ctx, "n", num(last))
	for _, p := range peers {
		follow(p, last)
	}
}

func TestADisconnectComesBehindWhatWasEmittedBefore(t *testing.T) {
	srv, url := serve(t, nil)
	n := srv.Handle("/", socketio.Hooks{Event: echo(nil)})
	for range 20 {
		p := dial(t, url)
		s := n.Socket(p.join("/"))
		for i := range 50 {
			n.Emit(ctx, "n", num(i))
		}
		s.Disconnect()
		n.Emit(ctx, "after")
		for i := range 50 {
			p.expect(`2["n",` + strconv.Itoa(i) + `]`)
		}
		p.expect(`1`)
		p.join("/")
		p.expectNothing()
		p.wire.close()
	}
}

func TestEmitWaitsWhenTooMuchWaits(t *testing.T) {
	srv, url := serve(t, func(c *socketio.Config) { c.MaxPending = 1 })
	n := srv.Handle("/", socketio.Hooks{Event: echo(nil)})
	p := dial(t, url)
	p.join("/")
	const each = 300
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range each {
				if err := n.Emit(ctx, "x"); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	for range 4 * each {
		p.expect(`2["x"]`)
	}
	ended, cancel := context.WithCancel(ctx)
	cancel()
	for range 1000 { // either there is room, or it says that ctx has ended
		if err := n.Emit(ended, "x"); err != nil {
			if err != context.Canceled {
				t.Error(err)
			}
			return
		}
	}
}

func TestASlowReaderHoldsUpNobodyAndIsDisconnected(t *testing.T) {
	left := make(chan socketio.Reason, 1)
	srv, url := serve(t, func(c *socketio.Config) { c.Engine.MaxQueueBytes = 1 << 20 })
	n := srv.Handle("/", socketio.Hooks{
		Event:      echo(nil),
		Disconnect: func(_ *socketio.Socket, why socketio.Reason) { left <- why },
	})
	quick := dial(t, url)
	quick.join("/")
	slow := dialWire(t, url, "EIO=4")
	defer slow.close()
	slow.send("40")
	eventually(t, "two sockets", func() bool { return n.Len() == 2 })
	payload := socketio.String(strings.Repeat("x", 10_000))
	for i := 0; len(left) == 0; i++ {
		if i > 5_000 {
			t.Fatal("the slow reader is still there")
		}
		n.Emit(ctx, "x", payload)
		if packet := quick.next(); len(packet) < 10_000 {
			t.Fatal(packet)
		}
	}
	if why := within(t, left); why != socketio.ReasonSlowClient {
		t.Errorf("left for %q", why)
	}
	quick.expectNothing()
}

func TestAnEmptyNamespaceCostsNoEncoding(t *testing.T) {
	srv, err := socketio.New(socketio.DefaultConfig())
	if err != nil {
		t.Fatal(err)
	}
	n := srv.Handle("/", socketio.Hooks{})
	if err := n.Emit(ctx, "connect"); err != nil { // reserved, had it been looked at
		t.Error(err)
	}
	arg := raw(`{"a":1}`)
	if allocs := testing.AllocsPerRun(100, func() { n.Emit(ctx, "x", arg) }); allocs > 1 { // the caller's list of arguments
		t.Errorf("%v allocations", allocs)
	}
}
