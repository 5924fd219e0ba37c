package socketio_test

import (
	"context"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/evosink/evosink/sinks/websocket/socketio"
)

// reasonsOf returns hooks that tell why sockets left.
func reasonsOf(event socketio.Handler) (socketio.Hooks, chan socketio.Reason) {
	left := make(chan socketio.Reason, 100)
	return socketio.Hooks{
		Event:      event,
		Disconnect: func(_ *socketio.Socket, why socketio.Reason) { left <- why },
	}, left
}

func TestEachEndHasItsReason(t *testing.T) {
	srv, url := serve(t, func(c *socketio.Config) { c.Engine.MaxPayload = 1000 })
	hooks, left := reasonsOf(echo(socketio.Mux{
		"bye": func(_ context.Context, s *socketio.Socket, e *socketio.Event) error {
			switch how, _ := e.Arg(0).Text(); how {
			case "close":
				s.Client().Close()
			case "drop":
				s.Client().Drop()
			default:
				s.Disconnect()
			}
			return nil
		},
	}))
	srv.Handle("/", hooks)
	for _, c := range []struct {
		name   string
		do     func(p *peer)
		reason socketio.Reason
	}{
		{"client leaves", func(p *peer) { p.send(`1`) }, socketio.ReasonClientDisconnect},
		{"server disconnects", func(p *peer) { p.send(`2["bye","socket"]`) }, socketio.ReasonServerDisconnect},
		{"server closes", func(p *peer) { p.send(`2["bye","close"]`) }, socketio.ReasonServerDisconnect},
		{"server drops", func(p *peer) { p.send(`2["bye","drop"]`) }, socketio.ReasonForcedClose},
		{"close packet", func(p *peer) { p.wire.send(`1`) }, socketio.ReasonTransportClose},
		{"no packet of socket.io", func(p *peer) { p.send(`9`) }, socketio.ReasonForcedClose},
		{"no packet of engine.io", func(p *peer) { p.wire.send(`x`) }, socketio.ReasonParseError},
		{"wrong heartbeat", func(p *peer) { p.wire.send(`2`) }, socketio.ReasonTransportError},
	} {
		t.Run(c.name, func(t *testing.T) {
			transports(t, func(t *testing.T, connect func(testing.TB, string) *peer) {
				p := connect(t, url)
				p.join("/")
				c.do(p)
				if why := within(t, left); why != c.reason {
					t.Errorf("left for %q", why)
				}
			})
		})
	}
	t.Run("packet out of place", func(t *testing.T) {
		p := dial(t, url)
		p.join("/")
		p.send(`0`)
		if why := within(t, left); why != socketio.ReasonForcedClose {
			t.Errorf("left for %q", why)
		}
		w := pollWire(t, url) // without a pending poll
		defer w.close()
		w.send("40")
		if packets, err := w.receive(); err != nil {
			t.Fatal(packets, err)
		}
		w.send("40")
		if why := within(t, left); why != socketio.ReasonForcedServerClose {
			t.Errorf("left for %q", why)
		}
	})
	t.Run("cut", func(t *testing.T) {
		transports(t, func(t *testing.T, connect func(testing.TB, string) *peer) {
			p := connect(t, url)
			p.join("/")
			p.wire.close()
			if why := within(t, left); why != socketio.ReasonTransportClose && why != socketio.ReasonTransportError {
				t.Errorf("left for %q", why)
			}
		})
	})
	t.Run("too large", func(t *testing.T) {
		p := dial(t, url)
		p.join("/")
		p.send(`2["` + strings.Repeat("x", 2000) + `"]`)
		if why := within(t, left); why != socketio.ReasonTransportError && why != socketio.ReasonTransportClose {
			t.Errorf("left for %q", why)
		}
	})
	if got := srv.Stats().Disconnects[socketio.ReasonServerDisconnect]; got != 4 {
		t.Errorf("%d server disconnects counted", got)
	}
	t.Run("silence", func(t *testing.T) {
		srv, url := serve(t, func(c *socketio.Config) {
			c.Engine.PingInterval, c.Engine.PingTimeout = 300*time.Millisecond, 300*time.Millisecond
		})
		srv.Handle("/", hooks)
		w := dialWire(t, url, "EIO=4")
		defer w.close()
		w.send("40")
		if why := within(t, left); why != socketio.ReasonPingTimeout {
			t.Errorf("left for %q", why)
		}
	})
}

func TestWhatIsOnItsWayWhenASocketIsDisconnectedIsLeftAlone(t *testing.T) {
	var expected atomic.Uint64
	srv, url := serve(t, nil)
	srv.Handle("/", socketio.Hooks{Event: socketio.Mux{
		"bye": func(_ context.Context, s *socketio.Socket, _ *socketio.Event) error {
			eventually(t, "the rest", func() bool { return srv.Stats().Received == expected.Load() })
			s.Disconnect()
			return nil
		},
		"late": func(context.Context, *socketio.Socket, *socketio.Event) error {
			t.Error("an event was handled behind the disconnect")
			return nil
		},
	}.Serve})
	transports(t, func(t *testing.T, connect func(testing.TB, string) *peer) {
		p := connect(t, url)
		first := p.join("/")
		expected.Store(srv.Stats().Received + 3)
		p.send(`2["bye"]`, `2["late"]`, `1`)
		p.expect(`1`)
		if again := p.join("/"); again == first {
			t.Error("the socket is the one that was disconnected")
		}
	})
}

