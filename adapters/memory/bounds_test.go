package memory_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/evosink/evosink/adapters/memory"
	"github.com/evosink/evosink/core/bus"
	"github.com/evosink/evosink/core/event"
	"github.com/evosink/evosink/core/instances"
	"github.com/evosink/evosink/core/sink"
)

// few bounds the log to 10 events.
func few(c *memory.Config) { c.Shards, c.MaxEvents = 1, 10 }

func numbered(n int) *event.Event {
	return &event.Event{ID: fmt.Sprint(n), Name: "call", Instance: "a", Data: []byte(`"0123456789"`)}
}

func publish(b bus.Bus, ctx context.Context, from, to int) error {
	for n := from; n < to; n++ {
		m := bus.Message(numbered(n))
		m.SetContext(ctx)
		if err := b.Publisher().Publish(bus.Topic(0), m); err != nil {
			return fmt.Errorf("publish %d: %w", n, err)
		}
	}
	return nil
}

func mustPublish(t *testing.T, b bus.Bus, from, to int) {
	t.Helper()
	if err := publish(b, t.Context(), from, to); err != nil {
		t.Fatal(err)
	}
}

func subscribe(t *testing.T, s message.Subscriber, topic string) <-chan *message.Message {
	t.Helper()
	c, err := s.Subscribe(t.Context(), topic)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func take(t *testing.T, c <-chan *message.Message, from, to int) {
	t.Helper()
	for n := from; n < to; n++ {
		m, ok := <-c
		if !ok || m.UUID != fmt.Sprint(n) {
			t.Fatalf("got %v (%v), want event %d", m, ok, n)
		}
		m.Ack()
	}
}

// bubble runs a test with a bus of few events on fake time.
func bubble(t *testing.T, f func(t *testing.T, e *memory.Engine, b *memory.Bus)) {
	synctest.Test(t, func(t *testing.T) {
		e := newEngine(t, few)
		b := e.Bus()
		defer b.Close(context.Background())
		f(t, e, b)
	})
}

// replay calls f for the events behind the one with the id.
func replay(t *testing.T, e *memory.Engine, after string, f func(*event.Event) error) error {
	t.Helper()
	position, err := e.Find(t.Context(), after, "")
	if err != nil {
		return err
	}
	_, err = e.Replay(t.Context(), position, "", func(_ int64, ev *event.Event) error { return f(ev) })
	return err
}

func TestALogThatNobodyReadsDropsItsOldestEvents(t *testing.T) {
	bubble(t, func(t *testing.T, e *memory.Engine, b *memory.Bus) {
		mustPublish(t, b, 0, 100)
		take(t, subscribe(t, b.Group("late"), bus.Topic(0)), 90, 100)
		if err := replay(t, e, "89", func(*event.Event) error { return nil }); !errors.Is(err, sink.ErrExpired) {
			t.Fatalf("replay after a dropped event: %v, want ErrExpired", err)
		}
	})
}

func TestPublishWaitsForAGroupThatHasAFullLogBeforeIt(t *testing.T) {
	bubble(t, func(t *testing.T, _ *memory.Engine, b *memory.Bus) {
		group := subscribe(t, b.Group("g"), bus.Topic(0))
		mustPublish(t, b, 0, 10)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		err := publish(b, ctx, 10, 11)
		if !errors.Is(err, bus.ErrOverloaded) || !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("Publish to a full log: %v, want ErrOverloaded and DeadlineExceeded", err)
		}
		done := make(chan error)
		go func() { done <- publish(b, t.Context(), 10, 15) }()
		synctest.Wait() // Publish waits
		take(t, group, 0, 15)
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	})
}

func TestAGroupHoldsTheLogAlsoWhileNobodySubscribesToIt(t *testing.T) {
	bubble(t, func(t *testing.T, _ *memory.Engine, b *memory.Bus) {
		s := b.Group("g")
		group := subscribe(t, s, bus.Topic(0))
		mustPublish(t, b, 0, 1)
		take(t, group, 0, 1)
		s.Close()
		mustPublish(t, b, 1, 11)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := publish(b, ctx, 11, 12); !errors.Is(err, bus.ErrOverloaded) {
			t.Fatalf("Publish: %v, want ErrOverloaded", err)
		}
		take(t, subscribe(t, b.Group("g"), bus.Topic(0)), 1, 11)
	})
}

