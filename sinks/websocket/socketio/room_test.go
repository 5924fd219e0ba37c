package socketio_test

import (
	"context"
	"slices"
	"testing"

	"github.com/evosink/evosink/sinks/websocket/socketio"
)

// members are three peers, by name, on different transports.
func members(t *testing.T, url string, n *socketio.Namespace) (peers map[string]*peer, sockets map[string]*socketio.Socket) {
	peers = map[string]*peer{"a": dial(t, url), "b": poll(t, url), "c": dial(t, url)}
	sockets = make(map[string]*socketio.Socket)
	for name, p := range peers {
		sockets[name] = n.Socket(p.join(n.Name()))
	}
	return peers, sockets
}

func TestBroadcastsReachThoseSelectedOnce(t *testing.T) {
	srv, url := serve(t, nil)
	n := srv.Handle("/", socketio.Hooks{Event: echo(nil)})
	elsewhere := srv.Handle("/elsewhere", socketio.Hooks{Event: echo(nil)})
	peers, s := members(t, url, n)
	stranger := dial(t, url)
	elsewhere.Socket(stranger.join("/elsewhere")).Join("r1", "r2")
	s["a"].Join("r1", "r2")
	s["b"].Join("r1", "r1")
	s["b"].Join("left")
	s["b"].Leave("left", "never in it")
	for name, c := range map[string]struct {
		sel  socketio.Selection
		want []string
	}{
		"all":                  {n.To(), []string{"a", "b", "c"}},
		"room":                 {n.To("r1"), []string{"a", "b"}},
		"union":                {n.To("r1", "r2").To("r2"), []string{"a", "b"}},
		"own id":               {n.To(s["c"].ID()), []string{"c"}},
		"id and room":          {n.To(s["a"].ID(), "r1"), []string{"a", "b"}},
		"nobody":               {n.To("left"), nil},
		"except":               {n.Except("r1"), []string{"c"}},
		"except id":            {n.Except(s["c"].ID(), "nothing"), []string{"a", "b"}},
		"room except":          {n.To("r1").Except("r2"), []string{"b"}},
		"others":               {s["a"].Broadcast(), []string{"b", "c"}},
		"others in room":       {s["a"].To("r1"), []string{"b"}},
		"outsider to room":     {s["c"].To("r1", "r2"), []string{"a", "b"}},
		"others in several":    {s["b"].To("r2").To("r1"), []string{"a"}},
		"sender out by its id": {s["a"].To(s["a"].ID()), nil},
	} {
		if got := len(c.sel.Sockets()); got != len(c.want) {
			t.Errorf("%s: selects %d sockets", name, got)
		}
		if err := c.sel.Emit(ctx, name, socketio.Binary([]byte(name))); err != nil {
			t.Error(name, err)
		}
		for peerName, p := range peers {
			if slices.Contains(c.want, peerName) {
				p.expect(`51-["`+name+`",{"_placeholder":true,"num":0}]`, "<"+name+">")
			}
		}
	}
	for _, p := range peers {
		p.expectNothing()
	}
	stranger.send(`2/elsewhere,1["echo"]`)
	stranger.expect(`3/elsewhere,1[]`)
}

func TestASocketIsInItsRoomsAndInThatOfItsID(t *testing.T) {
	srv, url := serve(t, nil)
	last := make(chan []string, 1)
	n := srv.Handle("/", socketio.Hooks{
		Authorize: func(_ context.Context, r *socketio.ConnectRequest) error {
			r.Rooms = []string{"from the start"}
			if string(r.Auth) == `{"bad":true}` {
				return &socketio.ConnectError{Message: "no"}
			}
			return nil
		},
		Disconnecting: func(s *socketio.Socket, _ socketio.Reason) { last <- s.Rooms() },
	})
	p := dial(t, url)
	p.send(`0{"bad":true}`)
	p.expect(`4{"message":"no"}`)
	if got := n.To("from the start").Sockets(); len(got) != 0 {
		t.Error("who was refused is in a room")
	}
	id := p.join("/")
	s := n.Socket(id)
	s.Join("x", id, "y")
	s.Leave("x")
	want := []string{id, "from the start", "y"}
	if got := s.Rooms(); !slices.Equal(got, want) {
		t.Errorf("rooms %q", got)
	}
	p.wire.close()
	if got := within(t, last); !slices.Equal(got, want) {
		t.Errorf("rooms seen while disconnecting %q", got)
	}
	if len(n.To("y", id).Sockets()) != 0 || n.Len() != 0 || n.Socket(id) != nil {
		t.Error("the rooms still hold who left")
	}
	s.Join("z")
	if len(n.To("z").Sockets()) != 0 {
		t.Error("who has left joined a room")
	}
}

func TestVolatileEventsAreLostByWhoCannotTakeThem(t *testing.T) {
	srv, url := serve(t, nil)
	n := srv.Handle("/", socketio.Hooks{Event: echo(nil)})
	ready := dial(t, url)
	ready.join("/")
	w := pollWire(t, url)
	defer w.close()
	w.send("40")
	w.do("GET", "") // the answer; no poll is pending now
	n.Volatile().Emit(ctx, "lost")
	n.Emit(ctx, "kept")
	for _, s := range n.Sockets() {
		s.EmitVolatile(ctx, "lost")
		s.Emit(ctx, "kept too")
	}
	dial(t, url).join("/") // is told when all that has been done
	if body, err := w.do("GET", ""); err != nil || body != `42["kept"]`+"\x1e"+`42["kept too"]` {
		t.Error(body, err)
	}
	ready.expect(`2["lost"]`, `2["kept"]`, `2["lost"]`, `2["kept too"]`)
}

func TestFiltersChooseBroadcastsByName(t *testing.T) {
	srv, url := serve(t, nil)
	n := srv.Handle("/", socketio.Hooks{
		Authorize: func(_ context.Context, r *socketio.ConnectRequest) error {
			if r.Auth != nil {
				r.Filter = func(event string) bool { return event == "wanted" || event == "also" }
			}
			return nil
		},
		Event: echo(nil),
	})
	picky, all := dial(t, url), dial(t, url)
	s := n.Socket(picky.joinWith("/", `{}`).SID)
	all.join("/")
	var want []string
	for range 100 {
		for _, name := range []string{"wanted", "unwanted", "also"} {
			n.Emit(ctx, name)
			if name != "unwanted" {
				want = append(want, `2["`+name+`"]`)
			}
		}
	}
	n.To(s.ID()).Emit(ctx, "unwanted")
	s.Emit(ctx, "unwanted")
	n.Volatile().Emit(ctx, "unwanted")
	n.Emit(ctx, "wanted")
	picky.expect(append(want, `2["unwanted"]`, `2["wanted"]`)...)
	picky.expectNothing()
	for range 100 {
		all.expect(`2["wanted"]`, `2["unwanted"]`, `2["also"]`)
	}
}
