package websocket_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	gorilla "github.com/gorilla/websocket"
	"github.com/rs/zerolog"

	"github.com/evosink/evosink/core/event"
	"github.com/evosink/evosink/core/sink"
	"github.com/evosink/evosink/core/sink/sinktest"
	"github.com/evosink/evosink/sinks/websocket"
)

// pad is event data so large that a replay of many takes more than what the system buffers.
var pad = `"` + strings.Repeat("x", 64<<10) + `"`

func TestWhoIsCutOffDuringAReplayGetsTheRest(t *testing.T) {
	h := build(t, global)
	c := h.slow(`40`)
	c.until("40")
	first := h.emit("sales", "call", `0`)
	var args []json.RawMessage
	if err := json.Unmarshal(c.until(`42["call"`)[2:], &args); err != nil {
		t.Fatal(err)
	}
	offset := args[len(args)-1] // which clients keep from one session to the next
	c.send("41")
	c.send("40/sales,")
	c.until("44/sales,") // behind that: nothing that is emitted from now on is for the socket that has left
	var want []string
	for range 200 {
		want = append(want, h.emit("sales", "call", pad))
	}
	c.send(`40{"since":"` + first + `"}`)
	var given struct{ PID string }
	if err := json.Unmarshal(c.until("40")[2:], &given); err != nil || given.PID == "" {
		t.Fatalf("no private id: %v", err)
	}
	c.read(11)
	c.conn.Close()
	got := c.got[1:]
	again := h.dial("&apikey=" + key)
	again.join("/", fmt.Sprintf(`{"pid":%q,"offset":%s,"since":%q}`, given.PID, offset, got[len(got)-1]))
	again.await(len(want) - len(got))
	if got = append(got, again.ids()...); !slices.Equal(got, want) {
		t.Errorf("%d events arrived, %d were emitted, and they are not the same in the same order", len(got), len(want))
	}
}

func TestNamesThatSocketIOKeepsForItselfAreLeftOut(t *testing.T) {
	h := build(t, global)
	live := h.dial("&apikey=" + key)
	live.join("/", "")
	first := h.emit("sales", "call", `0`)
	for _, name := range []string{"connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"} {
		h.emit("sales", name, `1`)
	}
	last := h.emit("sales", "call", `2`)
	live.await(2)
	if ids := live.ids(); !slices.Equal(ids, []string{first, last}) {
		t.Errorf("live: got %v", ids)
	}
	if stats := h.hub.Stats().Sinks[0]; stats.Failed > 0 {
		t.Errorf("%d deliveries failed", stats.Failed)
	}
	later := h.dial("&apikey=" + key)
	later.join("/", `{"since":"`+first+`"}`)
	later.await(1)
	if ids := later.ids(); !slices.Equal(ids, []string{last}) {
		t.Errorf("replayed: got %v", ids)
	}
}

func TestSinceReplaysThenGoesLiveWithoutGapOrDouble(t *testing.T) {
	onEachEngine(t, roomy, func(t *testing.T, h *house) {
		h.create("sales", "tok")
		h.set("sales", `{"enabled":true,"events":["MESSAGES_UPSERT"]}`)
		first := h.emit("sales", "messages.upsert", `0`)
		var want []string
		emit := func() {
			want = append(want, h.emitAll("sales", "messages.upsert", "1", "2", "3", "4", "5")...)
			h.emitAll("sales", "call", `"not subscribed"`)
			h.emitAll("other", "messages.upsert", `"another instance"`)
		}
		for range 100 {
			emit()
		}
		stop := stream(emit)
		defer stop()
		var clients []*client
		for _, auth := range []string{"", `,"events":["MESSAGES_UPSERT"]`} {
			c := h.dial("&apikey=tok")
			if answer := c.join("/sales", `{"since":"`+first+`"`+auth+`}`); !strings.HasPrefix(answer, "40") {
				t.Fatal(answer)
			}
			clients = append(clients, c)
		}
		for _, c := range clients {
			c.await(1500)
		}
		stop()
		for _, c := range clients {
			c.await(len(want))
			if ids := c.ids(); !slices.Equal(ids, want) {
				t.Errorf("%d events arrived, %d were emitted, and they are not the same in the same order", len(ids), len(want))
			}
		}
	})
}

// A slowClient takes little at a time from the system, and reads only when told to.
type slowClient struct {
	t    *testing.T
	conn *gorilla.Conn
	got  []string // ids of the calls read so far
}

