package bustest

import (
	"context"
	"errors"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/evosink/evosink/core/bus"
)

// kinds are the two kinds of subscription, for rules that hold for both.
func (t *trial) kinds(b bus.Bus, instance string) map[string]<-chan *message.Message {
	t.Helper()
	return map[string]<-chan *message.Message{
		"broadcast": t.broadcast(b),
		"group":     t.group(b, "g", bus.Shard(instance, b.Shards())),
	}
}

var handoverRules = []rule{
	{
		"the next event comes after the ack of the last",
		"watermill runs each message in a goroutine of its own; order exists only because one is in flight",
		func(t *trial) {
			b := t.open("n1")
			kinds := t.kinds(b, "a")
			t.publish(b, "a", 0, 2)
			for kind, c := range kinds {
				m := t.next(c)
				t.want(m, "a", 0)
				t.quiet(c)
				m.Ack()
				t.take(c, "a", 1)
				t.Logf("%s: ok", kind)
			}
		},
	},
	{
		"a nack delivers the event again after a pause",
		"the failed event comes before any later one, and a handler that always fails must not spin",
		func(t *trial) {
			b := t.open("n1")
			kinds := t.kinds(b, "a")
			const events = 8
			t.publish(b, "a", 0, events)
			for kind, c := range kinds {
				shortest := time.Hour // of several: a loaded machine makes pauses of its own
				for n := range events {
					m := t.next(c)
					for range max(1, 3-2*n) { // the first one three times
						t.want(m, "a", n)
						nacked := time.Now()
						m.Nack()
						m = t.next(c)
						shortest = min(shortest, time.Since(nacked))
					}
					t.want(m, "a", n)
					m.Ack()
				}
				if shortest < 500*time.Microsecond {
					t.failf("%s: an event came again %v after its nack, which is no pause", kind, shortest)
				}
			}
		},
	},
	{
		"a nack in one shard does not hold up another",
		"an instance whose events cannot be put aside must not stop the instances of other shards",
		func(t *trial) {
			b := t.open("n1")
			other, ok := elsewhere("a", b.Shards())
			if !ok {
				t.Skip("the log has one shard")
			}
			bad, good := t.group(b, "g", bus.Shard("a", b.Shards())), t.group(b, "g", bus.Shard(other, b.Shards()))
			t.publish(b, "a", 0, 1)
			t.next(bad).Nack()
			t.publish(b, other, 0, 20)
			for n := range 20 {
				t.take(good, other, n)
			}
			t.take(bad, "a", 0)
		},
	},
	{
		"an undecodable entry does not end a subscription",
		"what something else wrote to a shared broker is put aside by a handler; one such entry must not stop the router",
		func(t *trial) {
			if t.log.Foreign == nil {
				t.Skip("nothing else can write to a log of this engine")
			}
			b := t.open("n1")
			shard := bus.Shard("a", b.Shards())
			kinds := t.kinds(b, "a")
			t.publish(b, "a", 0, 1)
			if err := t.log.Foreign(b, shard); err != nil {
				t.failf("write a foreign entry: %v", err)
			}
			t.publish(b, "a", 1, 2)
			for kind, c := range kinds {
				events, foreign := 0, 0
				for range 3 {
					m := t.next(c)
					if _, err := bus.Event(m); errors.Is(err, bus.ErrUndecodable) {
						foreign++
					} else {
						t.want(m, "a", events)
						events++
					}
					m.Ack()
				}
				if foreign != 1 {
					t.failf("%s: %d messages of three were refused with ErrUndecodable, want one", kind, foreign)
				}
			}
		},
	},
	{
		"a message's context ends with its subscription",
		"a handler at work learns that its answer no longer counts",
		func(t *trial) {
			b := t.open("n1")
			t.begin(b, "g", bus.Shard("a", b.Shards()))
			t.publish(b, "a", 0, 1)
			ctx, cancel := context.WithCancel(context.WithValue(t.ctx, contextKey{}, "value"))
			defer cancel()
			c := t.subscribe(ctx, b.Group("g"), bus.Topic(bus.Shard("a", b.Shards())))
			m := t.next(c)
			if err := m.Context().Err(); err != nil || m.Context().Value(contextKey{}) != "value" {
				t.failf("the message's context is not one of Subscribe's context: %v", err)
			}
			cancel()
			select {
			case <-m.Context().Done():
			case <-time.After(t.engine.Patience):
				t.failf("the message's context did not end with the subscription's")
			}
			t.ended(c)
		},
	},
}

type contextKey struct{}

// elsewhere returns the name of an instance in another shard.
func elsewhere(instance string, shards int) (string, bool) {
	for _, name := range names(100) {
		if bus.Shard(name, shards) != bus.Shard(instance, shards) {
			return name, true
		}
	}
	return "", false
}
