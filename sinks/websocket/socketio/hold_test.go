package socketio_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/evosink/evosink/sinks/websocket/socketio"
)

// holding starts a server with recovery, whose namespace "/" holds sockets that join
// with {"hold":true} and leaves the socket to the test.
func holding(t *testing.T, adjust func(*socketio.Config)) (n *socketio.Namespace, url string, held <-chan *socketio.Socket) {
	sockets := make(chan *socketio.Socket, 8)
	n, url = recovering(t, func(c *socketio.Config) {
		c.Recovery.SkipAuthorize = false
		if adjust != nil {
			adjust(c)
		}
	}, socketio.Hooks{
		Authorize: func(_ context.Context, r *socketio.ConnectRequest) error {
			r.Hold = !r.Recovering && strings.Contains(string(r.Auth), `"hold":true`)
			r.Data = r.Hold
			return nil
		},
		Connect: func(_ context.Context, s *socketio.Socket) {
			if s.Data() == true {
				sockets <- s
			}
		},
	})
	return n, url, sockets
}

// formerly returns an offset that a client got in an earlier life.
func formerly(t *testing.T, n *socketio.Namespace, url string) string {
	t.Helper()
	p := dial(t, url)
	g := p.joinWith("/", "")
	n.Emit(ctx, "former")
	off := p.expectEvent(`2["former"]`)
	p.send("1")
	p.lose(n, g.SID)
	return off
}

func TestASocketThatIsHeldCannotBeRecovered(t *testing.T) {
	n, url, held := holding(t, func(c *socketio.Config) { c.Recovery.TakeOver = true })
	off := formerly(t, n, url)
	p := dial(t, url)
	g := p.joinWith("/", `{"hold":true}`)
	s := within(t, held)
	s.Emit(ctx, "past")
	p.expect(`2["past"]`) // without offset
	if again := dial(t, url).joinWith("/", ticket(g.PID, off)); again.SID == g.SID {
		t.Error("was taken over")
	}
	p.lose(n, g.SID)
	if again := dial(t, url).joinWith("/", ticket(g.PID, off)); again.SID == g.SID {
		t.Error("was recovered")
	}
}

func TestASocketThatWasHeldIsRecoveredFromWhatItGotAfterwardsOnly(t *testing.T) {
	n, url, held := holding(t, nil)
	off := formerly(t, n, url)
	p := dial(t, url)
	g := p.joinWith("/", `{"hold":true}`)
	s := within(t, held)
	s.Emit(ctx, "past")
	if _, err := s.Release(ctx, 0); err != nil {
		t.Fatal(err)
	}
	p.expect(`2["past"]`)
	p.lose(n, g.SID)
	if again := dial(t, url).joinWith("/", ticket(g.PID, off)); again.SID == g.SID {
		t.Error("was recovered from an offset that is older than itself")
	}

	p = dial(t, url)
	g = p.joinWith("/", `{"hold":true}`)
	s = within(t, held)
	s.Emit(ctx, "past")
	n.Emit(ctx, "present")
	s.Release(ctx, 0)
	p.expect(`2["past"]`)
	off = p.expectEvent(`2["present"]`)
	p.lose(n, g.SID)
	n.Emit(ctx, "missed")
	for range 2 { // the bound stays with it
		p = dial(t, url)
		var again greeting
		if again, off = p.comeBack(ticket(g.PID, off), `2["missed"]`); again != g {
			t.Fatal("was not recovered")
		}
		p.lose(n, g.SID)
		n.Emit(ctx, "missed")
	}
}

func TestWhatASocketIsGivenOfThePastPushesNobodyOut(t *testing.T) {
	n, url, held := holding(t, func(c *socketio.Config) { c.Recovery.MaxBytes = 10_000 })
	p := dial(t, url)
	g := p.joinWith("/", "")
	n.Emit(ctx, "seen")
	off := p.expectEvent(`2["seen"]`)
	p.lose(n, g.SID)
	n.Emit(ctx, "missed")

	q := dial(t, url)
	q.joinWith("/", `{"hold":true}`)
	s := within(t, held)
	for range 20 {
		s.Emit(ctx, "past", socketio.String(strings.Repeat("x", 1000)))
	}
	s.Release(ctx, 0)

	p = dial(t, url)
	if again, _ := p.comeBack(ticket(g.PID, off), `2["missed"]`); again != g {
		t.Fatal("was not recovered")
	}
}

