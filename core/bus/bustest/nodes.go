package bustest

import "github.com/evosink/evosink/core/bus"

var nodeRules = []rule{
	{
		"a broadcast reaches every node",
		"a client may be connected to any node, an event be emitted on any",
		func(t *trial) {
			t.needs("Nodes")
			one, two := t.open("n1"), t.open("n2")
			a, b := t.count(t.broadcast(one)), t.count(t.broadcast(two))
			n := t.crowd(25, names(20), one, two)
			t.expect(a, n)
			t.expect(b, n)
		},
	},
	{
		"a group gets every event once in the whole cluster",
		"two nodes must not both deliver an event, and order per instance holds across them",
		func(t *trial) {
			t.needs("Nodes")
			one, two := t.open("n1"), t.open("n2")
			y := t.count(append(t.groups(one, "g"), t.groups(two, "g")...)...)
			n := t.crowd(25, names(20), one, two)
			t.expect(y, n)
		},
	},
	{
		"the node that came first may stop",
		"a rolling restart loses nothing: the group lives on, also when the node that made it is gone, and goes on in order",
		func(t *trial) { t.stopOne(0) },
	},
	{
		"the node that came last may stop",
		"a rolling restart loses nothing: what the node had in flight comes to the other, in order",
		func(t *trial) { t.stopOne(1) },
	},
}

// stopOne stops one of two nodes in the middle of a stream that the other one publishes.
func (t *trial) stopOne(stopped int) {
	t.Helper()
	t.needs("Nodes")
	nodes := []bus.Bus{t.open("n1"), t.open("n2")}
	stays := nodes[1-stopped]
	live := t.count(t.broadcast(stays))
	y := t.count(append(t.groups(nodes[0], "g"), t.groups(nodes[1], "g")...)...)
	const half, instances = 20, 20
	for n := range 2 * half {
		for _, instance := range names(instances) {
			t.publish(stays, instance, n, n+1)
		}
		if n == half {
			t.close(nodes[stopped])
		}
	}
	t.complete(y, 2*half*instances)
	t.expect(live, 2*half*instances)
}
