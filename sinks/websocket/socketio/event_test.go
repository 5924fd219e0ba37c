package socketio_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/evosink/evosink/sinks/websocket/socketio"
)

// messageBack emits what it gets, as the reference suites have it.
func messageBack(ctx context.Context, s *socketio.Socket, e *socketio.Event) error {
	return s.Emit(ctx, "back", e.Args...)
}

func TestEventsGoBothWays(t *testing.T) {
	srv, url := serve(t, nil)
	srv.Handle("/n", socketio.Hooks{Event: socketio.Mux{"message": messageBack}.Serve})
	transports(t, func(t *testing.T, connect func(testing.TB, string) *peer) {
		p := connect(t, url)
		p.join("/n")
		for _, args := range []string{``, `,1,"2",{"3":[true]}`, `,"<&>` + "\u2028" + `é😀\u0000\ud800"`, `,1.50,1e3,{"b":1,"a":2},{"_placeholder":true,"num":5}`, `,null`} {
			p.send(`2/n,["message"` + args + `]`)
			p.expect(`2/n,["back"` + args + `]`)
		}
		p.send("2/n,[ \"message\" , { \"a\" : \" \" } ]")
		p.expect(`2/n,["back",{"a":" "}]`)
	})
}

func TestBinaryGoesBothWays(t *testing.T) {
	srv, url := serve(t, nil)
	srv.Handle("/", socketio.Hooks{Event: socketio.Mux{
		"message": messageBack,
		"ask":     func(ctx context.Context, _ *socketio.Socket, e *socketio.Event) error { return e.Ack(ctx, e.Args...) },
	}.Serve})
	const zero, one = `{"_placeholder":true,"num":0}`, `{"_placeholder":true,"num":1}`
	transports(t, func(t *testing.T, connect func(testing.TB, string) *peer) {
		p := connect(t, url)
		p.join("/")
		p.send(`52-["message",` + zero + `,{"deep":[` + one + `]}]`)
		p.sendBinary("first")
		p.sendBinary("")
		p.expect(`52-["back",`+zero+`,{"deep":[`+one+`]}]`, `<first>`, `<>`)
		p.send(`52-7["ask",` + one + `,` + zero + `]`)
		p.sendBinary("a")
		p.sendBinary("b")
		p.expect(`62-7[`+zero+`,`+one+`]`, `<b>`, `<a>`)
	})
}

// CVE-2024-38355: the event "error" without a listener.
func TestEventsWithoutHandlerAreIgnored(t *testing.T) {
	srv, url := serve(t, nil)
	srv.Handle("/", socketio.Hooks{Event: echo(nil)})
	p := dial(t, url)
	p.join("/")
	p.send(`2["error"]`, `2["error",{"x":1}]`, `21["unknown"]`, `2[""]`, `2[7,1]`, `2`, `3`, `37[]`, `3["x"]`, `2["__proto__"]`)
	p.expectNothing()
}

func TestPacketsThatAreNoneEndTheConnection(t *testing.T) {
	type farewell struct {
		why socketio.Reason
		err error
	}
	left := make(chan farewell, 1)
	srv, url := serve(t, nil)
	var last error
	srv.Handle("/", socketio.Hooks{
		Event: echo(nil),
		Error: func(_ *socketio.Socket, err error) { last = err },
		Disconnect: func(_ *socketio.Socket, why socketio.Reason) {
			f := farewell{why, last}
			last = nil
			left <- f
		},
	})
	bystander := dial(t, url)
	srv.Handle("/bystander", socketio.Hooks{Event: echo(nil)})
	bystander.join("/bystander")
	for _, packet := range []string{
		`abc`, `7`, ``, `2{}`, `2[]`, `2abc["x"]`, `2["connect"]`, `2[{}]`, `1{}`, `0[]`, `3{}`, `511-["x"]`, `50-["x"]`, `5["x"]`,
		`51-["x",{"_placeholder":true,"num":1}]`, `2["x",` + strings.Repeat("[", 50_000) + strings.Repeat("]", 50_000) + `]`,
	} {
		transports(t, func(t *testing.T, connect func(testing.TB, string) *peer) {
			p := connect(t, url)
			p.join("/")
			p.send(packet)
			p.expectClosed()
			if f := within(t, left); f.why != socketio.ReasonForcedClose || f.err == nil {
				t.Errorf("%.50s: left for %q, error %v", packet, f.why, f.err)
			}
		})
	}
	bystander.send(`2/bystander,1["echo"]`)
	bystander.expect(`3/bystander,1[]`)
}

