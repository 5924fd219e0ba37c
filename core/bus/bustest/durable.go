package bustest

import "github.com/evosink/evosink/core/bus"

var durableRules = []rule{
	{
		"a group goes on behind its last ack when the log is opened again",
		"after a restart every event not acked is delivered, and after an orderly one none a second time",
		func(t *trial) {
			t.needs("Reopens")
			b := t.open("n1")
			shard := bus.Shard("a", b.Shards())
			t.publish(b, "a", 0, 6)
			c := t.group(b, "g", shard)
			for n := range 3 {
				t.take(c, "a", n)
			}
			t.want(t.next(c), "a", 3) // without an answer
			t.close(b)
			b = t.open("n1")
			t.publish(b, "a", 6, 8)
			c = t.group(b, "g", shard)
			for n := 3; n < 8; n++ {
				t.take(c, "a", n)
			}
			t.quiet(c)
		},
	},
	{
		"a log that is opened again is complete and as it was",
		"what Publish acknowledged is there for a group that begins later; the number of shards has not changed",
		func(t *trial) {
			t.needs("Reopens")
			b := t.open("n1")
			shards := b.Shards()
			n := t.crowd(10, names(20), b)
			t.close(b)
			b = t.open("n1")
			if b.Shards() != shards {
				t.failf("the log had %d shards and has %d now", shards, b.Shards())
			}
			t.expect(t.count(t.groups(b, "g")...), n)
		},
	},
	{
		"a broadcast after opening again begins with what is new",
		"clients that connect after a restart are not flooded with the past",
		func(t *trial) {
			t.needs("Reopens")
			b := t.open("n1")
			t.publish(b, "a", 0, 3)
			t.close(b)
			b = t.open("n1")
			c := t.broadcast(b)
			t.publish(b, "a", 3, 4)
			t.take(c, "a", 3)
		},
	},
	{
		"an event that is to be published once is, also when the log is opened again",
		"a producer that was cut off by a restart posts again, and the first post may have been stored",
		func(t *trial) {
			t.needs("Reopens", "Once")
			b := t.open("n1")
			t.publish(b, "a", 0, 1)
			t.once(b, "a", "a#1")
			t.close(b)
			b = t.open("n1")
			c := t.broadcast(b)
			t.once(b, "a", "a#0")
			t.once(b, "a", "a#1")
			t.publish(b, "a", 2, 3)
			t.take(c, "a", 2)
			t.quiet(c)
		},
	},
}