// slow returns a slow client that joins "/" by a CONNECT packet.
func (h *house) slow(connect string) *slowClient {
	h.t.Helper()
	dialer := gorilla.Dialer{NetDial: func(network, address string) (net.Conn, error) {
		conn, err := net.Dial(network, address)
		if err == nil {
			err = conn.(*net.TCPConn).SetReadBuffer(16 << 10)
		}
		return conn, err
	}}
	conn, _, err := dialer.Dial("ws"+strings.TrimPrefix(h.server.URL, "http")+"/socket.io/?EIO=4&transport=websocket&apikey="+key, nil)
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { conn.Close() })
	c := &slowClient{t: h.t, conn: conn}
	c.send(connect)
	return c
}

// slowSince returns a slow client that joins "/" for what came after an event.
func (h *house) slowSince(since string) *slowClient {
	h.t.Helper()
	return h.slow(`40{"since":"` + since + `"}`)
}

// read reads until it has got n calls.
func (c *slowClient) read(n int) {
	c.t.Helper()
	for len(c.got) < n {
		c.frame()
	}
}

// until reads until a frame that begins so, and returns it.
func (c *slowClient) until(head string) []byte {
	c.t.Helper()
	for {
		if frame := c.frame(); bytes.HasPrefix(frame, []byte(head)) {
			return frame
		}
	}
}

func (c *slowClient) frame() []byte {
	c.t.Helper()
	c.conn.SetReadDeadline(time.Now().Add(30 * time.Second))
	_, frame, err := c.conn.ReadMessage()
	if err != nil {
		c.t.Fatalf("after %d events: %v", len(c.got), err)
	}
	if id := idIn.FindSubmatch(frame); id != nil && bytes.HasPrefix(frame, []byte(`42["call"`)) {
		c.got = append(c.got, string(id[1]))
	}
	return frame
}

func (c *slowClient) send(frame string) { c.conn.WriteMessage(gorilla.TextMessage, []byte(frame)) }

var idIn = regexp.MustCompile(`"id":"([^"]+)"}[,\]]`)

func TestASlowClientGetsAWholeReplayAtItsOwnSpeed(t *testing.T) {
	h := build(t, global)
	first := h.emit("sales", "call", `0`)
	var want []string
	for range 400 { // six times what may wait for a client
		want = append(want, h.emit("sales", "call", pad))
	}
	c := h.slowSince(first)
	c.read(1)
	time.Sleep(time.Second) // long enough for a server that does not wait to write all of it
	if c.read(len(want)); !slices.Equal(c.got, want) {
		t.Error("they are not in order")
	}
}

func TestASlowClientGetsWhatCouldNotBeKeptAsideFromTheLog(t *testing.T) {
	h := build(t, global)
	first := h.emit("sales", "call", `0`)
	var want []string
	emit := func() {
		for range 200 {
			want = append(want, h.emit("sales", "call", pad))
		}
	}
	emit()
	c := h.slowSince(first)
	c.read(1)
	emit() // three times what is kept aside
	if c.read(len(want)); !slices.Equal(c.got, want) {
		t.Error("they are not in order")
	}
	last := h.emit("sales", "call", `0`)
	if c.read(len(want) + 1); c.got[len(want)] != last {
		t.Error("then it is not live")
	}
}

func TestSinceAnUnknownEventSaysSoAndGoesLive(t *testing.T) {
	h := build(t, global)
	c := h.dial("&apikey=" + key)
	c.join("/", `{"since":"gone"}`)
	h.emit("sales", "call", `1`)
	if e := c.await(2); e[0].name != "replay.expired" || e[1].name != "call" {
		t.Errorf("got %v", e)
	}
}

func TestAReplayHoldsUpNothingElseThatItsClientWants(t *testing.T) {
	h := build(t, global)
	h.create("sales", "tok")
	h.set("sales", `{"enabled":true}`)
	first := h.emit("sales", "call", `0`)
	const all = 400
	for range all {
		h.emit("sales", "call", pad)
	}
	c := h.slowSince(first)
	c.read(1)
	c.send("40/sales,")
	c.until("40/sales,")
	if len(c.got) == all {
		t.Error("another namespace was joined after the replay only")
	}
	c.send("41") // which ends the replay
	c.send(`42/sales,1["any"]`)
	c.until("43/sales,1")
	h.emit("sales", "call", `1`)
	c.until("42/sales,")
	if len(c.got) == all {
		t.Error("a replay goes on in a namespace that its client has left")
	}
}

// history is a log that has only one event, at 1, and lost what came behind it.
type history func()

func (history) Find(context.Context, string, string) (int64, error) { return 1, nil }

func (read history) Replay(context.Context, int64, string, func(int64, *event.Event) error) (int64, error) {
	read()
	return 1, sink.ErrExpired
}