func TestABroadcastReaderThatLeavesMakesRoom(t *testing.T) {
	bubble(t, func(t *testing.T, _ *memory.Engine, b *memory.Bus) {
		s := b.Broadcast()
		c := subscribe(t, s, bus.All)
		mustPublish(t, b, 0, 10)
		<-c // held, without an answer
		done := make(chan error)
		go func() { done <- publish(b, t.Context(), 10, 30) }()
		synctest.Wait()
		select {
		case err := <-done:
			t.Fatalf("Publish did not wait: %v", err)
		default:
		}
		s.Close()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	})
}

func TestCloseEndsAPublishThatWaitsForRoom(t *testing.T) {
	bubble(t, func(t *testing.T, _ *memory.Engine, b *memory.Bus) {
		subscribe(t, b.Group("g"), bus.Topic(0))
		done := make(chan error)
		go func() { done <- publish(b, t.Context(), 0, 11) }()
		synctest.Wait()
		if err := b.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := <-done; !errors.Is(err, bus.ErrClosed) {
			t.Fatalf("Publish: %v, want ErrClosed", err)
		}
	})
}

func TestTheLogIsBoundedInBytesToo(t *testing.T) {
	e := newEngine(t, func(c *memory.Config) { c.Shards, c.MaxBytes, c.MaxEventBytes = 1, 1000, 1000 })
	b := e.Bus()
	defer b.Close(context.Background())
	mustPublish(t, b, 0, 100)
	n := 0
	one := bus.Size(bus.Message(numbered(50)))
	first := 100 - 1000/one
	err := replay(t, e, fmt.Sprint(first), func(*event.Event) error { n++; return nil })
	if err != nil || n != 99-first {
		t.Fatalf("replay after %d gave %d events, %v", first, n, err)
	}
	if err := replay(t, e, fmt.Sprint(first-1), func(*event.Event) error { return nil }); !errors.Is(err, sink.ErrExpired) {
		t.Fatalf("an event beyond 1000 bytes is still there: %v", err)
	}
	if err := publish(b, t.Context(), 0, 0); err != nil {
		t.Fatal(err)
	}
	big := numbered(0)
	big.Data = make([]byte, 2000)
	if err := b.Publisher().Publish(bus.Topic(0), bus.Message(big)); !errors.Is(err, bus.ErrTooLarge) {
		t.Fatalf("Publish: %v, want ErrTooLarge", err)
	}
}

func TestACallThatCanNeverFitIsRefusedAtOnce(t *testing.T) {
	bubble(t, func(t *testing.T, _ *memory.Engine, b *memory.Bus) {
		var messages []*message.Message
		for n := range 11 {
			messages = append(messages, bus.Message(numbered(n)))
		}
		if err := b.Publisher().Publish(bus.Topic(0), messages...); !errors.Is(err, bus.ErrTooLarge) {
			t.Fatalf("Publish of 11 events to a log of 10: %v, want ErrTooLarge", err)
		}
	})
}

func TestReplayTellsWhenItWasOvertaken(t *testing.T) {
	e := newEngine(t, func(c *memory.Config) { c.Shards, c.MaxEvents = 1, 100 })
	b := e.Bus()
	defer b.Close(context.Background())
	mustPublish(t, b, 0, 100)
	err := replay(t, e, "0", func(ev *event.Event) error {
		if ev.ID == "10" {
			return publish(b, t.Context(), 100, 250)
		}
		return nil
	})
	if !errors.Is(err, sink.ErrExpired) {
		t.Fatalf("replay: %v, want ErrExpired", err)
	}
}

