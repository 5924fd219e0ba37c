package socketio_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/evosink/evosink/sinks/websocket/socketio"
)

func TestAClientJoinsNamespaces(t *testing.T) {
	srv, url := serve(t, nil)
	srv.Handle("/", socketio.Hooks{Event: echo(nil)})
	srv.Handle("/Ação x", socketio.Hooks{Event: echo(nil)})
	transports(t, func(t *testing.T, connect func(testing.TB, string) *peer) {
		p := connect(t, url)
		root, other := p.join("/"), p.join("/Ação x")
		if root == other || len(root) < 16 {
			t.Errorf("socket ids %q and %q", root, other)
		}
		p.send(`21["echo",1]`)
		p.expect(`31[1]`)
		p.send(`2/Ação x,1["echo",2]`)
		p.expect(`3/Ação x,1[2]`)
	})
}

func TestTheRootMayBeNamed(t *testing.T) {
	srv, url := serve(t, nil)
	srv.Handle("/", socketio.Hooks{Event: echo(nil)})
	p := dial(t, url)
	p.send(`0/,`)
	if answer := p.next(); !strings.HasPrefix(answer, `0{"sid":"`) {
		t.Errorf("answer %s", answer)
	}
	p.send(`2/,0["echo"]`)
	p.expect(`30[]`)
}

func TestUnknownNamespacesAreRefusedAndTheConnectionStays(t *testing.T) {
	srv, url := serve(t, nil)
	srv.Handle("/Known", socketio.Hooks{Event: echo(nil)})
	p := dial(t, url)
	for _, name := range []string{"/known", "/Known/", "/Known?x=1", "//Known", "/" + strings.Repeat("x", 1000)} {
		p.send(`0` + name + `,`)
		p.expect(`4` + name + `,{"message":"Invalid namespace"}`)
	}
	p.send(`0`)
	p.expect(`4{"message":"Invalid namespace"}`)
	p.join("/Known")
}

func TestAuthorizeSeesWhatTheClientSent(t *testing.T) {
	seen := make(chan *socketio.ConnectRequest, 1)
	srv, url := serve(t, func(c *socketio.Config) {
		c.Attach = func(r *http.Request) any { return r.Header.Get("User-Agent") }
	})
	srv.Handle("/x", socketio.Hooks{Authorize: func(_ context.Context, r *socketio.ConnectRequest) error {
		seen <- r
		return nil
	}})
	p := dial(t, url)
	p.joinWith("/x", ` { "token" : "a<b" } `)
	r := within(t, seen)
	if r.Namespace != "/x" || string(r.Auth) != `{"token":"a<b"}` {
		t.Errorf("namespace %s, auth %s", r.Namespace, r.Auth)
	}
	if agent, _ := r.Client.Value.(string); !strings.HasPrefix(agent, "Go-http-client") {
		t.Errorf("value %v", r.Client.Value)
	}
	if !strings.HasPrefix(r.Client.RemoteAddr(), "127.0.0.1:") || r.Client.Revision() != 4 {
		t.Errorf("client %s of revision %d", r.Client.RemoteAddr(), r.Client.Revision())
	}
}

func TestKeepRequestKeepsHeadersAndQuery(t *testing.T) {
	srv, url := serve(t, func(c *socketio.Config) { c.Attach = socketio.KeepRequest })
	values := make(chan any, 1)
	srv.Handle("/", socketio.Hooks{Connect: func(_ context.Context, s *socketio.Socket) { values <- s.Client().Value }})
	newPeer(t, dialWire(t, url, "EIO=4&apikey=k")).join("/")
	r, _ := within(t, values).(*socketio.Request)
	if r == nil || !strings.Contains(r.RawQuery, "apikey=k") || r.Header.Get("User-Agent") == "" || r.Secure {
		t.Errorf("kept %+v", r)
	}
}

func TestARefusalSaysWhy(t *testing.T) {
	srv, url := serve(t, nil)
	refusals := map[string]error{
		`4/a,{"message":"no <way>","data":{"code":1}}`: &socketio.ConnectError{Message: "no <way>", Data: json.RawMessage(`{"code":1}`)},
		`4/b,{"message":"closed"}`:                     errors.New("closed"),
		`4/c,{"message":"Invalid namespace"}`:          socketio.ErrInvalidNamespace(),
	}
	for want, err := range refusals {
		srv.Handle(want[1:3], socketio.Hooks{Authorize: func(context.Context, *socketio.ConnectRequest) error { return err }})
	}
	p := dial(t, url)
	for want := range refusals {
		p.send(`0` + want[1:3])
		p.expect(want)
	}
}