func TestAttachmentsOutOfPlaceEndTheConnection(t *testing.T) {
	srv, url := serve(t, nil)
	srv.Handle("/", socketio.Hooks{Event: echo(nil)})
	alone := dial(t, url)
	alone.join("/")
	alone.sendBinary("x")
	alone.expectClosed()
	missing := dial(t, url)
	missing.join("/")
	missing.send(`51-["x",{"_placeholder":true,"num":0}]`, `2["echo"]`)
	missing.expectClosed()
}

func TestManyEventsKeepTheirOrder(t *testing.T) {
	const n = 3000
	srv, url := serve(t, nil)
	srv.Handle("/", socketio.Hooks{Event: echo(socketio.Mux{
		"burst": func(ctx context.Context, s *socketio.Socket, e *socketio.Event) error {
			for i := range n {
				args := []socketio.Arg{num(i)}
				if i%2 == 0 {
					args = append(args, socketio.Binary([]byte{'a' + byte(i%26)}))
				}
				if err := s.Emit(ctx, "seq", args...); err != nil {
					return err
				}
			}
			return nil
		},
	})})
	transports(t, func(t *testing.T, connect func(testing.TB, string) *peer) {
		p := connect(t, url)
		p.join("/")
		p.send(`2["burst"]`)
		for i := range n {
			if i%2 == 0 {
				p.expect(fmt.Sprintf(`51-["seq",%d,{"_placeholder":true,"num":0}]`, i), fmt.Sprintf("<%c>", 'a'+byte(i%26)))
			} else {
				p.expect(fmt.Sprintf(`2["seq",%d]`, i))
			}
		}
	})
	p := dial(t, url)
	p.join("/")
	for i := range n {
		p.send(fmt.Sprintf(`2%d["echo",%d]`, i, i))
	}
	for i := range n {
		p.expect(fmt.Sprintf(`3%d[%d]`, i, i))
	}
}

func TestAttachmentsStayBehindTheirEventWhateverElseIsSent(t *testing.T) {
	srv, url := serve(t, nil)
	n := srv.Handle("/", socketio.Hooks{Event: echo(nil)})
	p := dial(t, url)
	p.join("/")
	s := n.Sockets()[0]
	const each = 300
	emit := func(f func(i int) error) chan error {
		done := make(chan error, 1)
		go func() {
			for i := range each {
				if err := f(i); err != nil {
					done <- err
					return
				}
			}
			done <- nil
		}()
		return done
	}
	for _, done := range []chan error{
		emit(func(int) error { return s.Emit(ctx, "bin", socketio.Binary([]byte("1")), socketio.Binary([]byte("2"))) }),
		emit(func(int) error { return n.Emit(ctx, "bin", socketio.Binary([]byte("1")), socketio.Binary([]byte("2"))) }),
		emit(func(i int) error { return s.Emit(ctx, "text", num(i)) }),
		emit(func(i int) error { return n.To(s.ID()).Emit(ctx, "text", num(i)) }),
	} {
		if err := within(t, done); err != nil {
			t.Error(err)
		}
	}
	for range 4 * each {
		if strings.HasPrefix(p.next(), `52-["bin"`) {
			p.expect("<1>", "<2>")
		}
	}
}

func TestServerRefusesReservedNamesAndTooManyAttachments(t *testing.T) {
	srv, url := serve(t, nil)
	n := srv.Handle("/", socketio.Hooks{Event: echo(nil)})
	p := dial(t, url)
	p.join("/")
	s := n.Sockets()[0]
	for _, name := range []string{"connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"} {
		if err := s.Emit(ctx, name); !errors.Is(err, socketio.ErrReserved) {
			t.Errorf("socket, %s: %v", name, err)
		}
		if err := n.Emit(ctx, name); !errors.Is(err, socketio.ErrReserved) {
			t.Errorf("namespace, %s: %v", name, err)
		}
	}
	many := make([]socketio.Arg, 11)
	for i := range many {
		many[i] = socketio.Binary([]byte("x"))
	}
	if err := s.Emit(ctx, "x", many...); !errors.Is(err, socketio.ErrAttachments) {
		t.Error(err)
	}
	if err := s.Emit(ctx, "error"); err != nil {
		t.Error(err)
	}
	p.expect(`2["error"]`)
	p.expectNothing()
}

