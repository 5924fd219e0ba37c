package socketio_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/evosink/evosink/sinks/websocket/socketio"
)

// recovering starts a server with recovery and a namespace "/" whose Connect
// hook does not emit.
func recovering(t *testing.T, adjust func(*socketio.Config), hooks socketio.Hooks) (*socketio.Namespace, string) {
	srv, url := serve(t, func(c *socketio.Config) {
		c.Recovery.Window = time.Minute
		c.Recovery.SkipAuthorize = true
		if adjust != nil {
			adjust(c)
		}
	})
	if hooks.Event == nil {
		hooks.Event = echo(nil)
	}
	return srv.Handle("/", hooks), url
}

// offset cuts the offset off an event, and returns the rest too.
func offset(t testing.TB, packet string) (rest, offset string) {
	t.Helper()
	i := strings.LastIndex(packet, `"`)
	j := strings.LastIndex(packet[:max(i, 0)], `"`)
	if j < 1 || packet[i:] != `"]` {
		t.Fatalf("no offset in %s", packet)
	}
	return packet[:j-1] + "]", packet[j+1 : i]
}

// expectEvent reads an event with an offset, which it returns.
func (p *peer) expectEvent(want string) string {
	p.t.Helper()
	got, off := offset(p.t, p.next())
	if got != want {
		p.t.Fatalf("got %s, want %s", got, want)
	}
	return off
}

// comeBack joins "/" with auth, and expects what it missed before the answer.
// It returns the offset of the last event.
func (p *peer) comeBack(auth string, missed ...string) (g greeting, last string) {
	p.t.Helper()
	p.send("0" + auth)
	for _, want := range missed {
		if strings.HasPrefix(want, "<") {
			p.expect(want)
		} else {
			last = p.expectEvent(want)
		}
	}
	return p.greeting("0"), last
}

// answer is the answer to the CONNECT of a client that is recovered.
func answer(g greeting) string { return fmt.Sprintf(`0{"sid":%q,"pid":%q}`, g.SID, g.PID) }

func ticket(pid, offset string) string {
	b, _ := json.Marshal(map[string]string{"pid": pid, "offset": offset})
	return string(b)
}

// lose cuts p's connection, and waits until the server has noticed.
func (p *peer) lose(n *socketio.Namespace, id string) {
	p.t.Helper()
	p.wire.close()
	eventually(p.t, "the socket gone", func() bool { return n.Socket(id) == nil })
}

func TestMoreIsRecoveredThanMayWaitForAClient(t *testing.T) {
	n, url := recovering(t, func(c *socketio.Config) { c.Engine.MaxQueueBytes = 50_000 }, socketio.Hooks{
		Connect: func(ctx context.Context, s *socketio.Socket) {
			if s.Recovered() {
				s.Emit(ctx, "welcome back")
			}
		},
	})
	transports(t, func(t *testing.T, connect func(testing.TB, string) *peer) {
		p := connect(t, url)
		g := p.joinWith("/", "")
		n.Emit(ctx, "first")
		last := p.expectEvent(`2["first"]`)
		p.lose(n, g.SID)
		large := strings.Repeat("x", 10_000)
		for range 20 {
			if err := n.Emit(ctx, "missed", socketio.String(large)); err != nil {
				t.Fatal(err)
			}
		}
		again := connect(t, url)
		missed := slices.Repeat([]string{`2["missed","` + large + `"]`}, 20)
		if got, _ := again.comeBack(ticket(g.PID, last), missed...); got != g {
			t.Fatalf("not recovered: %+v", got)
		}
		again.expectEvent(`2["welcome back"]`)
	})
}

func TestWhatTheClientDidBeforeItsConnectionWasLostCounts(t *testing.T) {
	goOn := make(chan bool)
	srv, url := serve(t, func(c *socketio.Config) { c.Recovery.Window = time.Minute })
	n := srv.Handle("/", socketio.Hooks{Event: socketio.Mux{
		"wait": func(context.Context, *socketio.Socket, *socketio.Event) error {
			<-goOn
			return nil
		},
		"join": func(_ context.Context, s *socketio.Socket, e *socketio.Event) error {
			s.Join("room")
			s.SetData("data")
			return nil
		},
	}.Serve})
	for behind, recovered := range map[string]bool{`2["join"]`: true, `1`: false} {
		p := dial(t, url)
		g := p.joinWith("/", "")
		n.Emit(ctx, "seen")
		last := p.expectEvent(`2["seen"]`)
		received := srv.Stats().Received
		p.send(`2["wait"]`, behind)
		eventually(t, "both packets", func() bool { return srv.Stats().Received == received+2 })
		p.wire.close()
		eventually(t, "the end of the session", func() bool { return srv.Stats().Sessions == 0 })
		goOn <- true
		eventually(t, "the socket gone", func() bool { return n.Socket(g.SID) == nil })

		again := dial(t, url)
		if got := again.joinWith("/", ticket(g.PID, last)); (got == g) != recovered {
			t.Errorf("%s: recovered %v, want %v", behind, got == g, recovered)
		}
		if s := n.Socket(g.SID); recovered && (s == nil || s.Data() != "data" || len(s.Rooms()) != 2) {
			t.Errorf("%s: came back to %v", behind, s)
		}
		again.wire.close()
		eventually(t, "the end of the session", func() bool { return srv.Stats().Sessions == 0 })
	}
}