func TestARefusedClientMayTryAgain(t *testing.T) {
	srv, url := serve(t, nil)
	srv.Handle("/", socketio.Hooks{Authorize: func(_ context.Context, r *socketio.ConnectRequest) error {
		if string(r.Auth) != `{"token":"right"}` {
			return &socketio.ConnectError{Message: "wrong"}
		}
		return nil
	}})
	p := dial(t, url)
	for _, auth := range []string{`{"token":"bad"}`, ``} {
		p.send(`0` + auth)
		p.expect(`4{"message":"wrong"}`)
	}
	p.joinWith("/", `{"token":"right"}`)
}

func TestWhoJoinsNothingInTimeIsClosed(t *testing.T) {
	srv, url := serve(t, func(c *socketio.Config) { c.ConnectTimeout = time.Second })
	srv.Handle("/", socketio.Hooks{Event: echo(nil)})
	srv.Handle("/closed", socketio.Hooks{Authorize: func(context.Context, *socketio.ConnectRequest) error { return errors.New("no") }})
	transports(t, func(t *testing.T, connect func(testing.TB, string) *peer) {
		joined := connect(t, url)
		joined.join("/")
		silent, refused := connect(t, url), connect(t, url)
		refused.send(`0/closed`)
		refused.expect(`4/closed,{"message":"no"}`)
		silent.expectClosed()
		refused.expectClosed()
		joined.send(`1`, `0`) // has joined once
		if answer := joined.next(); !strings.HasPrefix(answer, `0{`) {
			t.Error(answer)
		}
	})
}

func TestASlowAuthorizeHoldsUpItsNamespaceOnly(t *testing.T) {
	srv, url := serve(t, nil)
	release := make(chan struct{})
	srv.Handle("/slow", socketio.Hooks{
		Authorize: func(ctx context.Context, _ *socketio.ConnectRequest) error {
			select {
			case <-release:
			case <-ctx.Done():
			}
			return nil
		},
	})
	srv.Handle("/", socketio.Hooks{Event: echo(nil)})
	p := dial(t, url)
	p.send(`0/slow`)
	p.join("/")
	p.expectNothing()
	close(release)
	if answer := p.next(); !strings.HasPrefix(answer, `0/slow,{"sid":`) {
		t.Error(answer)
	}
}

func TestWhoLeavesWhileBeingAuthorizedNeverConnects(t *testing.T) {
	srv, url := serve(t, nil)
	asked, ended := make(chan struct{}), make(chan struct{})
	srv.Handle("/", socketio.Hooks{
		Authorize: func(ctx context.Context, _ *socketio.ConnectRequest) error {
			close(asked)
			<-ctx.Done()
			close(ended)
			return nil
		},
		Connect:    func(context.Context, *socketio.Socket) { t.Error("Connect ran") },
		Disconnect: func(*socketio.Socket, socketio.Reason) { t.Error("Disconnect ran") },
	})
	p := dial(t, url)
	p.send(`0`)
	within(t, asked)
	p.wire.close()
	within(t, ended)
	eventually(t, "no sessions", func() bool { return srv.Stats().Sessions == 0 })
	if n := srv.Namespace("/").Len(); n != 0 {
		t.Errorf("%d sockets left", n)
	}
}

func TestEveryConnectThatIsRefusedIsAnswered(t *testing.T) {
	srv, url := serve(t, nil)
	srv.Handle("/", socketio.Hooks{
		Authorize: func(_ context.Context, r *socketio.ConnectRequest) error {
			if r.Auth == nil {
				return nil
			}
			return errors.New("no")
		},
	})
	p := dial(t, url)
	for range 10 {
		p.send(`0{"x":1}`)
	}
	for range 10 {
		p.expect(`4{"message":"no"}`)
	}
	p.join("/")
}

func TestAnotherConnectTakesThePlaceOfTheOneBeingAuthorized(t *testing.T) {
	srv, url := serve(t, nil)
	var answers []string
	srv.Handle("/", socketio.Hooks{
		Authorize: func(ctx context.Context, r *socketio.ConnectRequest) error {
			if string(r.Auth) == `{"first":true}` {
				<-ctx.Done()
			}
			return nil
		},
		Event: echo(nil),
	})
	p := dial(t, url)
	p.send(`0{"first":true}`, `0{"second":true}`)
	answers = append(answers, p.next())
	p.expectNothing()
	if !strings.HasPrefix(answers[0], `0{"sid"`) {
		t.Error(answers)
	}
}

