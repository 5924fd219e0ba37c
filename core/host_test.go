package core_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/evosink/evosink/core"
	"github.com/evosink/evosink/core/bus"
	"github.com/evosink/evosink/core/sink"
)

func TestTheHostsHandlersRunBesideTheHubsAndCannotStopThem(t *testing.T) {
	var r recorder
	var mu sync.Mutex
	seen := map[string]bool{}
	handle := func(m *message.Message) error {
		if rand.N(200) == 0 {
			panic("at random")
		}
		mu.Lock()
		defer mu.Unlock()
		seen[m.UUID] = true
		return nil
	}
	flaky := func(h message.HandlerFunc) message.HandlerFunc {
		return func(m *message.Message) ([]*message.Message, error) {
			if rand.N(200) == 0 {
				return nil, errors.New("at random")
			}
			return h(m)
		}
	}
	hub, _ := startAfter(t, core.Options{}, func(hub *core.Hub) {
		hub.Router().AddMiddleware(flaky)
		hub.Router().AddConsumerHandler("host", bus.All, hub.Subscriber("host"), handle)
	}, use("rec", &r, sink.Rule{Global: true}))
	const n = 10_000
	want := map[string]bool{}
	var emitting sync.WaitGroup
	ids := make([]string, n)
	for worker := range 10 {
		emitting.Go(func() {
			for i := worker; i < n; i += 10 {
				e := upsert(fmt.Sprint("instance-", worker), i)
				if err := hub.Emit(t.Context(), e); err != nil {
					t.Error(err)
				}
				ids[i] = e.ID
			}
		})
	}
	emitting.Wait()
	for _, id := range ids {
		want[id] = true
	}
	for range n + 1 {
		next(t, &r)
	}
	deadline := time.Now().Add(60 * time.Second)
	for {
		mu.Lock()
		missing := 0
		for id := range want {
			if !seen[id] {
				missing++
			}
		}
		mu.Unlock()
		if missing == 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the host's handler still misses %d events", missing)
		}
		time.Sleep(time.Millisecond)
	}
	if err := hub.Router().Close(); err != nil {
		t.Error(err)
	}
	if err := hub.Emit(t.Context(), upsert("sales", n)); err != nil {
		t.Fatal(err)
	}
	next(t, &r)
	if err := hub.Check(t.Context()); err != nil {
		t.Error("the host closed its own router:", err)
	}
}

func TestAHostEmitsByWatermillsMeans(t *testing.T) {
	var r recorder
	hub, _ := start(t, core.Options{}, use("rec", &r, sink.Rule{Global: true}))
	next(t, &r)
	e := upsert("sales", 1)
	e.ID = "mine"
	e.Time = time.Now()
	m := bus.Message(e)
	m.SetContext(t.Context())
	if err := hub.Publisher().Publish("any", m); err != nil {
		t.Fatal(err)
	}
	if d := next(t, &r); d.Event.ID != "mine" || d.Event.Name != "messages.upsert" {
		t.Errorf("got %+v", d.Event)
	}
	if _, err := hub.Subscriber("dispatch").Subscribe(t.Context(), bus.All); err == nil {
		t.Error("a host joined the hub's own group")
	}
}

// commanded is a live sink that only keeps its host.
type commanded struct {
	recorder
	host sink.Host
}

func TestCommandsReachTheirHandlersAndErrorsAreAnswers(t *testing.T) {
	c := &commanded{}
	c.got, c.closed = make(chan *sink.Delivery, 100), make(chan struct{})
	f := sink.Use(sink.Spec[switches]{
		Name: "c", Mode: sink.Live, Defaults: func() switches { return switches{} }, Enabled: func(*switches) bool { return true },
		Rule: func(*switches) sink.Rule { return sink.Rule{} },
		New:  func(_ switches, h sink.Host) (sink.Sink, error) { c.host = h; return c, nil },
	})
	hub, _ := start(t, core.Options{}, f)
	do := func(name string) (string, *sink.CommandError) {
		answer, err := c.host.Commander.Do(t.Context(), core.Command{Name: name, Instance: "sales", Data: json.RawMessage(`{"n":1}`)})
		if err != nil {
			return "", sink.AsCommandError(err)
		}
		return string(answer), nil
	}
	if c.host.Commander.Handles() {
		t.Error("without a handler nothing is handled")
	}
	hub.Handle("echo", func(_ context.Context, c core.Command) (any, error) { return map[string]any{c.Instance: c.Data}, nil })
	hub.Handle("panic", func(context.Context, core.Command) (any, error) { panic("boom") })
	hub.Handle("secret", func(context.Context, core.Command) (any, error) { return nil, errors.New("the database said no") })
	hub.Handle("choose", func(context.Context, core.Command) (any, error) {
		return nil, sink.CommandErrorf(sink.CodeInvalid, "number is missing")
	})
	hub.Handle("late", func(context.Context, core.Command) (any, error) { return nil, context.DeadlineExceeded })
	if answer, err := do("echo"); err != nil || answer != `{"sales":{"n":1}}` {
		t.Errorf("echo: %s, %v", answer, err)
	}
	for name, code := range map[string]string{
		"panic": sink.CodeFailed, "secret": sink.CodeFailed, "choose": sink.CodeInvalid, "late": sink.CodeTimeout, "other": sink.CodeUnknown,
	} {
		if _, err := do(name); err == nil || err.Code != code || strings.Contains(err.Message, "database") {
			t.Errorf("%s: %v", name, err)
		}
	}
	hub.Handle("echo", nil)
	if _, err := do("echo"); err == nil || err.Code != sink.CodeUnknown {
		t.Errorf("a handler that was removed: %v", err)
	}
}