func TestAClientComesBackToSeveralNamespacesWhateverItMissed(t *testing.T) {
	srv, url := serve(t, func(c *socketio.Config) {
		c.Recovery.Window = time.Minute
		c.Engine.MaxQueueBytes = 50_000
	})
	names := []string{"/a", "/b"}
	p := dial(t, url)
	greetings, offsets := map[string]greeting{}, map[string]string{}
	for _, name := range names {
		n := srv.Handle(name, socketio.Hooks{})
		greetings[name] = p.joinWith(name, "")
		n.Emit(ctx, "seen")
		_, offsets[name] = offset(t, p.next())
	}
	p.wire.close()
	large := strings.Repeat("x", 10_000)
	for _, name := range names {
		n := srv.Namespace(name)
		eventually(t, "nobody in "+name, func() bool { return n.Len() == 0 })
		for range 20 {
			n.Emit(ctx, "missed", socketio.String(large))
		}
	}
	again := poll(t, url)
	for _, name := range names {
		again.send(`0` + name + `,` + ticket(greetings[name].PID, offsets[name]))
	}
	for _, name := range names {
		for range 20 {
			again.expectEvent(`2` + name + `,["missed","` + large + `"]`)
		}
		if got := again.greeting(`0` + name + `,`); got != greetings[name] {
			t.Errorf("not recovered in %s", name)
		}
	}
}

func TestWhoHasComeBackTakesNoPlaceOfTheAbsent(t *testing.T) {
	n, url := recovering(t, func(c *socketio.Config) { c.Recovery.TakeOver, c.Recovery.MaxSessions = true, 3 }, socketio.Hooks{})
	absent, restless := dial(t, url), dial(t, url)
	away, here := absent.joinWith("/", ""), restless.joinWith("/", "")
	n.Emit(ctx, "seen")
	last := absent.expectEvent(`2["seen"]`)
	absent.lose(n, away.SID)
	for range 20 {
		restless = dial(t, url)
		if g, _ := restless.comeBack(ticket(here.PID, last)); g != here {
			t.Fatal("who takes itself over is not recovered")
		}
	}
	if g, _ := dial(t, url).comeBack(ticket(away.PID, last)); g != away {
		t.Error("the only one that was absent is forgotten")
	}
}

func TestALostClientComesBackWhileItsHookStillRuns(t *testing.T) {
	goOn := make(chan bool)
	n, url := recovering(t, nil, socketio.Hooks{Event: func(context.Context, *socketio.Socket, *socketio.Event) error {
		<-goOn
		return nil
	}})
	p := dial(t, url)
	g := p.joinWith("/", "")
	n.Emit(ctx, "seen")
	last := p.expectEvent(`2["seen"]`)
	p.send(`2["x"]`)
	p.wire.close()
	eventually(t, "the client to be recovered", func() bool {
		again := dial(t, url) // before the server knows that the other one is lost it is a new one
		got, _ := again.comeBack(ticket(g.PID, last))
		return got == g
	})
	close(goOn)
}