func TestPacketsOutOfPlaceEndTheConnection(t *testing.T) {
	reasons := make(chan socketio.Reason, 1)
	srv, url := serve(t, nil)
	srv.Handle("/", socketio.Hooks{
		Event:      echo(nil),
		Error:      func(_ *socketio.Socket, err error) { t.Error("error hook:", err) },
		Disconnect: func(_ *socketio.Socket, why socketio.Reason) { reasons <- why },
	})
	srv.Handle("/other", socketio.Hooks{})
	for name, packets := range map[string][]string{
		"second CONNECT":           {`0`},
		"CONNECT_ERROR":            {`4{"message":"x"}`},
		"event for another":        {`2/other,["echo"]`},
		"ack for another":          {`3/other,1[]`},
		"DISCONNECT for another":   {`1/other,`},
		"event for what is not":    {`2/nowhere,["x"]`},
		"DISCONNECT for what isnt": {`1/nowhere,`},
		"bare event for another":   {`2/other`},
		"bare ack for another":     {`3/other,1`},
		"unterminated namespace":   {`2/other["x"]`},
	} {
		t.Run(name, func(t *testing.T) {
			p := dial(t, url)
			p.join("/")
			p.send(packets...)
			p.expectClosed()
			if why := within(t, reasons); why != socketio.ReasonForcedClose {
				t.Errorf("reason %q", why)
			}
		})
	}
	t.Run("event after DISCONNECT", func(t *testing.T) {
		p := dial(t, url)
		p.join("/")
		p.join("/other")
		p.send(`1/other,`, `21["echo"]`)
		p.expect(`31[]`)
		p.send(`2/other,["x"]`)
		p.expectClosed()
		within(t, reasons)
	})
	for _, packet := range []string{`2["echo"]`, `31[]`, `1`, `4{"message":"x"}`} {
		p := dial(t, url)
		p.send(packet)
		p.expectClosed()
	}
}

func TestAClientThatLeftMayJoinAgain(t *testing.T) {
	srv, url := serve(t, nil)
	srv.Handle("/", socketio.Hooks{Event: echo(nil)})
	transports(t, func(t *testing.T, connect func(testing.TB, string) *peer) {
		p := connect(t, url)
		first := p.join("/")
		p.send(`1`)
		if second := p.join("/"); second == first {
			t.Error("the socket id is the one it had")
		}
	})
}

func TestNamespacesByPatternComeAndGo(t *testing.T) {
	srv, url := serve(t, nil)
	srv.HandleFunc(func(name string) bool { return strings.HasPrefix(name, "/dynamic-") }, socketio.Hooks{
		Authorize: func(_ context.Context, r *socketio.ConnectRequest) error {
			if r.Namespace == "/dynamic-closed" {
				return socketio.ErrInvalidNamespace()
			}
			return nil
		},
		Connect: func(ctx context.Context, s *socketio.Socket) {
			s.Emit(ctx, "dynamic", socketio.String(s.Namespace().Name()))
		},
	})
	p, q := dial(t, url), dial(t, url)
	p.join("/dynamic-1")
	p.expect(`2/dynamic-1,["dynamic","/dynamic-1"]`)
	q.join("/dynamic-2")
	q.expect(`2/dynamic-2,["dynamic","/dynamic-2"]`)
	srv.Namespace("/dynamic-1").Emit(ctx, "hello")
	p.expect(`2/dynamic-1,["hello"]`)
	p.send(`0/dynamic-closed`)
	p.expect(`4/dynamic-closed,{"message":"Invalid namespace"}`)
	p.send(`0/static`)
	p.expect(`4/static,{"message":"Invalid namespace"}`)
	p.send(`1/dynamic-1,`)
	eventually(t, "one namespace", func() bool { return len(srv.Namespaces()) == 1 })
	if srv.Namespace("/dynamic-closed") != nil || srv.Namespace("/dynamic-2") == nil {
		t.Error("the wrong namespaces are left")
	}
	q.wire.close()
	eventually(t, "no namespace", func() bool { return len(srv.Namespaces()) == 0 })
}

func TestAClientIsInNoMoreNamespacesThanAllowed(t *testing.T) {
	srv, url := serve(t, func(c *socketio.Config) { c.MaxNamespaces = 2 })
	block := make(chan struct{})
	t.Cleanup(func() { close(block) })
	srv.HandleFunc(func(name string) bool { return true }, socketio.Hooks{
		Authorize: func(_ context.Context, r *socketio.ConnectRequest) error {
			if strings.HasPrefix(r.Namespace, "/slow") {
				<-block
			}
			return nil
		},
	})
	joining := dial(t, url)
	joining.join("/a")
	joining.join("/b")
	joining.send(`0/c`)
	joining.expectClosed()
	knocking := dial(t, url)
	knocking.send(`0/slow`, `0/slow`, `0/slow`)
	knocking.expectClosed()
}

