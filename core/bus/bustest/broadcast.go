package bustest

var broadcastRules = []rule{
	{
		"every broadcast subscription gets every event",
		"each node's live sinks see everything, in order per instance, whatever the number of subscriptions and publishers",
		func(t *trial) {
			b := t.open("n1")
			var all []*tally
			for range 3 {
				all = append(all, t.count(t.broadcast(b)))
			}
			n := t.crowd(25, names(20), b)
			for _, y := range all {
				t.expect(y, n)
			}
		},
	},
	{
		"a broadcast begins with what is published from then on",
		"a client that connects now wants what happens now; the past comes from recovery",
		func(t *trial) {
			b := t.open("n1")
			t.publish(b, "a", 0, 3)
			c := t.broadcast(b)
			t.publish(b, "a", 3, 5)
			t.take(c, "a", 3)
			t.take(c, "a", 4)
			t.quiet(c)
		},
	},
	{
		"a slow broadcast reader holds up nobody and misses nothing",
		"one stuck live handler must not stop Emit, the other nodes' or sinks' readers, nor lose events when it goes on",
		func(t *trial) {
			const n = 500
			b := t.open("n1")
			slow := t.broadcast(b)
			fast, group := t.count(t.broadcast(b)), t.count(t.groups(b, "g")...)
			t.publish(b, "a", 0, 1)
			first := t.next(slow) // without an answer
			t.publish(b, "a", 1, n)
			t.expect(fast, n)
			t.expect(group, n)
			first.Ack()
			for i := 1; i < n; i++ {
				t.take(slow, "a", i)
			}
		},
	},
	{
		"subscriptions get copies of their own",
		"a handler or middleware may change its message's metadata; nobody else may see that, and one ack is not everybody's",
		func(t *trial) {
			b := t.open("n1")
			one, two := t.broadcast(b), t.broadcast(b)
			t.publish(b, "a", 0, 2)
			m := t.next(one)
			m.Metadata["event"] = "changed"
			m.Ack()
			m = t.next(two)
			t.want(m, "a", 0)
			if m.Metadata["event"] != "messages.upsert" {
				t.failf("the other subscription's change is seen: %v", m.Metadata)
			}
			t.quiet(two)
			m.Ack()
			t.take(two, "a", 1)
			t.take(one, "a", 1)
		},
	},
}