func TestWhatAHandlerReturnsGoesToTheErrorHook(t *testing.T) {
	srv, url := serve(t, nil)
	refuse := func(next socketio.Handler) socketio.Handler {
		return func(ctx context.Context, s *socketio.Socket, e *socketio.Event) error {
			if e.Name == "forbidden" {
				return errors.New("forbidden event")
			}
			return next(ctx, s, e)
		}
	}
	srv.Handle("/", socketio.Hooks{
		Event: refuse(echo(nil)),
		Error: func(s *socketio.Socket, err error) { s.Emit(ctx, "use-error", socketio.String(err.Error())) },
	})
	p := dial(t, url)
	p.join("/")
	p.send(`21["forbidden"]`)
	p.expect(`2["use-error","forbidden event"]`)
	p.expectNothing()
}

func TestASlowHandlerDelaysItsOwnClientOnly(t *testing.T) {
	srv, url := serve(t, nil)
	release := make(chan struct{})
	srv.Handle("/", socketio.Hooks{Event: echo(socketio.Mux{
		"slow": func(ctx context.Context, s *socketio.Socket, e *socketio.Event) error {
			<-release
			return s.Emit(ctx, "slow done")
		},
	})})
	slow, quick := dial(t, url), dial(t, url)
	slow.join("/")
	quick.join("/")
	slow.send(`2["slow"]`, `21["echo"]`)
	quick.expectNothing()
	close(release)
	slow.expect(`2["slow done"]`, `31[]`)
}

func TestAFloodWaitsForTheHandlers(t *testing.T) {
	srv, url := serve(t, func(c *socketio.Config) { c.MaxInbound = 4096 })
	release := make(chan struct{})
	handled := 0
	srv.Handle("/", socketio.Hooks{Event: echo(socketio.Mux{
		"slow":  func(context.Context, *socketio.Socket, *socketio.Event) error { <-release; return nil },
		"count": func(context.Context, *socketio.Socket, *socketio.Event) error { handled++; return nil },
	})})
	p := dial(t, url)
	p.join("/")
	p.send(`2["slow"]`)
	for range 1000 {
		p.send(`2["count"]`)
	}
	close(release)
	p.expectNothing()
	if handled != 1000 {
		t.Errorf("%d events handled", handled)
	}
}

func TestHandlersThatNeverGetOnCostTheClientItsConnection(t *testing.T) {
	srv, url := serve(t, func(c *socketio.Config) { c.MaxInbound, c.StallTimeout = 1024, 50*time.Millisecond })
	release := make(chan struct{})
	srv.Handle("/", socketio.Hooks{Event: socketio.Mux{
		"stuck": func(ctx context.Context, _ *socketio.Socket, _ *socketio.Event) error {
			<-ctx.Done()
			close(release)
			return nil
		},
	}.Serve})
	p := dial(t, url)
	p.join("/")
	p.send(`2["stuck"]`)
	for range 20 {
		p.send(`2["x"]`)
	}
	p.expectClosed()
	within(t, release)
}

func TestEventsBeforeTheEndOfTheConnectionAreHandled(t *testing.T) {
	srv, url := serve(t, nil)
	order := make(chan string, 10)
	srv.Handle("/", socketio.Hooks{
		Event:      func(_ context.Context, _ *socketio.Socket, e *socketio.Event) error { order <- e.Name; return nil },
		Disconnect: func(_ *socketio.Socket, why socketio.Reason) { order <- string(why) },
	})
	for _, goodbye := range []string{`41`, `1`} {
		w := pollWire(t, url)
		p := newPeer(t, w)
		p.join("/")
		w.send(`42["a"]` + "\x1e" + `42["b"]` + "\x1e" + goodbye)
		got := within(t, order) + " " + within(t, order) + ", " + within(t, order)
		want := map[string]string{`41`: "a b, client namespace disconnect", `1`: "a b, transport close"}[goodbye]
		if got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}