func TestAClientThatComesBackGetsWhatItMissed(t *testing.T) {
	recovered := make(chan bool, 2)
	n, url := recovering(t, nil, socketio.Hooks{
		Authorize: func(_ context.Context, r *socketio.ConnectRequest) error {
			if r.Data != nil || r.Recovering {
				t.Error("asked about a client that is recovered")
			}
			r.Data = "data of the start"
			return nil
		},
		Connect: func(_ context.Context, s *socketio.Socket) { recovered <- s.Recovered() },
	})
	transports(t, func(t *testing.T, connect func(testing.TB, string) *peer) {
		p := connect(t, url)
		g := p.joinWith("/", "")
		if g.PID == "" || g.PID == g.SID || within(t, recovered) {
			t.Fatalf("greeting %+v", g)
		}
		s := n.Socket(g.SID)
		s.Join("room")
		s.SetData("new data")
		n.Emit(ctx, "seen", num(1))
		off := p.expectEvent(`2["seen",1]`)
		p.lose(n, g.SID)

		n.Emit(ctx, "all", socketio.Binary([]byte("bin")))
		n.To("room").Emit(ctx, "room")
		n.To("other").Emit(ctx, "not for it")
		n.To("room", "other").Except("room").Emit(ctx, "excepted")
		n.Except(g.SID).Emit(ctx, "excepted")
		n.To(g.SID).Emit(ctx, "own id")
		n.Volatile().Emit(ctx, "volatile")
		n.To("room", g.SID).Emit(ctx, "once")

		q := connect(t, url)
		again, _ := q.comeBack(ticket(g.PID, off),
			`51-["all",{"_placeholder":true,"num":0}]`, "<bin>", `2["room"]`, `2["own id"]`, `2["once"]`)
		if again != g {
			t.Fatalf("was %+v, is %+v", g, again)
		}
		if !within(t, recovered) {
			t.Error("the hook sees a new socket")
		}
		n.To("room").Emit(ctx, "live")
		q.expectEvent(`2["live"]`)
		q.expectNothing()
		if s := n.Socket(g.SID); s.Data() != "new data" || len(s.Rooms()) != 2 {
			t.Errorf("data %v, rooms %q", s.Data(), s.Rooms())
		}
	})
}

func TestEveryEventHasAnOffsetUnlessItIsVolatileOrAsks(t *testing.T) {
	n, url := recovering(t, nil, socketio.Hooks{})
	p := dial(t, url)
	s := n.Socket(p.join("/"))
	last := ""
	for i := range 50 {
		if i%2 == 0 {
			n.Emit(ctx, "x")
		} else {
			s.Emit(ctx, "x")
		}
		off := p.expectEvent(`2["x"]`)
		if off <= last {
			t.Fatalf("offset %s after %s", off, last)
		}
		last = off
	}
	s.EmitVolatile(ctx, "v", num(1))
	p.expect(`2["v",1]`)
	n.Volatile().Emit(ctx, "v", num(2))
	p.expect(`2["v",2]`)
	if _, err := s.Request(ctx, "ask", num(3)); err != nil {
		t.Error(err)
	}
	p.expect(`20["ask",3]`)
	p.send(`20["echo"]`)
	p.expect(`30[]`)
}

func TestWhoCannotBeRecoveredIsNew(t *testing.T) {
	n, url := recovering(t, func(c *socketio.Config) { c.Recovery.MaxBytes, c.Recovery.MaxSessions = 5_000, 2 }, socketio.Hooks{})
	lost := func() (g greeting, off string) {
		p := dial(t, url)
		g = p.joinWith("/", "")
		n.Emit(ctx, "x")
		off = p.expectEvent(`2["x"]`)
		p.lose(n, g.SID)
		return g, off
	}
	isNew := func(why string, g greeting, auth string) {
		t.Helper()
		p := dial(t, url)
		again := p.joinWith("/", auth)
		if again.SID == g.SID || again.PID == g.PID {
			t.Errorf("%s: was recovered", why)
		}
		p.expectNothing()
		p.send("1")
		p.lose(n, again.SID)
	}
	g, off := lost()
	isNew("unknown pid", g, ticket("x", off))
	isNew("sid as pid", g, ticket(g.SID, off))
	isNew("unknown offset", g, ticket(g.PID, "x"))
	isNew("offset of another server", g, ticket(g.PID, off[:10]+"AAAAAAAA"))
	isNew("offset of the future", g, ticket(g.PID, "zzzzzzzzzz"+off[10:]))
	isNew("offset of another event", g, ticket(g.PID, "0000000000"+off[10:]))
	isNew("offset cut short", g, ticket(g.PID, off[:len(off)-1]))
	isNew("offset with more behind it", g, ticket(g.PID, off+"A"))
	isNew("offset with more before it", g, ticket(g.PID, "0"+off))
	isNew("number alone", g, ticket(g.PID, off[:10]))
	isNew("number by its sign", g, ticket(g.PID, "+"+off[1:]))
	for _, altered := range []string{strings.ToUpper(off), off[:len(off)-1] + "A", off[:len(off)-1] + "_"} {
		if altered != off {
			isNew("offset altered", g, ticket(g.PID, altered))
		}
	}
	isNew("pid alone", g, `{"pid":"`+g.PID+`"}`)
	isNew("pid no string", g, `{"pid":1,"offset":"`+off+`"}`)
	isNew("offset null", g, `{"pid":"`+g.PID+`","offset":null}`)
	isNew("names in capitals", g, `{"PID":"`+g.PID+`","OFFSET":"`+off+`"}`)
	p := dial(t, url)
	withOthers := strings.TrimSuffix(ticket(g.PID, off), "}") + `,"PID":"x","Offset":1}`
	if again := p.joinWith("/", withOthers); again != g {
		t.Fatal("was not recovered after all that")
	}
	isNew("pid in use", g, ticket(g.PID, off))
	p.send(`1`) // leaves for good
	p.lose(n, g.SID)
	isNew("left by itself", g, ticket(g.PID, off))

	g, off = lost()
	n.Emit(ctx, "x", socketio.String(strings.Repeat("x", 5_000)))
	isNew("missed more than is kept", g, ticket(g.PID, off))

	g, off = lost()
	lost()
	lost()
	isNew("too many absent", g, ticket(g.PID, off))

	q := dial(t, url)
	g = q.joinWith("/", "")
	n.Emit(ctx, "x")
	off = q.expectEvent(`2["x"]`)
	n.Socket(g.SID).Disconnect()
	q.expect("1")
	isNew("server disconnect", g, ticket(g.PID, off))
}

