package bustest

import (
	"context"
	"time"

	"github.com/evosink/evosink/core/bus"
)

var groupRules = []rule{
	{
		"a group gets every event once",
		"the dispatcher puts each event into the queue once; a second group is not affected by the first",
		func(t *trial) {
			b := t.open("n1")
			one, two := t.count(t.groups(b, "one")...), t.count(t.groups(b, "two")...)
			n := t.crowd(25, names(20), b)
			t.expect(one, n)
			t.expect(two, n)
		},
	},
	{
		"a new group begins at the start of the log",
		"an event that was acknowledged before the dispatcher first ran is not lost",
		func(t *trial) {
			t.needs("Backlog")
			b := t.open("n1")
			n := t.crowd(10, names(20), b)
			t.expect(t.count(t.groups(b, "late")...), n)
		},
	},
	{
		"several subscriptions of a group share its events",
		"two dispatchers in one cluster must not both deliver; order per instance holds whoever gets the event",
		func(t *trial) {
			b := t.open("n1")
			y := t.count(append(t.groups(b, "g"), t.groups(b, "g")...)...)
			n := t.crowd(25, names(20), b)
			t.expect(y, n)
		},
	},
	{
		"another subscription takes over behind the last ack",
		"when a handler is stopped and added again, or a node ends, the shard goes on with the first event not acked",
		func(t *trial) {
			b := t.open("n1")
			shard := bus.Shard("a", b.Shards())
			t.begin(b, "g", shard)
			t.publish(b, "a", 0, 4)
			ctx, cancel := context.WithCancel(t.ctx)
			defer cancel()
			first := t.subscribe(ctx, b.Group("g"), bus.Topic(shard))
			t.take(first, "a", 0)
			t.take(first, "a", 1)
			t.want(t.next(first), "a", 2) // without an answer
			cancel()
			t.ended(first)
			second := t.group(b, "g", shard)
			for n := 2; n < 4; n++ {
				t.take(second, "a", n)
			}
			t.quiet(second)
		},
	},
	{
		"order per instance holds with handlers of uneven speed",
		"a slow handler of one shard must neither reorder its instances nor hold up the others",
		func(t *trial) {
			b := t.open("n1")
			y := t.work(func(shard int) {
				if shard%3 == 0 {
					time.Sleep(time.Millisecond)
				}
			}, t.groups(b, "g")...)
			n := t.crowd(20, names(40), b)
			t.expect(y, n)
		},
	},
}
