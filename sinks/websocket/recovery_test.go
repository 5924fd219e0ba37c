package websocket_test

import (
	"io"
	"net"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/evosink/evosink/core/sink/sinktest"
)

// A network is a way to a server that can stop carrying anything, without telling either side.
type network struct {
	listener net.Listener
	target   string
	silent   atomic.Bool
	tasks    sync.WaitGroup
	mu       sync.Mutex
	// mu guards the field below.
	conns []net.Conn
}

// newNetwork returns a way to the server, and that server as it is seen from there.
func newNetwork(t *testing.T, server *httptest.Server) (*network, *httptest.Server) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	n := &network{listener: listener, target: server.Listener.Addr().String()}
	n.tasks.Go(n.accept)
	t.Cleanup(n.close)
	return n, &httptest.Server{URL: "http://" + listener.Addr().String()}
}

func (n *network) accept() {
	for {
		client, err := n.listener.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", n.target)
		if err != nil {
			client.Close()
			return
		}
		n.mu.Lock()
		n.conns = append(n.conns, client, server)
		n.mu.Unlock()
		n.tasks.Go(func() { io.Copy(n.carry(server), client) })
		n.tasks.Go(func() { io.Copy(n.carry(client), server) })
	}
}

// carry returns a writer to conn that loses what is written while the network is silent.
func (n *network) carry(conn net.Conn) io.Writer {
	return writer(func(p []byte) (int, error) {
		if n.silent.Load() {
			return len(p), nil
		}
		return conn.Write(p)
	})
}

type writer func([]byte) (int, error)

func (w writer) Write(p []byte) (int, error) { return w(p) }

func (n *network) close() {
	n.listener.Close()
	n.mu.Lock()
	for _, conn := range n.conns {
		conn.Close()
	}
	n.mu.Unlock()
	n.tasks.Wait()
}

func TestAClientWhoseConnectionHasDiedUnnoticedIsRecovered(t *testing.T) {
	h := build(t, global)
	network, server := newNetwork(t, h.server)
	c, err := dial(t, server, "&apikey="+key, nil)
	if err != nil {
		t.Fatal(err)
	}
	answer := c.join("/", "")
	h.emit("sales", "call", `1`)
	c.await(1)
	network.silent.Store(true)
	missed := h.emit("sales", "call", `2`)
	again := h.dial("&apikey=" + key) // long before a heartbeat is missed
	if got := again.join("/", c.ticket(answer, "")); got != answer {
		t.Errorf("was %s, is %s", answer, got)
	}
	live := h.emit("sales", "call", `3`)
	again.await(2)
	if ids := again.ids(); !slices.Equal(ids, []string{missed, live}) {
		t.Errorf("got %v", ids)
	}
}

func TestWhoComesBackGetsWhatItAsksForNow(t *testing.T) {
	const all, calls = "call messages.upsert messages.upsert call", "call call"
	for _, c := range []struct{ before, now, want string }{
		{`"events":["CALL"]`, ``, all},
		{`"events":["CALL"]`, `"events":["MESSAGES_UPSERT","CALL"]`, all},
		{`"events":["CALL"]`, `"events":["CALL"]`, calls},
		{``, `"events":["CALL"]`, calls},
	} {
		h := build(t, global)
		k := h.dial("&apikey=" + key)
		answer := k.join("/", "{"+c.before+"}")
		h.emit("sales", "call", `0`)
		k.await(1)
		k.conn.Close()
		h.emit("sales", "call", `1`)
		h.emit("sales", "messages.upsert", `2`)
		again := h.dial("&apikey=" + key)
		if got := again.join("/", k.ticket(answer, c.now)); got != answer {
			t.Fatalf("was %s, is %s", answer, got)
		}
		h.emit("sales", "messages.upsert", `3`)
		h.emit("sales", "call", `4`)
		var got []string
		for _, e := range again.await(strings.Count(c.want, " ") + 1) {
			got = append(got, e.name)
		}
		if got := strings.Join(got, " "); got != c.want {
			t.Errorf("before {%s}, now {%s}: got %s", c.before, c.now, got)
		}
	}
}

func TestANewInstanceOfAFormerNameInheritsNothing(t *testing.T) {
	h := build(t, noHosts)
	h.create("sales", "former")
	h.set("sales", `{"enabled":true}`)
	c := h.dial("&apikey=former")
	answer := c.join("/sales", "")
	id := h.emit("sales", "call", `"former"`)
	c.await(1)
	c.conn.Close()
	h.until("noticed", func() bool { return h.measure("left_total") == 1 })
	h.emit("sales", "call", `"former"`)
	if err := h.registry.Delete(t.Context(), "sales"); err != nil {
		t.Fatal(err)
	}
	h.create("sales", "new")
	h.set("sales", `{"enabled":true}`)
	for _, auth := range []string{c.ticket(answer, ""), `{"since":"` + id + `"}`} {
		k := h.dial("&apikey=new")
		if got := k.join("/sales", auth); got == answer || !strings.HasPrefix(got, "40") {
			t.Errorf("with %s: %s", auth, got)
		}
		want := h.emit("sales", "call", `"new"`)
		// recovery.expired may come before it or behind it.
		sinktest.Eventually(t, "the new instance's event", func() bool { return slices.Contains(k.ids(), want) })
		for _, e := range k.await(len(k.ids())) {
			if string(e.data["data"]) == `"former"` {
				t.Errorf("with %s: got %s", auth, e.data)
			}
		}
	}
}

func TestAClientIsToldThatItCouldNotBeRecovered(t *testing.T) {
	h := build(t, global)
	k := h.dial("&apikey=" + key)
	answer := k.join("/", "")
	first := h.emit("sales", "call", `0`)
	k.await(1)
	valid := k.ticket(answer, "")
	pid, _, _ := strings.Cut(valid, ",")
	for _, c := range []struct {
		why, auth string
		told      bool
	}{
		{"an unknown private id", `{"pid":"unknown","offset":"unknown"}`, true},
		{"an offset that it cannot have got", strings.Replace(valid, `"offset":"`, `"offset":"0`, 1), true},
		{"no offset, for it has got no event", pid + "}", true},
		{"a new client", "", false},
		{"a client that gets what it missed from the log", `{"pid":"unknown","offset":"unknown","since":"` + first + `"}`, false},
		{"a client that is recovered", valid, false},
	} {
		k := h.dial("&apikey=" + key)
		k.join("/", c.auth)
		k.emit(`421["any"]`) // answered behind what its joining brings
		k.frame()
		h.emit("sales", "call", `1`)
		if told := k.await(1)[0].name == "recovery.expired"; told != c.told {
			t.Errorf("%s: told %v, want %v", c.why, told, c.told)
		}
		k.emit("41")
	}
}
