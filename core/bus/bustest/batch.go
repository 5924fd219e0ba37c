package bustest

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/evosink/evosink/core/bus"
)

var batchRules = []rule{
	{
		"batches are a group's events, each once and in order",
		"the dispatcher puts a batch into the queue at once; what is missing or doubled there is lost or delivered twice",
		func(t *trial) {
			b := t.open("n1")
			shard := bus.Shard("a", b.Shards())
			c := t.batches(b, "g", bus.Topic(shard))
			t.publish(b, "a", 0, 200)
			for n := 0; n < 200; {
				some := t.nextBatch(c)
				for _, m := range some.Messages {
					t.want(m, "a", n)
					n++
				}
				some.Ack()
			}
		},
	},
	{
		"a batch holds events of one instance",
		"an error of one instance's event must not have those of others delivered again, nor hold them up",
		func(t *trial) {
			b := t.open("n1")
			c := t.batches(b, "g", bus.Topic(bus.Shard("a", b.Shards())))
			other := beside("a", b.Shards())
			for n := range 20 {
				t.publish(b, "a", n, n+1)
				t.publish(b, other, n, n+1)
			}
			for n := 0; n < 40; {
				some := t.nextBatch(c)
				for _, m := range some.Messages {
					if bus.InstanceOf(m) != bus.InstanceOf(some.Messages[0]) {
						t.failf("%s is in one batch with %s", m.UUID, some.Messages[0].UUID)
					}
					n++
				}
				some.Ack()
			}
		},
	},
	{
		"a nacked batch comes again from its first event",
		"the queue's store has failed, and holds none of it",
		func(t *trial) {
			b := t.open("n1")
			c := t.batches(b, "g", bus.Topic(bus.Shard("a", b.Shards())))
			t.publish(b, "a", 0, 2)
			first := t.nextBatch(c)
			first.Nack()
			again := t.nextBatch(c)
			t.want(again.Messages[0], "a", 0)
			if again == first {
				t.failf("it is the same batch, which is answered already")
			}
			again.Ack()
		},
	},
	{
		"batches of a broadcast are its events",
		"the hub's live sinks read batches as its dispatcher does",
		func(t *trial) {
			b := t.open("n1")
			c := t.batches(b, "", bus.All)
			t.publish(b, "a", 0, 20)
			for n := 0; n < 20; {
				some := t.nextBatch(c)
				for _, m := range some.Messages {
					t.want(m, "a", n)
					n++
				}
				some.Ack()
			}
		},
	},
}

var positionRules = []rule{
	{
		"Append reports where events are",
		"what waits until an event is handled waits for its position",
		func(t *trial) {
			t.needs("Positions")
			b := t.open("n1")
			c := t.batches(b, "", bus.All)
			shard := bus.Shard("a", b.Shards())
			var entries []bus.Entry
			for _, m := range messagesOf("a", 0, 5) {
				entries = append(entries, bus.Entry{Message: m})
			}
			positions, err := b.Append(t.ctx, shard, entries...)
			if err != nil || len(positions) != len(entries) {
				t.failf("Append of %d events reports %v, %v", len(entries), positions, err)
			}
			if !slices.IsSortedFunc(positions, bus.Position.Compare) || positions[0] <= 0 {
				t.failf("the positions do not grow: %v", positions)
			}
			var seen []bus.Position
			for len(seen) < len(entries) {
				some := t.nextBatch(c)
				if some.Cursor == nil || some.Cursor.Shard != shard || len(some.Messages) != 1 {
					t.failf("%s has the cursor %+v in a batch of %d", some.Messages[0].UUID, some.Cursor, len(some.Messages))
				}
				seen = append(seen, some.Cursor.Position)
				some.Ack()
			}
			if !slices.Equal(seen, positions) {
				t.failf("Append reports %v, the broadcast %v", positions, seen)
			}
		},
	},
	{
		"Append reports where an event is that the log holds",
		"a producer that posts again waits for the first post",
		func(t *trial) {
			t.needs("Positions", "Once")
			b := t.open("n1")
			first := t.once(b, "a", "a#0", "a#1")
			if again := t.once(b, "a", "a#1", "a#2", "a#0", "a#2"); len(first) != 2 || len(again) != 4 ||
				again[0] != first[1] || again[2] != first[0] || again[1] != again[3] || again[1] <= first[1] {
				t.failf("the events are at %v, and when published again at %v", first, again)
			}
		},
	},
	{
		"Reached waits until a group has acked everything up to a position",
		"before an instance is removed its last events must be in the queue, on whichever node",
		func(t *trial) {
			t.needs("Positions")
			b := t.open("n1")
			shard := bus.Shard("a", b.Shards())
			c := t.group(b, "g", shard)
			positions := t.once(b, "a", "a#0", "a#1")
			reached := make(chan error, 1)
			go func() {
				reached <- b.Reached(t.ctx, bus.Cursor{Group: "g", Shard: shard, Position: positions[1]})
			}()
			t.take(c, "a", 0)
			last := t.next(c)
			select {
			case err := <-reached:
				t.failf("Reached returned %v before the ack", err)
			case <-time.After(t.engine.Quiet):
			}
			last.Ack()
			select {
			case err := <-reached:
				if err != nil {
					t.failf("Reached returned %v", err)
				}
			case <-time.After(t.engine.Patience):
				t.failf("Reached did not return in %v", t.engine.Patience)
			}
			ctx, cancel := context.WithCancel(t.ctx)
			cancel()
			if err := b.Reached(ctx, bus.Cursor{Group: "other", Shard: shard, Position: 1}); !errors.Is(err, context.Canceled) {
				t.failf("Reached with an ended context returned %v for a group that does not exist", err)
			}
		},
	},
	{
		"Reached sees acks on another node",
		"an instance is removed on one node while its events are dispatched on another",
		func(t *trial) {
			t.needs("Positions", "Nodes")
			one, two := t.open("n1"), t.open("n2")
			shard := bus.Shard("a", one.Shards())
			t.count(t.group(two, "g", shard))
			positions := t.once(one, "a", "a#0")
			ctx, cancel := context.WithTimeout(t.ctx, t.engine.Patience)
			defer cancel()
			if err := one.Reached(ctx, bus.Cursor{Group: "g", Shard: shard, Position: positions[0]}); err != nil {
				t.failf("Reached returned %v", err)
			}
		},
	},
	{
		"without positions nothing pretends to have them",
		"an event that is taken for handled too early is delivered with the wrong settings",
		func(t *trial) {
			if t.engine.Features.Positions {
				t.Skip("the engine declares the feature Positions")
			}
			b := t.open("n1")
			if positions := t.once(b, "a", "a#0"); positions != nil {
				t.failf("Append reports %v", positions)
			}
			if err := b.Reached(t.ctx, bus.Cursor{Group: "g"}); !errors.Is(err, bus.ErrUnsupported) {
				t.failf("Reached returned %v, want ErrUnsupported", err)
			}
		},
	},
}

// beside returns the name of another instance in the same shard.
func beside(instance string, shards int) string {
	for _, name := range names(10000) {
		if bus.Shard(name, shards) == bus.Shard(instance, shards) {
			return name
		}
	}
	return "" // never: there are at most 1,024 shards
}