// A chronicle is a log of what is emitted.
type chronicle struct {
	mu     sync.Mutex // held while an event is written and emitted
	events []int
}

func (c *chronicle) emit(n *socketio.Namespace, i int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.events = append(c.events, i)
	n.At(int64(len(c.events))).Emit(ctx, "n", num(i))
}

// after returns the events behind position. What it returns has been emitted.
func (c *chronicle) after(position int64) []int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.events[position:len(c.events):len(c.events)]
}

// present brings s from a position to the present, and returns how often it
// had to read the log.
func (c *chronicle) present(s *socketio.Socket, position int64, read func()) (rounds int) {
	for {
		rounds++
		for _, i := range c.after(position) {
			s.Emit(ctx, "n", num(i))
			position++
		}
		read()
		var err error
		position, err = s.Release(ctx, position)
		if !errors.Is(err, socketio.ErrOverflow) {
			return rounds
		}
	}
}

func TestAPastAndAPresentAreJoinedWithoutGapOrDouble(t *testing.T) {
	for name, c := range map[string]struct{ maxHeld, meanwhile, rounds int }{
		"all can be kept aside":     {4 << 20, 200, 1},
		"more than is kept at once": {20_000, 200, 2},
	} {
		t.Run(name, func(t *testing.T) {
			srv, url := serve(t, func(o *socketio.Config) { o.MaxHeld = c.maxHeld })
			var log chronicle
			rounds := make(chan int, 10)
			n := srv.Handle("/", socketio.Hooks{
				Authorize: func(_ context.Context, r *socketio.ConnectRequest) error { r.Hold = true; return nil },
				Connect: func(_ context.Context, s *socketio.Socket) {
					start := int64(max(0, len(log.after(0))-200))
					first := true
					rounds <- log.present(s, start, func() { // the present goes on while the log is read
						for now := int64(len(log.after(0))); first && len(log.after(now)) < c.meanwhile; {
							runtime.Gosched()
						}
						first = false
					})
				},
			})
			stop := stream(func(i int) { log.emit(n, i) })
			var peers []*peer
			for range 10 {
				p := dial(t, url)
				p.join("/")
				peers = append(peers, p)
			}
			for range peers {
				if got := within(t, rounds); got < c.rounds {
					t.Errorf("the log was read %d times, want %d", got, c.rounds)
				}
			}
			last := stop()
			log.emit(n, last)
			for _, p := range peers {
				follow(p, last)
			}
		})
	}
}

// The server that a client comes to may be behind the log: what the client has seen elsewhere already, and what it is
// given from the log, is emitted only now.
func TestWhatIsEmittedLateIsThePastStill(t *testing.T) {
	n, url, held := holding(t, nil)
	p := dial(t, url)
	p.joinWith("/", `{"hold":true}`)
	s := within(t, held)
	s.Emit(ctx, "n", num(3)) // what came behind 2
	for i := range 5 {
		n.At(int64(i)).Emit(ctx, "n", num(i)) // the first has no position
	}
	if _, err := s.Release(ctx, 3); err != nil {
		t.Fatal(err)
	}
	n.At(5).Emit(ctx, "n", num(5))
	p.expect(`2["n",3]`)
	for _, i := range []int{0, 4, 5} {
		p.expectEvent(fmt.Sprintf(`2["n",%d]`, i))
	}
}

func TestASocketForWhichTooMuchIsKeptAsideIsHeldAnew(t *testing.T) {
	n, url, held := holding(t, func(c *socketio.Config) { c.MaxHeld = 10_000 })
	off := formerly(t, n, url)
	p := dial(t, url)
	g := p.joinWith("/", `{"hold":true}`)
	s := within(t, held)
	for i := range 100 {
		n.At(int64(2+i)).Emit(ctx, "x", socketio.String(strings.Repeat("x", 500)))
	}
	s.Emit(ctx, "direct")
	p.expect(`2["direct"]`)
	last, err := s.Release(ctx, 1)
	if !errors.Is(err, socketio.ErrOverflow) || last != 1 {
		t.Fatalf("position %d, %v", last, err)
	}
	n.At(102).Emit(ctx, "y")
	s.Emit(ctx, "past")
	if _, err := s.Release(ctx, 101); err != nil {
		t.Fatal(err)
	}
	p.expect(`2["past"]`)
	newest := p.expectEvent(`2["y"]`)
	p.lose(n, g.SID)
	if again := dial(t, url).joinWith("/", ticket(g.PID, off)); again.SID == g.SID {
		t.Error("was recovered from what came before")
	}
	if again := dial(t, url).joinWith("/", ticket(g.PID, newest)); again != g {
		t.Error("was not recovered")
	}
}