func TestWhoWasDisconnectedIsInNoNamespace(t *testing.T) {
	srv, url := serve(t, func(c *socketio.Config) { c.MaxNamespaces = 2 })
	p := dial(t, url)
	for _, name := range []string{"/a", "/b", "/c", "/b"} {
		n := srv.Namespace(name)
		if n == nil {
			n = srv.Handle(name, socketio.Hooks{Authorize: func(context.Context, *socketio.ConnectRequest) error { return nil }})
		}
		n.Socket(p.join(name)).Disconnect()
		p.expect(`1` + name + `,`)
	}
}

func TestConnectRunsAfterTheAnswerAndBeforeEvents(t *testing.T) {
	srv, url := serve(t, nil)
	var order []string
	srv.Handle("/", socketio.Hooks{
		Connect: func(ctx context.Context, s *socketio.Socket) {
			s.Emit(ctx, "hello")
			order = append(order, "connect")
		},
		Event: echo(socketio.Mux{"x": func(context.Context, *socketio.Socket, *socketio.Event) error {
			order = append(order, "x")
			return nil
		}}),
	})
	p := dial(t, url)
	p.join("/")
	p.send(`2["x"]`)
	p.expect(`2["hello"]`)
	p.expectNothing()
	if !slices.Equal(order, []string{"connect", "x"}) {
		t.Error(order)
	}
}

func TestASocketThatTakesNoEventsGetsOnlyItsOwn(t *testing.T) {
	srv, url := serve(t, func(c *socketio.Config) { c.Recovery.Window = time.Minute })
	n := srv.Handle("/", socketio.Hooks{Authorize: func(_ context.Context, r *socketio.ConnectRequest) error {
		r.NoEvents, r.Rooms = string(r.Auth) == `{"silent":true}`, []string{"room"}
		return nil
	}})
	silent := dial(t, url)
	silent.send(`0{"silent":true}`)
	if answer := silent.next(); strings.Contains(answer, "pid") || !strings.HasPrefix(answer, `0{"sid":"`) {
		t.Fatalf("joined with %s", answer)
	}
	if n.Listening() || n.Len() != 1 {
		t.Errorf("listening %v with %d sockets", n.Listening(), n.Len())
	}
	other := dial(t, url)
	other.join("/")
	if !n.Listening() {
		t.Error("nobody listens")
	}
	answered := make(chan error, 1)
	go func() {
		answers, err := n.To("room").Call(ctx, "asked")
		if err == nil && len(answers) != 1 {
			err = fmt.Errorf("%d answers", len(answers))
		}
		answered <- err
	}()
	asked := other.next()
	if !strings.Contains(asked, `["asked"`) {
		t.Fatalf("got %s", asked)
	}
	other.send(`3` + asked[1:strings.Index(asked, "[")] + `[]`)
	if err := within(t, answered); err != nil {
		t.Error(err)
	}
	for _, sel := range []socketio.Selection{n.To("room"), n.Except("nowhere"), n.Volatile()} {
		if err := sel.Emit(ctx, "all"); err != nil {
			t.Fatal(err)
		}
	}
	for _, s := range n.Sockets() {
		if err := s.Emit(ctx, "own"); err != nil {
			t.Fatal(err)
		}
	}
	if got := silent.next(); !strings.HasPrefix(got, `2["own"`) {
		t.Errorf("it got %s", got)
	}
}

func TestAuthIsBounded(t *testing.T) {
	seen := make(chan struct{}, 10)
	srv, url := serve(t, func(c *socketio.Config) { c.MaxConnect = 100 })
	srv.Handle("/", socketio.Hooks{})
	srv.Handle("/bounded", socketio.Hooks{Authorize: func(context.Context, *socketio.ConnectRequest) error {
		seen <- struct{}{}
		return nil
	}})
	p := dial(t, url)
	p.join("/")
	p.send(`0/bounded,{"a":"` + strings.Repeat("x", 93) + `"}`)
	p.expect(`4/bounded,{"message":"auth has 101 bytes, at most 100 are allowed"}`)
	if len(seen) != 0 {
		t.Error("the hook was asked")
	}
	p.joinWith("/bounded", `{"a":"`+strings.Repeat("x", 92)+`"}`)
}
