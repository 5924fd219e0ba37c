package leasetest

import (
	"context"
	"errors"
	"sync"

	"github.com/evosink/evosink/core/bus"
)

// holderRules are about the node that has a shard, and how others get it from it.
var holderRules = []rule{
	{
		"a shard has one holder",
		"two nodes that both dispatch a shard deliver its events twice and out of order",
		func(t *trial) {
			a, b := t.Open("a"), t.Open("b")
			l := t.acquire(a, 3, "a")
			if want := (bus.Lease{Group: group, Shard: 3, Node: "a", Epoch: 1, Until: l.Until}); l != want {
				t.failf("the first lease is %+v, want %+v", l, want)
			}
			t.refused(b, 3, "b")
			t.acquire(b, 4, "b")
			if l, ok, err := b.Acquire(t.ctx, "other", 3, "b"); !ok || err != nil || l.Group != "other" {
				t.failf("another group's lease of the shard: %+v, %v, %v", l, ok, err)
			}
			t.held(a, "a", "b")
			t.held(b, "a", "b")
		},
	},
	{
		"acquiring again gives the same lease",
		"a node that looks again must not be refused, nor fence its own writes",
		func(t *trial) {
			a := t.Open("a")
			first, again := t.acquire(a, 0, "a"), t.acquire(a, 0, "a")
			if again.Epoch != first.Epoch {
				t.failf("the epoch was %d and is %d", first.Epoch, again.Epoch)
			}
		},
	},
	{
		"of nodes that race for shards one gets each",
		"all nodes look at the same moment: when one has released its leases",
		func(t *trial) {
			const shards = 32
			names := []string{"a", "b", "c"}
			var mu sync.Mutex
			won := map[int][]string{}
			var racing sync.WaitGroup
			for _, name := range names {
				leases := t.Open(name)
				racing.Go(func() {
					for shard := range shards {
						if _, ok, err := leases.Acquire(t.ctx, group, shard, name); ok && err == nil {
							mu.Lock()
							won[shard] = append(won[shard], name)
							mu.Unlock()
						}
					}
				})
			}
			racing.Wait()
			for shard := range shards {
				if len(won[shard]) != 1 {
					t.failf("shard %d was given to %v", shard, won[shard])
				}
			}
		},
	},
	{
		"a lease that is released is free at once and wakes the others",
		"a rolling restart must not cost a lease time per node",
		func(t *trial) {
			a, b := t.Open("a"), t.Open("b")
			l := t.acquire(a, 0, "a")
			changed := b.Changed()
			t.asleep(changed)
			t.release(a, l)
			t.awake(changed)
			if got := t.acquire(b, 0, "b"); t.ends(b) && got.Epoch <= l.Epoch {
				t.failf("the epoch is %d after %d: it must grow with every change of hands", got.Epoch, l.Epoch)
			}
			t.refused(a, 0, "a")
		},
	},
	{
		"a lease that was released is not renewed",
		"a renewal that was on its way must not take the shard from its next holder",
		func(t *trial) {
			a := t.Open("a")
			l := t.acquire(a, 0, "a")
			t.release(a, l)
			t.renewed(a, []bus.Lease{l})
			t.held(a)
		},
	},
	{
		"an ended context changes nothing",
		"a node that shuts down must not take what it has just given back",
		func(t *trial) {
			a := t.Open("a")
			l := t.acquire(a, 0, "a")
			ctx, cancel := context.WithCancel(t.ctx)
			cancel()
			_, _, acquire := a.Acquire(ctx, group, 1, "a")
			_, join := a.Join(ctx, "a")
			_, held := a.Held(ctx, group)
			_, renew := a.Renew(ctx, l)
			for call, err := range map[string]error{
				"Acquire": acquire, "Join": join, "Held": held, "Renew": renew, "Release": a.Release(ctx, l), "Leave": a.Leave(ctx, "a"),
			} {
				if !errors.Is(err, context.Canceled) {
					t.failf("%s returned %v", call, err)
				}
			}
			t.held(a, "a")
		},
	},
}