// What was emitted when a socket is held anew, and is behind that in the order, is kept aside with its offset.
func TestASocketThatIsHeldAnewIsRecoveredFromTheFirstThatItGetsThen(t *testing.T) {
	entered, leave := make(chan struct{}), make(chan struct{})
	sockets := make(chan *socketio.Socket, 8)
	n, url := recovering(t, func(c *socketio.Config) { c.MaxHeld, c.Recovery.SkipAuthorize = 10_000, false }, socketio.Hooks{
		Authorize: func(_ context.Context, r *socketio.ConnectRequest) error {
			r.Hold = !r.Recovering && strings.Contains(string(r.Auth), `"hold":true`)
			if strings.Contains(string(r.Auth), `"slow":true`) {
				r.Filter = func(event string) bool {
					if event == "stop" {
						entered <- struct{}{}
						<-leave
					}
					return true
				}
			}
			return nil
		},
		Connect: func(_ context.Context, s *socketio.Socket) { sockets <- s },
	})
	dial(t, url).joinWith("/", `{"slow":true}`)
	within(t, sockets)
	p := dial(t, url)
	g := p.joinWith("/", `{"hold":true}`)
	s := within(t, sockets)
	waiting := func(want int) {
		for n.Waiting() != want {
			runtime.Gosched()
		}
	}
	for i := range 100 {
		n.At(int64(1+i)).Emit(ctx, "x", socketio.String(strings.Repeat("x", 500)))
	}
	n.At(101).Emit(ctx, "stop")
	<-entered
	released := make(chan error)
	go func() {
		_, err := s.Release(ctx, 101)
		released <- err
	}()
	waiting(1) // Release waits for what is before it
	n.At(102).Emit(ctx, "stop")
	leave <- struct{}{}
	<-entered
	waiting(1) // now it has its place behind the second one
	n.At(103).Emit(ctx, "y")
	leave <- struct{}{}
	if err := within(t, released); !errors.Is(err, socketio.ErrOverflow) {
		t.Fatal(err)
	}
	s.Emit(ctx, "past")
	if _, err := s.Release(ctx, 102); err != nil {
		t.Fatal(err)
	}
	p.expect(`2["past"]`)
	off := p.expectEvent(`2["y"]`)
	p.lose(n, g.SID)
	if again := dial(t, url).joinWith("/", ticket(g.PID, off)); again != g {
		t.Error("was not recovered")
	}
}

func TestWhatIsKeptAsideGoesAtTheClientsSpeed(t *testing.T) {
	for _, count := range []int{60, 80} { // no matter how many it is
		n, url, held := holding(t, func(c *socketio.Config) { c.Engine.MaxQueueBytes = 200_000 })
		p := poll(t, url)
		p.joinWith("/", `{"hold":true}`)
		s := within(t, held)
		large := strings.Repeat("x", 10_000)
		for range count {
			n.Emit(ctx, "kept", socketio.String(large))
		}
		s.Emit(ctx, "past")
		if _, err := s.Release(ctx, 0); err != nil {
			t.Fatal(err)
		}
		p.expect(`2["past"]`)
		for range count {
			p.expectEvent(`2["kept","` + large + `"]`)
		}
	}
}

func TestASocketThatHasLeftIsNotReleased(t *testing.T) {
	n, url, held := holding(t, nil)
	p := dial(t, url)
	g := p.joinWith("/", `{"hold":true}`)
	s := within(t, held)
	p.lose(n, g.SID)
	if _, err := s.Release(ctx, 0); err != socketio.ErrDisconnected {
		t.Error(err)
	}
}
