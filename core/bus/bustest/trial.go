package bustest

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"go.uber.org/goleak"

	"github.com/evosink/evosink/core/bus"
	"github.com/evosink/evosink/core/event"
)

// A trial is one rule at work. Its methods that can fail end the rule; they are called by the rule's own goroutine.
type trial struct {
	*testing.T
	engine Engine
	rule   rule
	log    Log
	ctx    context.Context // ends with the rule; a field because a trial is one call
}

func start(t *testing.T, e Engine, r rule) {
	tr := &trial{T: t, engine: e, rule: r, log: e.New(t)}
	leak := goleak.IgnoreCurrent()
	t.Cleanup(func() { // runs after the buses were closed
		if err := goleak.Find(leak); err != nil {
			t.Errorf("after Close something is left running: %v\n\nThe contract: Close returns when nothing is left running.", err)
		}
	})
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	tr.ctx = ctx
	r.run(tr)
}

// failf ends the rule with what went wrong and why it matters.
func (t *trial) failf(format string, args ...any) {
	t.Helper()
	t.Fatalf("%s\n\nThe rule: %s: %s", fmt.Sprintf(format, args...), t.rule.name, t.rule.why)
}

// open opens a bus, closed when the rule ends unless it was closed before.
func (t *trial) open(node string) bus.Bus {
	t.Helper()
	b, err := t.log.Open(node)
	if err != nil {
		t.failf("open bus %s: %v", node, err)
	}
	t.Cleanup(func() { t.close(b) })
	if f := b.Features(); f != t.engine.Features {
		t.failf("the bus declares %+v, its test %+v", f, t.engine.Features)
	}
	return b
}

// needs skips a rule about features that the engine does not declare.
func (t *trial) needs(features ...string) {
	t.Helper()
	missing := t.engine.Features.Missing()
	for _, f := range features {
		if slices.Contains(missing, f) {
			t.Skip("the engine does not declare the feature " + f)
		}
	}
}

// begin makes a group begin now on an engine where it would begin with its first subscription.
func (t *trial) begin(b bus.Bus, group string, shard int) {
	t.Helper()
	if t.engine.Features.Backlog {
		return
	}
	ctx, cancel := context.WithCancel(t.ctx)
	c := t.subscribe(ctx, b.Group(group), bus.Topic(shard))
	cancel()
	t.ended(c)
}

func (t *trial) close(b bus.Bus) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), t.engine.Patience)
	defer cancel()
	if err := b.Close(ctx); err != nil {
		t.Errorf("close: %v", err)
	}
}

// An instance's events are numbered from 0 without a gap, which is what order and completeness are read from.
func newEvent(instance string, n int) *event.Event {
	return &event.Event{
		ID: fmt.Sprintf("%s#%d", instance, n), Name: "messages.upsert", Instance: instance,
		Time: time.UnixMilli(1_700_000_000_000 + int64(n)).UTC(), Data: fmt.Appendf(nil, `{"n":%d}`, n),
	}
}

func messagesOf(instance string, from, to int) []*message.Message {
	var out []*message.Message
	for n := from; n < to; n++ {
		out = append(out, bus.Message(newEvent(instance, n)))
	}
	return out
}

// send publishes the events from (included) to (excluded) of an instance, one call each.
func send(b bus.Bus, instance string, from, to int) error {
	topic := bus.Topic(bus.Shard(instance, b.Shards()))
	for _, m := range messagesOf(instance, from, to) {
		if err := b.Publisher().Publish(topic, m); err != nil {
			return fmt.Errorf("publish %s: %w", m.UUID, err)
		}
	}
	return nil
}

func (t *trial) publish(b bus.Bus, instance string, from, to int) {
	t.Helper()
	if err := send(b, instance, from, to); err != nil {
		t.failf("%v", err)
	}
}

// broadcast subscribes to everything, as a node's live sinks do.
func (t *trial) broadcast(b bus.Bus) <-chan *message.Message {
	t.Helper()
	return t.subscribe(t.ctx, b.Broadcast(), bus.All)
}

// group subscribes to one shard.
func (t *trial) group(b bus.Bus, name string, shard int) <-chan *message.Message {
	t.Helper()
	return t.subscribe(t.ctx, b.Group(name), bus.Topic(shard))
}

// groups subscribes to every shard, as a node's dispatcher does.
func (t *trial) groups(b bus.Bus, name string) []<-chan *message.Message {
	t.Helper()
	s := b.Group(name)
	var out []<-chan *message.Message
	for shard := range b.Shards() {
		out = append(out, t.subscribe(t.ctx, s, bus.Topic(shard)))
	}
	return out
}

// batches subscribes to the batches of a group, or of a broadcast with the group "".
func (t *trial) batches(b bus.Bus, group, topic string) <-chan *bus.Batch {
	t.Helper()
	c, err := b.Batches(group).Subscribe(t.ctx, topic)
	if err != nil {
		t.failf("subscribe to batches of %s: %v", topic, err)
	}
	return c
}

// nextBatch returns the next batch, without an answer to it.
func (t *trial) nextBatch(c <-chan *bus.Batch) *bus.Batch {
	t.Helper()
	select {
	case b, ok := <-c:
		if !ok || len(b.Messages) == 0 {
			t.failf("a batch was expected: %+v", b)
		}
		return b
	case <-time.After(t.engine.Patience):
		t.failf("no batch came in %v", t.engine.Patience)
	}
	return nil
}

func (t *trial) subscribe(ctx context.Context, s message.Subscriber, topic string) <-chan *message.Message {
	t.Helper()
	c, err := s.Subscribe(ctx, topic)
	if err != nil {
		t.failf("subscribe to %s: %v", topic, err)
	}
	return c
}

// next returns the next message, without an answer to it.
func (t *trial) next(c <-chan *message.Message) *message.Message {
	t.Helper()
	select {
	case m, ok := <-c:
		if !ok {
			t.failf("the subscription has ended, a message was expected")
		}
		return m
	case <-time.After(t.engine.Patience):
		t.failf("no message came in %v", t.engine.Patience)
	}
	return nil
}

// take acks the next message, which must be number n of the instance.
func (t *trial) take(c <-chan *message.Message, instance string, n int) {
	t.Helper()
	m := t.next(c)
	t.want(m, instance, n)
	m.Ack()
}

func (t *trial) want(m *message.Message, instance string, n int) {
	t.Helper()
	if want := newEvent(instance, n).ID; m.UUID != want {
		t.failf("got event %s, want %s", m.UUID, want)
	}
}

// quiet watches that nothing comes.
func (t *trial) quiet(c <-chan *message.Message) {
	t.Helper()
	select {
	case m, ok := <-c:
		if ok {
			t.failf("event %s came, none was expected", m.UUID)
		}
	case <-time.After(t.engine.Quiet):
	}
}

// quietBatch watches that no batch comes.
func (t *trial) quietBatch(c <-chan *bus.Batch) {
	t.Helper()
	select {
	case b, ok := <-c:
		if ok {
			t.failf("a batch of %v came, none was expected", idsOf(b))
		}
	case <-time.After(t.engine.Quiet):
	}
}

// ended waits for the end of a subscription.
func (t *trial) ended(c <-chan *message.Message) {
	t.Helper()
	ended(t, c)
}

func ended[T any](t *trial, c <-chan T) {
	t.Helper()
	deadline := time.After(t.engine.Patience)
	for {
		select {
		case _, ok := <-c:
			if !ok {
				return
			}
		case <-deadline:
			t.failf("the subscription's channel was not closed in %v", t.engine.Patience)
		}
	}
}
