package core_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/evosink/evosink/adapters/memory"
	"github.com/evosink/evosink/adapters/sqlite"
	"github.com/evosink/evosink/core"
	"github.com/evosink/evosink/core/bus"
	"github.com/evosink/evosink/core/event"
	"github.com/evosink/evosink/core/instances"
	"github.com/evosink/evosink/core/queue"
	"github.com/evosink/evosink/core/sink"
)

// picky is a queued sink that refuses events with ids like "bad-1" for good and those like "busy-1" for an hour; an
// attempt of "slow-1" lasts until end is closed.
type picky struct{ begun, end chan struct{} }

func (*picky) Start(context.Context) error { return nil }
func (*picky) Close(context.Context) error { return nil }

func (p *picky) Deliver(ctx context.Context, d *sink.Delivery) error {
	switch kind, _, _ := strings.Cut(d.Event.ID, "-"); kind {
	case "bad":
		return sink.Permanent(errors.New("410"))
	case "slow":
		close(p.begun)
		select {
		case <-p.end:
		case <-ctx.Done():
		}
	case "busy":
		return sink.RetryAfter(errors.New("503"), time.Hour)
	}
	return nil
}

// erasing is a hub before such a sink.
type erasing struct {
	*core.Hub
	registry *instances.Registry
	log      sink.Log
	bus      bus.Bus
}

func startErasing(
	t *testing.T, p *picky, b bus.Bus, log sink.Log, s instances.Store, q queue.Store, leases bus.Leases,
) *erasing {
	t.Helper()
	registry, err := instances.Open(t.Context(), s, instances.Sum("key"))
	if err != nil {
		t.Fatal(err)
	}
	factory := sink.Use(sink.Spec[struct{}]{
		Name: "picky", Mode: sink.Queued, Defaults: func() struct{} { return struct{}{} },
		Enabled: func(*struct{}) bool { return true }, Rule: func(*struct{}) sink.Rule { return everything },
		New: func(struct{}, sink.Host) (sink.Sink, error) { return p, nil },
	})
	hub, err := core.New(core.Options{
		Bus: b, Instances: registry, Log: log, Queue: q, Sinks: []*sink.Factory{factory}, Logger: zerolog.Nop(), OnlyKnown: true,
		Leases: leases,
	})
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- hub.Run(context.Background()) }()
	<-hub.Started()
	t.Cleanup(func() {
		if err := errors.Join(hub.Close(context.Background()), <-ended); err != nil {
			t.Error(err)
		}
	})
	return &erasing{hub, registry, log, b}
}

const secret = "what only sales said"

func (h *erasing) emit(t *testing.T, instance string, ids ...string) {
	t.Helper()
	for _, id := range ids {
		text := "of " + instance
		if instance == "sales" {
			text = secret + strings.Repeat(" and more", 1000)
		}
		e := &event.Event{ID: id, Name: "messages.upsert", Instance: instance, Data: []byte(`{"text":"` + text + `"}`)}
		if err := h.Emit(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
}

// present creates an instance and returns its id.
func (h *erasing) present(t *testing.T, name string) string {
	t.Helper()
	in, err := h.registry.Create(t.Context(), instances.Instance{Name: name}, "")
	if err != nil {
		t.Fatal(err)
	}
	return in.ID
}

func (h *erasing) wait(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("in vain waited until ", what)
		}
	}
}

func (h *erasing) waiting(name string) (n int) {
	for _, l := range h.Queue().Backlog(queue.Selector{Instance: name}) {
		n += l.Waiting
	}
	return n
}

