package bus_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/pubsub/gochannel"

	"github.com/evosink/evosink/adapters/memory"
	"github.com/evosink/evosink/core/bus"
	"github.com/evosink/evosink/core/bus/bustest"
	"github.com/evosink/evosink/core/event"
)

// newLocal returns watermill's Pub/Sub of one process, in the only setting in which it keeps messages in order.
func newLocal(t testing.TB) *gochannel.GoChannel {
	local := gochannel.NewGoChannel(gochannel.Config{BlockPublishUntilSubscriberAck: true}, nil)
	t.Cleanup(func() { local.Close() })
	return local
}

func publishForeign(b bus.Bus, shard int) error {
	return b.Publisher().Publish(bus.Topic(shard), message.NewMessage("", []byte("not an event")))
}

func TestAdaptedGochannel(t *testing.T) {
	bustest.Run(t, bustest.Engine{
		TooLarge: 1 << 20,
		New: func(t *testing.T) bustest.Log {
			local := newLocal(t)
			return bustest.Log{
				Open: func(string) (bus.Bus, error) {
					return bus.Adapt(local, local, bus.AdaptOptions{Buffer: 1024, MaxBytes: 1 << 20})
				},
				Foreign: publishForeign,
			}
		},
	})
}

// TestAdaptedConsumerGroups is for a Pub/Sub with consumer groups that keeps its messages: the memory engine, seen
// through watermill's interfaces only.
func TestAdaptedConsumerGroups(t *testing.T) {
	features := bus.Features{Reopens: true, Backlog: true, AtomicBatches: true, Nodes: true}
	bustest.Run(t, bustest.Engine{
		Features: features, TooLarge: 16 << 20,
		New: func(t *testing.T) bustest.Log {
			e, err := memory.New(memory.DefaultConfig())
			if err != nil {
				t.Fatal(err)
			}
			node := e.Bus()
			t.Cleanup(func() { node.Close(context.Background()) })
			return bustest.Log{
				Open: func(string) (bus.Bus, error) {
					return bus.Adapt(node.Publisher(), topics{node}, bus.AdaptOptions{
						Features: features,
						Group:    func(name string) (message.Subscriber, error) { return node.Group(name), nil },
					})
				},
				Foreign: publishForeign,
			}
		},
	})
}

// topics subscribes to one topic from now on.
type topics struct{ *memory.Bus }

func (s topics) Close() error { return nil }

func (s topics) Subscribe(ctx context.Context, topic string) (<-chan *message.Message, error) {
	shard, err := bus.ParseTopic(topic, s.Shards())
	if err != nil {
		return nil, err
	}
	in, err := s.Batches("").Subscribe(ctx, bus.All)
	if err != nil {
		return nil, err
	}
	out, c := bus.NewOutlet()
	go func() {
		defer out.Close()
		for b := range in {
			for i, m := range b.Messages {
				if b.Cursors[i].Shard == shard {
					out.Hand(b.Context(), bus.Batch{Messages: []*message.Message{m}})
				}
			}
			b.Ack()
		}
	}()
	return c, nil
}

func TestAdaptRefusesWhatAPubSubCannotHave(t *testing.T) {
	local := newLocal(t)
	group := func(string) (message.Subscriber, error) { return local, nil }
	for word, o := range map[string]bus.AdaptOptions{
		"Shards":  {Shards: 1025},
		"Buffer":  {Buffer: -1},
		"Replay":  {Features: bus.Features{Replay: true}},
		"Group":   {Features: bus.Features{Nodes: true}},
		"exclude": {Buffer: 1, Group: group, Features: bus.Features{Reopens: true}},
	} {
		if _, err := bus.Adapt(local, local, o); err == nil || !strings.Contains(err.Error(), word) {
			t.Errorf("%+v: %v, want an error about %s", o, err, word)
		}
	}
}

// unsteady is a Pub/Sub whose subscriptions fail at first.
type unsteady struct {
	message.Subscriber
	failures atomic.Int32
}

func (u *unsteady) Subscribe(ctx context.Context, topic string) (<-chan *message.Message, error) {
	if u.failures.Add(-1) >= 0 {
		return nil, errors.New("not connected")
	}
	return u.Subscriber.Subscribe(ctx, topic)
}

func TestAnAdaptedSubscriptionIsTriedAgain(t *testing.T) {
	local := newLocal(t)
	u := &unsteady{Subscriber: local}
	u.failures.Store(3)
	b, err := bus.Adapt(local, u, bus.AdaptOptions{Shards: 1, Buffer: 8})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close(context.Background())
	c, err := b.Broadcast().Subscribe(t.Context(), bus.All)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Check(t.Context()); err != nil {
		t.Errorf("Check: %v", err)
	}
	e := &event.Event{ID: "1", Name: "call", Instance: "a", Time: time.UnixMilli(1)}
	if _, err := b.Append(t.Context(), 0, bus.Entry{Message: bus.Message(e)}); err != nil {
		t.Fatal(err)
	}
	if m := <-c; m.UUID != "1" {
		t.Errorf("got %s", m.UUID)
	} else {
		m.Ack()
	}
	u.failures.Store(1 << 30)
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if _, err := b.Group("g").Subscribe(ctx, bus.Topic(0)); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Subscribe returned %v while the Pub/Sub is down", err)
	}
}

func TestAFullBufferHoldsAppendUntilItsContextEnds(t *testing.T) {
	local := newLocal(t)
	b, err := bus.Adapt(local, local, bus.AdaptOptions{Shards: 1, Buffer: 4})
	if err != nil {
		t.Fatal(err)
	}
	c, err := b.Broadcast().Subscribe(t.Context(), bus.All)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	taken := 0
	for ; taken < 100; taken++ {
		ctx, cancel := context.WithTimeout(ctx, 500*time.Millisecond)
		_, err = b.Append(ctx, 0, bus.Entry{Message: message.NewMessage("1", nil)})
		cancel()
		if err != nil {
			break
		}
	}
	if !errors.Is(err, bus.ErrOverloaded) || taken < 4 || taken > 8 {
		t.Fatalf("after %d events Append returned %v", taken, err)
	}
	for range taken + 1 { // the one that was told to be overloaded arrives too
		(<-c).Ack()
	}
	if _, err = b.Append(t.Context(), 0, bus.Entry{Message: message.NewMessage("1", nil)}); err != nil {
		t.Errorf("with room again: %v", err)
	}
	if err := b.Close(t.Context()); err != nil {
		t.Errorf("close: %v", err)
	}
}
