package leasetest

import (
	"github.com/evosink/evosink/core/bus"
)

// endRules are about the end of leases and what a former holder may do.
var endRules = []rule{
	{
		"a lease ends after its time",
		"the shards of a dead node must go on elsewhere, and not before it must have noticed",
		func(t *trial) {
			t.needsEnd()
			a, b := t.Open("a"), t.Open("b")
			l := t.acquire(a, 0, "a")
			t.Pass(a.TTL() * 9 / 10)
			t.refused(b, 0, "b")
			t.held(b, "a")
			t.Pass(a.TTL() / 5)
			t.held(b)
			if got := t.acquire(b, 0, "b"); got.Epoch <= l.Epoch {
				t.failf("the epoch is %d after %d: it must grow with every change of hands", got.Epoch, l.Epoch)
			}
		},
	},
	{
		"renewing extends a lease by its time",
		"a node that lives keeps its shards",
		func(t *trial) {
			t.needsEnd()
			a, b := t.Open("a"), t.Open("b")
			l := t.acquire(a, 0, "a")
			for range 5 {
				t.Pass(a.TTL() * 2 / 3)
				got := t.renewed(a, []bus.Lease{l}, l)
				if !got[0].Until.After(l.Until) {
					t.failf("it ended at %v and ends at %v", l.Until, got[0].Until)
				}
				l = got[0]
				t.refused(b, 0, "b")
			}
		},
	},
	{
		"acquiring again does not extend a lease",
		"a node that cannot renew must not believe that it goes on, and both ways would have to be watched",
		func(t *trial) {
			t.needsEnd()
			a, b := t.Open("a"), t.Open("b")
			t.acquire(a, 0, "a")
			t.Pass(a.TTL() * 2 / 3)
			t.acquire(a, 0, "a")
			t.Pass(a.TTL() * 2 / 3)
			t.acquire(b, 0, "b")
		},
	},
	{
		"a lease that has ended is not renewed",
		"a node that was frozen must notice it, also when no other has taken the shard: something may have happened meanwhile",
		func(t *trial) {
			t.needsEnd()
			a, b := t.Open("a"), t.Open("b")
			free, taken := t.acquire(a, 0, "a"), t.acquire(a, 1, "a")
			t.Pass(a.TTL() * 11 / 10)
			t.acquire(b, 1, "b")
			kept := t.acquire(a, 2, "a")
			t.renewed(a, []bus.Lease{free, kept, taken}, kept)
			if again := t.acquire(a, 0, "a"); again.Epoch <= free.Epoch {
				t.failf("the epoch is %d after %d: no node had the shard meanwhile", again.Epoch, free.Epoch)
			}
		},
	},
	{
		"releasing a lease that has ended takes nothing from its next holder",
		"a node that was frozen while it shut down goes on with its Release",
		func(t *trial) {
			t.needsEnd()
			a, b := t.Open("a"), t.Open("b")
			l := t.acquire(a, 0, "a")
			t.Pass(a.TTL() * 11 / 10)
			t.acquire(b, 0, "b")
			t.release(a, l)
			t.refused(a, 0, "a")
			t.Pass(a.TTL() * 11 / 10)
			t.acquire(a, 0, "a") // again, with an epoch of its own
			t.release(a, l)
			t.refused(b, 0, "b")
		},
	},
	{
		"the epoch grows with each change of hands",
		"writes of every former holder are told from those of the present one",
		func(t *trial) {
			t.needsEnd()
			names := []string{"a", "b", "c"}
			last := int64(0)
			for i := range 9 {
				name := names[i%3]
				leases := t.Open(name)
				l := t.acquire(leases, 0, name)
				if l.Epoch <= last {
					t.failf("change %d gives epoch %d after %d", i, l.Epoch, last)
				}
				last = l.Epoch
				if i%2 == 0 {
					t.release(leases, l)
				} else {
					t.Pass(leases.TTL() * 11 / 10)
				}
			}
		},
	},
	{
		"what a former holder writes is refused",
		"a node that was frozen and goes on must do no harm",
		func(t *trial) {
			if t.Write == nil {
				t.Skip("the engine writes nothing with an epoch")
			}
			a, b := t.Open("a"), t.Open("b")
			old := t.acquire(a, 0, "a")
			t.writes(old, nil)
			if t.ends(a) {
				t.Pass(a.TTL() * 11 / 10)
				t.writes(old, bus.ErrFenced) // no node has it
				l := t.acquire(b, 0, "b")
				t.writes(old, bus.ErrFenced)
				t.writes(l, nil)
				old = l
			}
			t.release(b, old)
			t.release(a, old)
			t.writes(old, bus.ErrFenced)
		},
	},
	{
		"leases say when they end",
		"its holder begins nothing in the last part of a lease",
		func(t *trial) {
			a := t.Open("a")
			if l := t.acquire(a, 0, "a"); l.Until.IsZero() == t.ends(a) {
				t.failf("the lease time is %v, and a lease ends at %v", a.TTL(), l.Until)
			}
		},
	},
}
