package socketio_test

import (
	"context"
	"strings"
	"testing"

	"github.com/evosink/evosink/sinks/websocket/socketio"
)

// holding starts a server with recovery, whose namespace "/" holds who joins
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
	if err := s.Release(ctx, nil); err != nil {
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
	s.Release(ctx, nil)
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
	s.Release(ctx, nil)

	p = dial(t, url)
	if again, _ := p.comeBack(ticket(g.PID, off), `2["missed"]`); again != g {
		t.Fatal("was not recovered")
	}
}