func (h *erasing) letters(t *testing.T, name string) int {
	t.Helper()
	n, err := h.Queue().CountDeadLetters(t.Context(), queue.DeadLetterFilter{Selector: queue.Selector{Instance: name}})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// logged returns how many of the events the log has.
func (h *erasing) logged(t *testing.T, ids ...string) (n int) {
	t.Helper()
	for _, id := range ids {
		switch _, err := h.log.Find(t.Context(), id, ""); {
		case err == nil:
			n++
		case !errors.Is(err, sink.ErrExpired):
			t.Fatal(err)
		}
	}
	return n
}

func onBoth(t *testing.T, test func(t *testing.T, start func(p *picky) *erasing)) {
	t.Run("memory", func(t *testing.T) {
		engine, err := memory.New(memory.DefaultConfig())
		if err != nil {
			t.Fatal(err)
		}
		test(t, func(p *picky) *erasing {
			b := engine.Bus()
			t.Cleanup(func() { b.Close(context.Background()) })
			return startErasing(t, p, b, engine, engine, engine.Queue(), nil)
		})
	})
	t.Run("sqlite", func(t *testing.T) {
		c := sqlite.DefaultConfig()
		c.Path = filepath.Join(t.TempDir(), "evosink.db")
		db, err := sqlite.Open(t.Context(), c, zerolog.Nop())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { // after the hub
			if err := db.Close(context.Background()); err != nil {
				t.Error(err)
			}
			b, err := os.ReadFile(c.Path)
			// Rows that moved to another page before may have left a copy in an unused part of the former one.
			if n := bytes.Count(b, []byte(secret)); err != nil || n > 50 {
				t.Errorf("the file has what was erased %d times, %v", n, err)
			}
		})
		test(t, func(p *picky) *erasing { return startErasing(t, p, db, db, db, db.Queue(), nil) })
	})
}