func TestWrongConfigurationsAreRefusedWithTheirKeys(t *testing.T) {
	_, err := memory.New(memory.Config{})
	if err == nil {
		t.Fatal("an empty configuration was taken")
	}
	for _, key := range []string{"shards", "max_events", "max_bytes", "max_event_bytes"} {
		if !strings.Contains(err.Error(), key+" must be between") {
			t.Errorf("the error does not speak of %s: %v", key, err)
		}
	}
}

// However many instances come and go, what is remembered of them is bounded, and none that is forgotten gives its
// events away.
func TestWhatIsKeptOfDeletedInstancesIsBounded(t *testing.T) {
	e := newEngine(t, few)
	b := e.Bus()
	defer b.Close(context.Background())
	if err := publish(b, t.Context(), 0, 1); err != nil {
		t.Fatal(err)
	}
	comeAndGo := func(name string) {
		t.Helper()
		in, err := e.PutInstance(t.Context(), instances.Instance{Name: name})
		if err == nil {
			_, err = e.DeleteInstance(t.Context(), name, in.Version)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	expired := func() {
		t.Helper()
		_, err := e.Replay(t.Context(), 0, "a", func(int64, *event.Event) error { return nil })
		if !errors.Is(err, sink.ErrExpired) {
			t.Errorf("an event of a deleted instance is replayed: %v", err)
		}
	}
	comeAndGo("a")
	expired()
	for i := range memory.MaxDeleted {
		comeAndGo(fmt.Sprint("other ", i))
		comeAndGo("often")
	}
	if n := e.Remembered(); n > memory.MaxDeleted {
		t.Errorf("%d deleted instances are remembered, at most %d should be", n, memory.MaxDeleted)
	}
	expired()
	if err := publish(b, t.Context(), 1, 30); err != nil { // the log holds nothing any more of what they were
		t.Fatal(err)
	}
	comeAndGo("last")
	if n := e.Remembered(); n > 1 {
		t.Errorf("%d deleted instances are remembered, whose events the log has dropped", n)
	}
}

// One instance floods the log; what others hold of it stays, and replays tell of what was dropped from among that.
func TestAFloodDropsNothingOfInstancesThatHoldLittle(t *testing.T) {
	for _, small := range []func(*memory.Config){
		func(c *memory.Config) { c.MaxEvents = 200 },
		func(c *memory.Config) { c.MaxEventBytes, c.MaxBytes = 1000, 20_000 },
	} {
		e := newEngine(t, small)
		b := e.Bus()
		publish := func(instance string, from, to int) {
			for n := from; n < to; n++ {
				ev := &event.Event{ID: fmt.Sprint(instance, n), Name: "call", Instance: instance, Time: time.Now(), Data: []byte(`{}`)}
				if err := b.Publisher().Publish(bus.Topic(bus.Shard(instance, b.Shards())), bus.Message(ev)); err != nil {
					t.Fatal(err)
				}
			}
		}
		publish("quiet", 0, 20)
		publish("flood", 0, 1000)
		publish("quiet", 20, 30)
		publish("flood", 1000, 3000)
		replayed := func(after, instance string) (n int, err error) {
			position, err := e.Find(t.Context(), after, instance)
			if err != nil {
				return 0, err
			}
			_, err = e.Replay(t.Context(), position, instance, func(int64, *event.Event) error { n++; return nil })
			return n, err
		}
		if n, err := replayed("quiet0", "quiet"); n != 29 || err != nil {
			t.Errorf("of the quiet one %d come behind the first, %v; want 29", n, err)
		}
		if _, err := replayed("flood100", "flood"); !errors.Is(err, sink.ErrExpired) {
			t.Errorf("of the flood: %v, want ErrExpired", err)
		}
		if n, err := replayed("flood2950", "flood"); n != 49 || err != nil {
			t.Errorf("of the flood's newest %d come, %v; want 49", n, err)
		}
		if _, err := replayed("quiet0", ""); !errors.Is(err, sink.ErrExpired) {
			t.Errorf("of all behind the first: %v, want ErrExpired", err)
		}
		if n, err := replayed("flood2950", ""); n != 49 || err != nil {
			t.Errorf("of all behind what was dropped %d come, %v; want 49", n, err)
		}
		if err := b.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}
}
