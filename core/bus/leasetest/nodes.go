package leasetest

import (
	"github.com/evosink/evosink/core/bus"
)

// nodeRules are about nodes that come and go.
var nodeRules = []rule{
	{
		"nodes know each other while they live",
		"each takes its share of the shards by how many there are",
		func(t *trial) {
			a := t.Open("a")
			t.joins(a, "a", "a")
			if !t.ends(a) {
				return
			}
			b, c := t.Open("b"), t.Open("c")
			changed := a.Changed()
			t.asleep(changed)
			t.joins(c, "c", "a", "c")
			t.awake(changed)
			t.joins(b, "b", "a", "b", "c")
			t.Pass(a.TTL() * 2 / 3)
			t.joins(a, "a", "a", "b", "c")
			t.joins(b, "b", "a", "b", "c")
			t.Pass(a.TTL() * 2 / 3)
			t.joins(a, "a", "a", "b") // c has not joined again
			changed = a.Changed()
			t.asleep(changed)
			if err := b.Leave(t.ctx, "b"); err != nil {
				t.failf("Leave: %v", err)
			}
			t.awake(changed)
			t.joins(a, "a", "a")
		},
	},
	{
		"two nodes take over what the third had",
		"a node that was killed gives nothing back; its shards go on after the lease time, and not before",
		func(t *trial) {
			t.needsEnd()
			a, b, c := t.Open("a"), t.Open("b"), t.Open("c")
			mine, yours := t.acquire(a, 0, "a"), t.acquire(b, 1, "b")
			for shard := 2; shard < 6; shard++ {
				t.acquire(c, shard, "c")
			}
			t.Pass(a.TTL() * 2 / 3)
			mine, yours = t.renewed(a, []bus.Lease{mine}, mine)[0], t.renewed(b, []bus.Lease{yours}, yours)[0]
			for shard := 2; shard < 6; shard++ {
				t.refused(a, shard, "a")
			}
			t.Pass(a.TTL() / 2)
			for shard := 2; shard < 6; shard += 2 {
				t.acquire(a, shard, "a")
				t.acquire(b, shard+1, "b")
			}
			t.held(c, "a", "b", "a", "b", "a", "b")
			t.refused(a, yours.Shard, "a")
			t.refused(b, mine.Shard, "b")
		},
	},
}