func TestAnInstanceIsErasedAndNoOtherOne(t *testing.T) {
	onBoth(t, func(t *testing.T, start func(p *picky) *erasing) {
		h := start(&picky{})
		sales := h.present(t, "sales")
		h.present(t, "support")
		for i := range 300 { // more than a transaction removes
			h.emit(t, "sales", fmt.Sprint("bad-", i))
		}
		h.wait(t, "all are given up", func() bool { return h.letters(t, "sales") == 300 })
		h.emit(t, "support", "bad-s", "busy-s1", "busy-s2") // from the first busy one on the target is left alone
		h.wait(t, "the bad one is given up", func() bool { return h.letters(t, "support") == 1 })
		h.emit(t, "sales", "busy-1", "busy-2", "busy-3")
		h.wait(t, "all are given up or wait", func() bool {
			return h.letters(t, "sales") == 300 && h.waiting("sales") == 3 && h.letters(t, "support") == 1 && h.waiting("support") == 2
		})
		for _, name := range []string{"sales", "support"} {
			if err := h.Queue().Pause(t.Context(), queue.Selector{Sink: "picky", Instance: name}, ""); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := h.Erase(t.Context(), "sales", sales); !errors.Is(err, instances.ErrExists) {
			t.Errorf("Erase of an instance that was not deleted: %v", err)
		}
		if err := h.registry.Delete(t.Context(), "sales"); err != nil {
			t.Fatal(err)
		}
		h.wait(t, "its pause has ended with it", func() bool { return len(h.Queue().Pauses()) == 1 })
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		n, err := h.Erase(ctx, "sales", sales)
		if err != nil || n.Left || n.Events != 303 || n.Deliveries != 3 || n.DeadLetters != 300 || n.Attempts < 300 || n.Pauses != 0 {
			t.Errorf("Erase removed %+v, %v", n, err)
		}
		if h.logged(t, "bad-0", "bad-299", "busy-1", "busy-3") != 0 || h.letters(t, "sales") != 0 || h.waiting("sales") != 0 {
			t.Error("something is left")
		}
		if n, err := h.Erase(ctx, "sales", ""); err != nil || n != (core.Erased{}) {
			t.Errorf("Erase once more removed %+v, %v", n, err)
		}
		if h.logged(t, "bad-s", "busy-s1", "busy-s2") != 3 || h.letters(t, "support") != 1 || h.waiting("support") != 2 || len(h.Queue().Pauses()) != 1 {
			t.Error("something of another instance is gone")
		}
		// Positions go on, and what comes behind is delivered.
		h.emit(t, "support", "bad-last")
		h.wait(t, "the next is given up", func() bool { return h.letters(t, "support") == 1 && h.waiting("support") == 3 })
	})
}

// What waits for an instance is another hub's, which is asked to remove it.
func TestAnInstanceThatAnotherHubDeliversForIsErased(t *testing.T) {
	engine, err := memory.New(memory.DefaultConfig())
	if err != nil {
		t.Fatal(err)
	}
	var hubs []*erasing
	for range 2 {
		b := engine.Bus()
		t.Cleanup(func() { b.Close(context.Background()) })
		hubs = append(hubs, startErasing(t, &picky{}, b, engine, engine, engine.Queue(), engine.Leases()))
	}
	sales := hubs[0].present(t, "sales")
	hubs[0].emit(t, "sales", "bad-1", "busy-1", "busy-2")
	hubs[0].wait(t, "one is given up and two wait", func() bool {
		return hubs[0].letters(t, "sales") == 1 && hubs[0].waiting("sales")+hubs[1].waiting("sales") == 2
	})
	owner, other := hubs[0], hubs[1]
	if owner.waiting("sales") == 0 {
		owner, other = other, owner
	}
	if err := other.registry.Delete(t.Context(), "sales"); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	n, err := other.Erase(ctx, "sales", sales)
	if err != nil || n.Left || n.Events != 3 || n.Deliveries != 2 || n.DeadLetters != 1 {
		t.Errorf("Erase removed %+v, %v", n, err)
	}
	if owner.waiting("sales") != 0 || other.letters(t, "sales") != 0 || other.logged(t, "bad-1", "busy-1", "busy-2") != 0 {
		t.Error("something is left")
	}
}

// The newest of all is erased, and a later instance of the name keeps what is its own.
func TestALaterInstanceOfTheNameKeepsWhatIsItsOwn(t *testing.T) {
	onBoth(t, func(t *testing.T, start func(p *picky) *erasing) {
		h := start(&picky{})
		sales := h.present(t, "sales")
		h.emit(t, "sales", "bad-1", "bad-2")
		h.wait(t, "they are given up", func() bool { return h.letters(t, "sales") == 2 })
		if err := h.registry.Delete(t.Context(), "sales"); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		h.present(t, "sales")
		e := &event.Event{ID: "bad-3", Name: "messages.upsert", Instance: "sales", Data: []byte(`{}`)}
		if err := h.Emit(t.Context(), e); err != nil {
			t.Fatal(err)
		}
		h.wait(t, "it is given up", func() bool { return h.letters(t, "sales") == 3 })
		n, err := h.Erase(ctx, "sales", sales)
		if err != nil || n.Left || n.Events != 2 || n.DeadLetters != 2 {
			t.Errorf("Erase removed %+v, %v", n, err)
		}
		if h.logged(t, "bad-1", "bad-2", "bad-3") != 1 || h.letters(t, "sales") != 1 {
			t.Errorf("%d events and %d dead letters of the later one are left", h.logged(t, "bad-3"), h.letters(t, "sales"))
		}
	})
}

func TestWhatIsBeingDeliveredIsErasedByAnotherCall(t *testing.T) {
	onBoth(t, func(t *testing.T, start func(p *picky) *erasing) {
		p := &picky{begun: make(chan struct{}), end: make(chan struct{})}
		h := start(p)
		end := sync.OnceFunc(func() { close(p.end) })
		t.Cleanup(end)
		sales := h.present(t, "sales")
		h.emit(t, "sales", "slow-1")
		<-p.begun
		if err := h.registry.Delete(t.Context(), "sales"); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		if n, err := h.Erase(ctx, "sales", sales); err != nil || !n.Left {
			t.Errorf("during an attempt Erase says %+v, %v", n, err)
		}
		end()
		long, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		if n, err := h.Erase(long, "sales", ""); err != nil || n.Left {
			t.Errorf("after it Erase says %+v, %v", n, err)
		}
		if h.logged(t, "slow-1") != 0 || h.letters(t, "sales") != 0 || h.waiting("sales") != 0 {
			t.Error("something is left")
		}
	})
}