func TestWhatIsLostIsToldOnceWhateverComesMeanwhile(t *testing.T) {
	c := websocket.DefaultConfig()
	c.GlobalEvents, c.AllowedHosts = true, nil
	var s *websocket.Sink
	deliver := func(name, data string) {
		e := &event.Event{ID: event.NewID(), Name: name, Instance: "sales", Data: json.RawMessage(data)}
		if err := s.Deliver(t.Context(), &sink.Delivery{Event: e, Scope: sink.Global, Target: "global"}); err != nil {
			t.Error(err)
		}
	}
	first, again := true, make(chan struct{})
	s, err := websocket.New(c, sink.Host{
		Logger: zerolog.Nop(), Directory: sinktest.Directory{Key: key},
		Reached: func(context.Context, int64) error { return nil },
		Log: history(func() {
			if !first {
				close(again)
				return
			}
			first = false
			for range 100 { // more than is kept aside
				deliver("messages.upsert", pad)
			}
		}),
	})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(s)
	defer server.Close()
	defer s.Close(context.Background())
	k, err := dial(t, server, "&apikey="+key, nil)
	if err != nil {
		t.Fatal(err)
	}
	k.join("/", `{"since":"gone"}`)
	<-again
	deliver("call", `1`)
	if e := k.await(2); e[0].name != "replay.expired" || e[1].name != "call" {
		t.Errorf("got %s, then %s", e[0].name, e[1].name)
	}
}

// gate is a log of which the test sees the readers, and lets one after the other go on.
type gate struct {
	arrived chan string   // instances, as replays begin
	pass    chan struct{} // closed to let all go on
}

func (g *gate) Find(context.Context, string, string) (int64, error) { return 1, nil }

func (g *gate) Replay(ctx context.Context, _ int64, instance string, _ func(int64, *event.Event) error) (int64, error) {
	g.arrived <- instance
	select {
	case <-g.pass:
	case <-ctx.Done():
	}
	return 0, ctx.Err()
}

func TestReplaysAtOnceAreBoundedAndTheOthersWaitForTheirTurn(t *testing.T) {
	c := websocket.DefaultConfig()
	c.GlobalEvents = true
	settings := map[string]json.RawMessage{}
	for i := range 8 {
		settings[fmt.Sprint("i", i)] = json.RawMessage(`{"enabled":true}`)
	}
	g := &gate{arrived: make(chan string, 1000), pass: make(chan struct{})}
	s, err := websocket.New(c, sink.Host{
		Logger: zerolog.Nop(), Directory: sinktest.Directory{Key: key, Settings: settings},
		Reached: func(context.Context, int64) error { return nil }, Log: g,
	})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(s)
	defer server.Close()
	defer s.Close(context.Background())
	const each = 10
	var all []*client
	reading := map[string]int{}
	for instance := range settings {
		for range each {
			k, err := dial(t, server, "&apikey="+key, nil)
			if err != nil {
				t.Fatal(err)
			}
			if answer := k.join("/"+instance, `{"since":"x"}`); !strings.HasPrefix(answer, "40") {
				t.Fatal(answer)
			}
			if all = append(all, k); len(all) == 1 { // reads before the others come
				reading[<-g.arrived]++
			}
		}
	}
	for range c.Replays - 1 {
		reading[<-g.arrived]++
	}
	for range 200 { // those that wait would have come meanwhile
		all[0].emit("42" + all[0].namespace + `,1["any"]`)
		all[0].frame()
	}
	if len(g.arrived) > 0 {
		t.Errorf("more than %d replays read the log at once", c.Replays)
	}
	for name, n := range reading {
		if n > c.ReplaysEach {
			t.Errorf("%d replays of %s at once, at most %d are allowed", n, name, c.ReplaysEach)
		}
	}
	all[0].conn.Close() // does not keep its turn
	close(g.pass)
	for range len(all) - c.Replays {
		select {
		case <-g.arrived:
		case <-time.After(20 * time.Second):
			t.Fatal("a replay has had no turn")
		}
	}
}

func TestClientsThatDoNotReadKeepNoTurn(t *testing.T) {
	h := build(t, func(c *websocket.Config) { c.GlobalEvents, c.Replays, c.ReplaysEach = true, 2, 2 })
	first := h.emit("sales", "call", `0`)
	var want []string
	for range 200 {
		want = append(want, h.emit("sales", "call", pad))
	}
	var stuck []*slowClient
	for range 8 {
		stuck = append(stuck, h.slowSince(first))
	}
	for _, c := range stuck {
		c.read(1)
	}
	c := h.dial("&apikey=" + key)
	c.join("/", `{"since":"`+first+`"}`)
	c.await(len(want))
	if ids := c.ids(); !slices.Equal(ids, want) {
		t.Error("they are not the same in the same order")
	}
	for _, c := range stuck[:2] {
		if c.read(len(want)); !slices.Equal(c.got, want) {
			t.Errorf("one that was slow got %d of %d, or not in order", len(c.got), len(want))
		}
	}
}