func TestADisconnectedSocketLeavesTheOthersOfItsClient(t *testing.T) {
	srv, url := serve(t, nil)
	srv.Handle("/", socketio.Hooks{Event: echo(nil)})
	n := srv.Handle("/n", socketio.Hooks{Event: echo(nil)})
	transports(t, func(t *testing.T, connect func(testing.TB, string) *peer) {
		p := connect(t, url)
		p.join("/")
		s := n.Socket(p.join("/n"))
		s.Disconnect()
		s.Disconnect()
		p.expect(`1/n,`)
		p.expectNothing()
		if err := s.Emit(ctx, "x"); err != socketio.ErrDisconnected {
			t.Error(err)
		}
		p.join("/n")
		p.send(`1/n,`) // gets no answer
		p.expectNothing()
	})
}

func TestClosingAClientTellsEveryNamespaceBeforeTheConnectionEnds(t *testing.T) {
	srv, url := serve(t, nil)
	hooks, left := reasonsOf(nil)
	n := srv.Handle("/a", hooks)
	srv.Handle("/b", hooks)
	joined := uint64(0)
	transports(t, func(t *testing.T, connect func(testing.TB, string) *peer) {
		p := connect(t, url)
		s := n.Socket(p.join("/a"))
		p.join("/b")
		joined += 2
		eventually(t, "both welcome", func() bool { return srv.Stats().Joined == joined }) // or they have no last hooks
		for range 100 {
			n.Emit(ctx, "x")
		}
		s.Client().Close()
		rest := p.expectClosed()
		if len(rest) != 102 || rest[101] != `1/a,` && rest[100] != `1/a,` || !slices.Contains(rest, `1/b,`) {
			t.Errorf("%d packets, at the end %q", len(rest), rest[max(0, len(rest)-3):])
		}
		for range 2 {
			if why := within(t, left); why != socketio.ReasonServerDisconnect {
				t.Errorf("left for %q", why)
			}
		}
	})
}

func TestNoHandlerRunsAfterTheDisconnect(t *testing.T) {
	srv, url := serve(t, nil)
	log := make(chan string, 100)
	srv.Handle("/", socketio.Hooks{
		Event: func(_ context.Context, s *socketio.Socket, e *socketio.Event) error {
			log <- e.Name
			if e.Name == "bye" {
				s.Disconnect()
			}
			return nil
		},
		Disconnect: func(*socketio.Socket, socketio.Reason) { log <- "left" },
	})
	w := pollWire(t, url)
	p := newPeer(t, w)
	p.join("/")
	w.send(strings.Join([]string{`42["x"]`, `42["bye"]`, `42["late"]`, `42["late"]`}, "\x1e"))
	p.expect(`1`)
	if got := within(t, log) + within(t, log) + within(t, log); got != "xbyeleft" || len(log) > 0 {
		t.Errorf("got %s and %d more", got, len(log))
	}
}

func TestTheContextOfAHandlerEndsWithTheSocket(t *testing.T) {
	srv, url := serve(t, nil)
	ended := make(chan error, 1)
	started := make(chan struct{})
	srv.Handle("/", socketio.Hooks{Event: socketio.Mux{"wait": func(ctx context.Context, _ *socketio.Socket, _ *socketio.Event) error {
		close(started)
		<-ctx.Done()
		ended <- ctx.Err()
		return nil
	}}.Serve})
	p := dial(t, url)
	p.join("/")
	p.send(`2["wait"]`)
	within(t, started)
	p.wire.close()
	if err := within(t, ended); err != context.Canceled {
		t.Error(err)
	}
}

func TestANamespaceDisconnectsWhomItIsTold(t *testing.T) {
	srv, url := serve(t, nil)
	hooks, left := reasonsOf(echo(nil))
	n := srv.Handle("/", hooks)
	srv.HandleFunc(func(name string) bool { return name == "/dynamic" }, hooks)
	peers, s := members(t, url, n)
	if got := n.Disconnect(func(other *socketio.Socket) bool { return other != s["b"] }); got != 2 {
		t.Errorf("%d disconnected", got)
	}
	peers["a"].expect("1")
	peers["c"].expect("1")
	peers["b"].expectNothing()
	peers["a"].join("/dynamic")
	eventually(t, "all welcome", func() bool { return srv.Stats().Joined == 4 }) // a client that has not joined has no last hooks either
	srv.Remove("/dynamic")
	peers["a"].expect("1/dynamic,")
	srv.Remove("/")
	srv.Remove("/never")
	peers["b"].expect("1")
	peers["b"].send("0")
	peers["b"].expect(`4{"message":"Invalid namespace"}`)
	for range 4 {
		if why := within(t, left); why != socketio.ReasonServerDisconnect {
			t.Errorf("left for %q", why)
		}
	}
	if len(srv.Namespaces()) != 0 {
		t.Error("namespaces are left")
	}
}

func TestCloseEndsEverythingAndSaysWhy(t *testing.T) {
	config := socketio.DefaultConfig()
	config.Recovery.Window = time.Minute
	srv, err := socketio.New(config)
	if err != nil {
		t.Fatal(err)
	}
	hooks, left := reasonsOf(echo(nil))
	asked := make(chan struct{})
	n := srv.Handle("/", hooks)
	srv.Handle("/slow", socketio.Hooks{Authorize: func(ctx context.Context, _ *socketio.ConnectRequest) error {
		close(asked)
		<-ctx.Done()
		return nil
	}})
	ts := newTestServer(t, srv)
	ws, polling := dial(t, ts), poll(t, ts)
	ws.join("/")
	polling.join("/")
	ws.send("0/slow")
	within(t, asked)
	closeServer(t, srv)
	closeServer(t, srv)
	for range 2 {
		if why := within(t, left); why != socketio.ReasonShutdown {
			t.Errorf("left for %q", why)
		}
	}
	ws.expectClosed()
	polling.expectClosed()
	if err := n.Emit(ctx, "x"); err != nil {
		t.Error(err)
	}
	if !refused(t, ts, "EIO=4") {
		t.Error("a client was let in")
	}
}
