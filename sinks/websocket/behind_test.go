package websocket_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/rs/zerolog"

	"github.com/evosink/evosink/adapters/memory"
	"github.com/evosink/evosink/adapters/sqlite"
	"github.com/evosink/evosink/core/bus"
	"github.com/evosink/evosink/core/event"
	"github.com/evosink/evosink/core/sink"
	"github.com/evosink/evosink/core/sink/sinktest"
	"github.com/evosink/evosink/sinks/websocket"
)

// A lagging bus holds back what it broadcasts while a test wants the live side of the hub to be behind the log.
type lagging struct {
	bus.Bus

	mu   sync.Mutex
	gate chan struct{} // guarded by mu: closed when it goes on, nil while it does
}

// hold holds back what is broadcast from now on, until release is called.
func (l *lagging) hold() (release func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.gate = make(chan struct{})
	return func() { close(l.gate) }
}

func (l *lagging) await(ctx context.Context) {
	l.mu.Lock()
	gate := l.gate
	l.mu.Unlock()
	if gate == nil {
		return
	}
	select {
	case <-gate:
	case <-ctx.Done():
	}
}

func (l *lagging) Broadcast() message.Subscriber { return lag{l.Bus.Broadcast(), l} }

type lag struct {
	message.Subscriber
	bus *lagging
}

func (l lag) Subscribe(ctx context.Context, topic string) (<-chan *message.Message, error) {
	in, err := l.Subscriber.Subscribe(ctx, topic)
	if err != nil {
		return nil, err
	}
	out := make(chan *message.Message)
	go func() {
		defer close(out)
		for m := range in {
			l.bus.await(m.Context())
			select {
			case out <- m:
			case <-m.Context().Done():
			}
		}
	}()
	return out, nil
}

// onEachEngine runs the test in a house on each engine that keeps a log.
func onEachEngine(t *testing.T, configure func(*websocket.Config), test func(t *testing.T, h *house)) {
	log := func(t *testing.T) zerolog.Logger {
		return zerolog.New(zerolog.NewTestWriter(t)).Level(zerolog.WarnLevel)
	}
	t.Run("memory", func(t *testing.T) {
		engine, err := memory.New(memory.DefaultConfig())
		if err != nil {
			t.Fatal(err)
		}
		test(t, buildOn(t, engine, engine.Bus(), configure, log(t)))
	})
	t.Run("sqlite", func(t *testing.T) {
		c := sqlite.DefaultConfig()
		c.Path = filepath.Join(t.TempDir(), "log.db")
		db, err := sqlite.Open(t.Context(), c, log(t))
		if err != nil {
			t.Fatal(err)
		}
		test(t, buildOn(t, db, db, configure, log(t)))
	})
}

// roomy is global mode with room for all that a test emits, however slow the machine lets its clients be.
func roomy(c *websocket.Config) {
	global(c)
	c.QueueBytes, c.RecoveryBytes = 64<<20, 64<<20
}

// stream calls emit, of at most ten events, again and again until stop is called, which waits for its end and may be
// called again. It ends by itself before the log could have dropped something.
func stream(emit func()) (stop func()) {
	end, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for range 1000 {
			select {
			case <-end:
				return
			default:
				emit()
			}
		}
	}()
	return sync.OnceFunc(func() {
		close(end)
		<-ended
	})
}

// emitAll emits events of one name in one call.
func (h *house) emitAll(instance, name string, data ...string) (ids []string) {
	h.t.Helper()
	events := make([]*event.Event, len(data))
	for i, d := range data {
		events[i] = &event.Event{Name: name, Instance: instance, Data: json.RawMessage(d)}
	}
	if err := h.hub.Emit(h.t.Context(), events...); err != nil {
		h.t.Fatal(err)
	}
	for _, e := range events {
		ids = append(ids, e.ID)
	}
	return ids
}

// A client may know of events that the node it comes to has in its log and has not broadcast yet: by the answer to a
// POST, or from another node.
func TestWhatComesBeforeSinceIsNotSentHoweverLateItIsBroadcast(t *testing.T) {
	for _, c := range []struct{ namespace, key, auth string }{
		{"/", key, `,"events":["CALL","MESSAGES_UPSERT"]`},
		{"/sales", "tok", ""},
		{"/sales", "tok", `,"events":["CALL"]`},
	} {
		onEachEngine(t, global, func(t *testing.T, h *house) {
			h.create("sales", "tok")
			h.set("sales", `{"enabled":true,"events":["CALL"]}`)
			release := h.bus.hold()
			h.emit("sales", "call", `"seen, but not live here yet"`)
			since := h.emit("sales", "call", `"the last one seen"`)
			h.emit("sales", "presence.update", `"not asked for"`)
			replayed := h.emit("sales", "call", `"the past"`)
			k := h.dial("&apikey=" + c.key)
			k.join(c.namespace, `{"since":"`+since+`"`+c.auth+`}`)
			k.await(1)
			release()
			live := h.emit("sales", "call", `"the present"`)
			k.await(2)
			if ids := k.ids(); !slices.Equal(ids, []string{replayed, live}) {
				t.Errorf("%s%s: got %s, want the past and the present", c.namespace, c.auth, k.data())
			}
		})
	}
}