func TestTheWindowEnds(t *testing.T) {
	n, url := recovering(t, func(c *socketio.Config) { c.Recovery.Window = 50 * time.Millisecond }, socketio.Hooks{})
	p := dial(t, url)
	g := p.joinWith("/", "")
	n.Emit(ctx, "x")
	off := p.expectEvent(`2["x"]`)
	p.lose(n, g.SID)
	time.Sleep(60 * time.Millisecond) // the window itself
	if again := dial(t, url).joinWith("/", ticket(g.PID, off)); again.SID == g.SID {
		t.Error("was recovered")
	}
}

func TestARecoverableEndIsRecovered(t *testing.T) {
	n, url := recovering(t, nil, socketio.Hooks{Event: echo(socketio.Mux{
		"drop": func(_ context.Context, s *socketio.Socket, _ *socketio.Event) error { s.Client().Drop(); return nil },
	})})
	for _, last := range []string{`42["drop"]`, `49`, `40`, `2`} {
		p := dial(t, url)
		g := p.joinWith("/", "")
		n.Emit(ctx, "x")
		off := p.expectEvent(`2["x"]`)
		p.wire.send(last)
		p.lose(n, g.SID)
		if again := dial(t, url).joinWith("/", ticket(g.PID, off)); again != g {
			t.Errorf("not after %s", last)
		}
	}
}

func TestAuthorizeMayHaveASayInRecovery(t *testing.T) {
	n, url := recovering(t, func(c *socketio.Config) { c.Recovery.SkipAuthorize = false }, socketio.Hooks{
		Authorize: func(_ context.Context, r *socketio.ConnectRequest) error {
			var auth struct{ Token string }
			json.Unmarshal(r.Auth, &auth)
			if auth.Token != "right" {
				return &socketio.ConnectError{Message: "revoked"}
			}
			if r.Recovering {
				r.Data = fmt.Sprint(r.Data, " again")
				r.Rooms = append(r.Rooms, "second")
			} else {
				r.Data, r.Rooms = "first", []string{"first"}
				r.Filter = func(name string) bool { return name != "unwanted" }
			}
			return nil
		},
	})
	p := dial(t, url)
	g := p.joinWith("/", `{"token":"right"}`)
	n.Emit(ctx, "x")
	off := p.expectEvent(`2["x"]`)
	p.lose(n, g.SID)
	n.Emit(ctx, "unwanted")
	n.Emit(ctx, "wanted")
	q := dial(t, url)
	q.send(`0` + ticket(g.PID, off))
	q.expect(`4{"message":"revoked"}`)
	withToken := strings.TrimSuffix(ticket(g.PID, off), "}") + `,"token":"right"}`
	if again, _ := q.comeBack(withToken, `2["wanted"]`); again != g {
		t.Fatal("was not recovered")
	}
	q.expectNothing()
	if s := n.Socket(g.SID); s.Data() != "first again" || strings.Join(s.Rooms()[1:], " ") != "first second" {
		t.Errorf("data %v, rooms %q", s.Data(), s.Rooms())
	}
}

