package bustest

import (
	"slices"
	"time"

	"github.com/evosink/evosink/core/bus"
)

var batchRules = []rule{
	{
		"batches are a group's events, each once and in order",
		"the dispatcher takes a batch over at once; what is missing or doubled there is lost or delivered twice",
		func(t *trial) {
			b := t.open("n1")
			c := t.batches(b, "g", bus.Topic(bus.Shard("a", b.Shards())))
			t.publish(b, "a", 0, 200)
			t.carry(c, "a", 0, 200, (*bus.Batch).Ack)
			t.publish(b, "a", 200, 210)
			t.carry(c, "a", 200, 210, (*bus.Batch).Ack)
		},
	},
	{
		"a batch is what follows in its shard",
		"the queue keeps one position per shard: all before it is taken; and what many instances emit costs one answer",
		func(t *trial) {
			t.needs("Positions")
			b := t.open("n1")
			shard := bus.Shard("a", b.Shards())
			t.begin(b, "g", shard)
			var want []string
			for n := range 20 {
				for _, instance := range []string{"a", beside("a", b.Shards())} {
					t.publish(b, instance, n, n+1)
					want = append(want, newEvent(instance, n).ID)
				}
				if other, ok := elsewhere("a", b.Shards()); ok {
					t.publish(b, other, n, n+1)
				}
			}
			c := t.batches(b, "g", bus.Topic(shard))
			for got := []string(nil); len(got) < len(want); {
				some := t.nextBatch(c)
				got = append(got, idsOf(some)...)
				if n := min(len(got), len(want)); !slices.Equal(got, want[:n]) {
					t.failf("the shard's events came as %v, published were %v", got, want[:n])
				}
				some.Ack()
			}
			t.quietBatch(c)
		},
	},
	{
		"the next batch comes after the answer to the last",
		"the router runs each batch in a goroutine of its own; order exists only because one is under way",
		func(t *trial) {
			b := t.open("n1")
			other := beside("a", b.Shards())
			for kind, c := range t.batchKinds(b, "a") {
				t.publish(b, "a", 0, 1)
				some := t.nextBatch(c)
				t.publish(b, other, 0, 1)
				t.quietBatch(c)
				some.Ack()
				t.carry(c, other, 0, 1, (*bus.Batch).Ack)
				t.Logf("%s: ok", kind)
			}
		},
	},
	{
		"a nacked batch comes again from its first event, after a pause",
		"the handler has failed, and holds none of it; and a handler that always fails must not spin",
		func(t *trial) {
			b := t.open("n1")
			for kind, c := range t.batchKinds(b, "a") {
				t.publish(b, "a", 0, 4)
				first := t.nextBatch(c)
				t.publish(b, "a", 4, 6)
				nacked := time.Now()
				first.Nack()
				again := t.nextBatch(c)
				if pause := time.Since(nacked); pause < 500*time.Microsecond {
					t.failf("%s: the batch came again %v after its nack, which is no pause", kind, pause)
				}
				had, ids := idsOf(first), idsOf(again)
				if again == first || len(ids) < len(had) || !slices.Equal(ids[:len(had)], had) {
					t.failf("%s: a batch of %v was nacked, then came one of %v", kind, had, ids)
				}
				again.Ack()
				t.carry(c, "a", len(again.Messages), 6, (*bus.Batch).Ack)
			}
		},
	},
	{
		"batches of a broadcast are its events",
		"the hub's live sinks read batches as its dispatcher does",
		func(t *trial) {
			b := t.open("n1")
			c := t.batches(b, "", bus.All)
			instances := []string{"a", "b", "c"}
			for n := range 20 {
				for _, instance := range instances {
					t.publish(b, instance, n, n+1)
				}
			}
			next := map[string]int{}
			for n := 0; n < 20*len(instances); {
				some := t.nextBatch(c)
				for _, m := range some.Messages {
					instance := bus.InstanceOf(m)
					t.want(m, instance, next[instance])
					next[instance]++
					n++
				}
				some.Ack()
			}
			t.quietBatch(c)
		},
	},
}

// batchKinds are the two kinds of subscription of batches, for rules that hold for both. Each is of events that are
// published while it is ranged over.
func (t *trial) batchKinds(b bus.Bus, instance string) func(yield func(kind string, c <-chan *bus.Batch) bool) {
	return func(yield func(kind string, c <-chan *bus.Batch) bool) {
		shard := bus.Shard(instance, b.Shards())
		if yield("group", t.batches(b, "g", bus.Topic(shard))) {
			yield("broadcast", t.batches(b, "", bus.All))
		}
	}
}

// carry takes batches until it has the events from (included) to (excluded) of an instance, which must come alone and
// in order, and answers each. It returns the cursors behind them.
func (t *trial) carry(c <-chan *bus.Batch, instance string, from, to int, answer func(*bus.Batch)) (at []bus.Cursor) {
	t.Helper()
	for n := from; n < to; {
		some := t.nextBatch(c)
		for _, m := range some.Messages {
			t.want(m, instance, n)
			n++
		}
		at = append(at, some.Cursors...)
		answer(some)
	}
	return at
}

// keep acks a batch and leaves the cursor to the queue's store.
func keep(b *bus.Batch) {
	b.Keep()
	b.Ack()
}

func idsOf(b *bus.Batch) (ids []string) {
	for _, m := range b.Messages {
		ids = append(ids, m.UUID)
	}
	return ids
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