// data returns the data of the events received so far.
func (c *client) data() (out []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, e := range c.events {
		out = append(out, string(e.data["data"]))
	}
	return out
}

// Ids are unique within an instance only.
func TestAnEventIsNotTakenForAnotherInstancesOfTheSameId(t *testing.T) {
	onEachEngine(t, global, func(t *testing.T, h *house) {
		emit := func(instance string) {
			t.Helper()
			e := &event.Event{ID: "7", Name: "call", Instance: instance, Data: json.RawMessage(`"` + instance + `"`)}
			if err := h.hub.Emit(t.Context(), e); err != nil {
				t.Fatal(err)
			}
		}
		release := h.bus.hold()
		since := h.emit("sales", "call", `0`)
		emit("sales")
		k := h.dial("&apikey=" + key)
		k.join("/", `{"since":"`+since+`"}`)
		k.await(1)
		emit("support") // the replay has read to the end, or is about to and gives this one too
		release()
		h.emit("sales", "call", `"end"`)
		k.await(3)
		if got := strings.Join(k.data(), " "); got != `"sales" "support" "end"` {
			t.Errorf("got %s", got)
		}
	})
}

// straggler puts an event into the log that was accepted for an instance with that id, which is gone since.
func (h *house) straggler(instance, id string) {
	h.t.Helper()
	e := &event.Event{ID: event.NewID(), Name: "call", Instance: instance, InstanceID: id, Data: json.RawMessage(`"former"`)}
	if err := h.bus.Publisher().Publish(bus.Topic(bus.Shard(instance, h.bus.Shards())), bus.Message(e)); err != nil {
		h.t.Fatal(err)
	}
}

func TestAnEventOfAFormerInstanceReachesNothingOfALaterOneOfThatName(t *testing.T) {
	onEachEngine(t, global, func(t *testing.T, h *house) {
		h.create("sales", "former")
		former, _ := h.registry.Get("sales")
		if err := h.registry.Delete(t.Context(), "sales"); err != nil {
			t.Fatal(err)
		}
		h.create("sales", "new")
		h.set("sales", `{"enabled":true}`)

		live := h.dial("&apikey=new")
		answer := live.join("/sales", "")
		all := h.dial("&apikey=" + key)
		all.join("/", "")
		since := h.emit("sales", "call", `1`)
		h.straggler("sales", former.ID)
		h.emit("sales", "call", `2`)
		live.await(2)
		if got := fmt.Sprint(live.data()); got != "[1 2]" {
			t.Errorf("live: got %s", got)
		}
		if all.await(3); fmt.Sprint(all.data()) != `[1 "former" 2]` {
			t.Errorf("live, in /: got %s", all.data())
		}

		late := h.dial("&apikey=new")
		late.join("/sales", `{"since":"`+since+`"}`)
		everything := h.dial("&apikey=" + key)
		everything.join("/", `{"since":"`+since+`"}`)
		everything.await(2)
		late.await(1)

		live.conn.Close()
		h.until("noticed", func() bool { return h.measure("left_total") == 1 })
		h.straggler("sales", former.ID)
		h.emit("sales", "call", `3`)
		again := h.dial("&apikey=new")
		if got := again.join("/sales", live.ticket(answer, "")); got != answer {
			t.Fatalf("was %s, is %s", answer, got)
		}
		h.emit("sales", "call", `4`)
		for _, c := range []struct {
			how, want string
			client    *client
		}{
			{"since", "[2 3 4]", late},
			{"since, in /", `["former" 2 "former" 3 4]`, everything},
			{"recovered", "[3 4]", again},
		} {
			c.client.await(strings.Count(c.want, " ") + 1)
			if got := fmt.Sprint(c.client.data()); got != c.want {
				t.Errorf("%s: got %s, want %s", c.how, got, c.want)
			}
		}
	})
}

// changing is a directory that knows of one instance that has become another.
type changing struct{ sinktest.Directory }

func (changing) Owns(e *event.Event) bool { return e.InstanceID == "present" }