func TestAClientMayTakeOverItsOwnOldConnection(t *testing.T) {
	left := make(chan string, 2)
	n, url := recovering(t, func(c *socketio.Config) { c.Recovery.TakeOver = true }, socketio.Hooks{
		Disconnect: func(s *socketio.Socket, why socketio.Reason) { left <- s.ID() + string(why) },
	})
	p := dial(t, url)
	g := p.joinWith("/", "")
	n.Socket(g.SID).Join("room")
	n.Emit(ctx, "x")
	off := p.expectEvent(`2["x"]`)
	n.To("room").Emit(ctx, "lost on the way")
	p.next()
	q := dial(t, url)
	if again, _ := q.comeBack(ticket(g.PID, off), `2["lost on the way"]`); again != g {
		t.Fatal("was not recovered")
	}
	p.expectClosed()
	if got := within(t, left); got != g.SID+string(socketio.ReasonForcedServerClose) {
		t.Error(got)
	}
	n.To("room").Emit(ctx, "live")
	q.expectEvent(`2["live"]`)
	q.expectNothing()
}

func TestAClientThatMissedNothingIsRecoveredHoweverOldItsOffset(t *testing.T) {
	n, url := recovering(t, func(c *socketio.Config) { c.Recovery.MaxBytes = 1 }, socketio.Hooks{}) // keeps no event at all
	p := dial(t, url)
	g := p.joinWith("/", "")
	n.Emit(ctx, "x")
	off := p.expectEvent(`2["x"]`)
	p.lose(n, g.SID)
	if again := dial(t, url).joinWith("/", ticket(g.PID, off)); again != g {
		t.Error("was not recovered")
	}
}

func TestWhoComesBackIntoAStreamMissesNothing(t *testing.T) {
	n, url := recovering(t, nil, socketio.Hooks{})
	stop := stream(func(i int) { n.Emit(ctx, "n", num(i)) })
	p := dial(t, url)
	g := p.joinWith("/", "")
	next := -1
	var off string
	for round := range 20 {
		for seen := 0; seen < 20; seen++ {
			packet := p.next()
			if strings.HasPrefix(packet, "0") {
				if packet != answer(g) {
					t.Fatalf("was not recovered: %s", packet)
				}
				seen--
				continue
			}
			var event string
			event, off = offset(t, packet)
			var got int
			fmt.Sscanf(event, `2["n",%d]`, &got)
			if next >= 0 && got != next {
				t.Fatalf("round %d: got %d, want %d", round, got, next)
			}
			next = got + 1
		}
		p.lose(n, g.SID)
		p = dial(t, url)
		p.send("0" + ticket(g.PID, off))
	}
	stop()
}

func TestADynamicNamespaceStaysForThoseWhoMayComeBack(t *testing.T) {
	srv, url := serve(t, func(c *socketio.Config) { c.Recovery.Window = time.Minute })
	srv.HandleFunc(func(string) bool { return true }, socketio.Hooks{})
	p := dial(t, url)
	g := p.joinWith("/d", "")
	n := srv.Namespace("/d")
	n.Emit(ctx, "x")
	_, off := offset(t, p.next())
	p.lose(n, g.SID)
	n.Emit(ctx, "y")
	q := dial(t, url)
	q.send("0/d," + ticket(g.PID, off))
	q.expectEvent(`2/d,["y"]`)
	if again := q.greeting("0/d,"); again != g {
		t.Fatal("was not recovered")
	}
	q.send("1/d,")
	eventually(t, "no namespace", func() bool { return len(srv.Namespaces()) == 0 })
}

func TestAuthorizeSeesWhoCannotBeRecovered(t *testing.T) {
	refused := make(chan bool, 1)
	n, url := recovering(t, func(c *socketio.Config) { c.Recovery.SkipAuthorize = false }, socketio.Hooks{
		Authorize: func(_ context.Context, r *socketio.ConnectRequest) error { refused <- r.Refused(); return nil },
	})
	p := dial(t, url)
	g := p.joinWith("/", `{"offset":"x"}`)
	n.Emit(ctx, "x")
	off := p.expectEvent(`2["x"]`)
	if within(t, refused) {
		t.Error("a client that presents nothing is refused")
	}
	p.lose(n, g.SID)
	dial(t, url).joinWith("/", ticket("unknown", off))
	if !within(t, refused) {
		t.Error("an unknown id is not refused")
	}
	dial(t, url).joinWith("/", ticket(g.PID, off))
	if within(t, refused) {
		t.Error("a client that is recovered is refused")
	}
}