// The hub looks before it delivers. The name may get a new owner, and a client of that may join, before the sink does.
func TestTheSinkItselfLooksWhoseAnEventIs(t *testing.T) {
	c := websocket.DefaultConfig()
	s, err := websocket.New(c, sink.Host{
		Logger:    zerolog.Nop(),
		Directory: changing{sinktest.Directory{Key: key, Settings: map[string]json.RawMessage{"sales": []byte(`{"enabled":true}`)}}},
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
	defer k.conn.Close()
	k.join("/sales", "")
	for _, id := range []string{"former", "present"} {
		e := &event.Event{ID: event.NewID(), Name: "call", Instance: "sales", InstanceID: id, Data: json.RawMessage(`"` + id + `"`)}
		if err := s.Deliver(t.Context(), &sink.Delivery{Event: e, Scope: sink.Instance, Target: "instance"}); err != nil {
			t.Fatal(err)
		}
	}
	k.await(1)
	if got := fmt.Sprint(k.data()); got != `["present"]` {
		t.Errorf("got %s", got)
	}
}

// Connections are lost and recovered again and again while events come as fast as the engine takes them, after a
// replay of the past.
func TestRecoveryAtFullSpeedLeavesNoGapAndRepeatsNothing(t *testing.T) {
	onEachEngine(t, roomy, func(t *testing.T, h *house) {
		h.create("sales", "tok")
		h.set("sales", `{"enabled":true,"events":["MESSAGES_UPSERT","CALL"]}`)
		since := h.emit("sales", "messages.upsert", `0`)
		var mu sync.Mutex
		var want []string // guarded by mu, while some emit
		emit := func() {
			mu.Lock()
			defer mu.Unlock()
			want = append(want, h.emitAll("sales", "messages.upsert", "1", "2", "3")...)
			h.emitAll("sales", "call", `"the client does not ask for it"`)
		}
		for range 100 {
			emit()
		}
		const asked = `"events":["MESSAGES_UPSERT"]`
		c := h.dial("&apikey=tok")
		answer := c.join("/sales", `{"since":"`+since+`",`+asked+`}`)
		for !c.recoverable() { // until it has got the past and is live: while it is not, it cannot be recovered
			emit()
			c.await(len(want))
		}
		stop := stream(emit)
		defer stop()
		var got []string
		for round := range 20 {
			c.conn.Close()
			for range c.frames { // until it has read all that had come
			}
			got = append(got, c.ids()...)
			ticket := c.ticket(answer, asked)
			c = h.dial("&apikey=tok")
			if again := c.join("/sales", ticket); again != answer {
				t.Fatalf("time %d: was %s, is %s", round, answer, again)
			}
			emit()
			c.await(3)
		}
		stop()
		c.await(len(want) - len(got))
		if got = append(got, c.ids()...); !slices.Equal(got, want) {
			t.Errorf("%d events arrived, %d were emitted, and they are not the same in the same order", len(got), len(want))
		}
	})
}

// recoverable reports whether an event with an offset has come.
func (c *client) recoverable() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.offset != ""
}

// One tenant floods a small log. The others' past stays, and a client of which something was cut is told so.
func TestAFloodOfOneInstanceTakesNoOthersPast(t *testing.T) {
	c := sqlite.DefaultConfig()
	c.Path = filepath.Join(t.TempDir(), "log.db")
	c.Retention.Bytes = 400_000
	log := zerolog.New(zerolog.NewTestWriter(t)).Level(zerolog.WarnLevel)
	db, err := sqlite.Open(t.Context(), c, log)
	if err != nil {
		t.Fatal(err)
	}
	h := buildOn(t, db, db, roomy, log)
	for _, name := range []string{"quiet", "flood"} {
		h.create(name, "token-of-"+name)
		h.set(name, `{"enabled":true}`)
	}
	first := h.emit("quiet", "call", `0`)
	want := h.emitAll("quiet", "call", "1", "2", "3")
	flooded := h.emit("flood", "call", `0`)
	large := `"` + strings.Repeat("x", 10_000) + `"`
	for range 20 {
		h.emitAll("flood", "call", large, large, large, large, large, large, large, large, large, large)
	}
	h.until("the log is within its bound", func() bool { return db.Stats().Bytes <= c.Retention.Bytes+c.Retention.Bytes/32 })
	want = append(want, h.emit("quiet", "call", `4`))

	quiet := h.dial("&apikey=token-of-quiet")
	quiet.join("/quiet", `{"since":"`+first+`"}`)
	quiet.await(len(want))
	if ids := quiet.ids(); !slices.Equal(ids, want) {
		t.Errorf("the quiet one got %v, want %v", ids, want)
	}
	flood := h.dial("&apikey=token-of-flood")
	flood.join("/flood", `{"since":"`+flooded+`"}`)
	if e := flood.await(1); e[0].name != "replay.expired" {
		t.Errorf("the flooding one got %s first", e[0].name)
	}
	all := h.dial("&apikey=" + key)
	all.join("/", `{"since":"`+first+`"}`)
	if e := all.await(1); e[0].name != "replay.expired" {
		t.Errorf("a client of all instances got %s first", e[0].name)
	}
	last := h.dial("&apikey=" + key)
	last.join("/", `{"since":"`+want[3]+`"}`)
	h.emit("quiet", "call", `5`)
	if e := last.await(1); e[0].name != "call" {
		t.Errorf("a client of all instances that has everything got %s", e[0].name)
	}
}
