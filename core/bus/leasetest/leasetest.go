// Package leasetest holds every engine's leases to the contract of [bus.Leases], one rule at a time, with two and three nodes.
//
// Each rule runs on leases of its own and says in its failure text why somebody relies on it. Rules about the end of leases
// are skipped by name where leases do not end.
package leasetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/evosink/evosink/core/bus"
)

// A Cluster is empty leases and the nodes that share them.
type Cluster struct {
	// Open returns the leases as the node of that name sees them.
	Open func(node string) bus.Leases
	// Pass lets so much time pass by the engine's clock. nil if leases do not end.
	Pass func(d time.Duration)
	// Write is a write of the engine's that carries a lease's epoch. nil if the engine has none yet.
	Write func(l bus.Lease) error
	// Patience is how long to wait for what must happen. Default 10 s.
	Patience time.Duration
}

// Run runs every rule as a subtest. open makes a cluster for one rule.
func Run(t *testing.T, open func(t *testing.T) Cluster) {
	for _, r := range rules {
		t.Run(strings.ReplaceAll(r.name, " ", "_"), func(t *testing.T) {
			c := open(t)
			if c.Patience == 0 {
				c.Patience = 10 * time.Second
			}
			r.run(&trial{T: t, rule: r, ctx: context.Background(), Cluster: c})
		})
	}
}

// A rule is one sentence of the contract.
type rule struct {
	name string
	why  string // for the failure text
	run  func(*trial)
}

// group is the group of most rules.
const group = "dispatch"

var rules = []rule{
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
				t.failf("the epoch is %d after %d: nobody had the shard meanwhile", again.Epoch, free.Epoch)
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
				t.writes(old, bus.ErrFenced) // nobody has it
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

// A trial is one rule at work.
type trial struct {
	*testing.T
	Cluster
	rule rule
	ctx  context.Context // a field because a trial is one call
}

// failf ends the rule with what went wrong and why it matters.
func (t *trial) failf(format string, args ...any) {
	t.Helper()
	t.Fatalf("%s\n\nThe rule: %s: %s", fmt.Sprintf(format, args...), t.rule.name, t.rule.why)
}

func (t *trial) ends(l bus.Leases) bool { return l.TTL() > 0 }

func (t *trial) needsEnd() {
	if t.Pass == nil {
		t.Skip("leases of the engine do not end")
	}
}

func (t *trial) acquire(leases bus.Leases, shard int, node string) bus.Lease {
	t.Helper()
	l, ok, err := leases.Acquire(t.ctx, group, shard, node)
	if !ok || err != nil || l.Node != node || l.Shard != shard || l.Epoch < 1 {
		t.failf("%s acquires shard %d: %+v, %v, %v", node, shard, l, ok, err)
	}
	return l
}

func (t *trial) refused(leases bus.Leases, shard int, node string) {
	t.Helper()
	if l, ok, err := leases.Acquire(t.ctx, group, shard, node); ok || err != nil {
		t.failf("%s acquires shard %d, which another node has: %+v, %v", node, shard, l, err)
	}
}

func (t *trial) release(leases bus.Leases, l bus.Lease) {
	t.Helper()
	if err := leases.Release(t.ctx, l); err != nil {
		t.failf("Release: %v", err)
	}
}

// renewed renews leases, of which those want are extended.
func (t *trial) renewed(leases bus.Leases, all []bus.Lease, want ...bus.Lease) []bus.Lease {
	t.Helper()
	got, err := leases.Renew(t.ctx, all...)
	same := func(a, b bus.Lease) bool { return a.Shard == b.Shard && a.Node == b.Node && a.Epoch == b.Epoch }
	if err != nil || !slices.EqualFunc(got, want, same) {
		t.failf("of %+v\nwere renewed %+v, %v\nwant %+v", all, got, err, want)
	}
	return got
}

// held checks who has the group's leases, in the order of shards.
func (t *trial) held(leases bus.Leases, nodes ...string) {
	t.Helper()
	all, err := leases.Held(t.ctx, group)
	slices.SortFunc(all, func(a, b bus.Lease) int { return a.Shard - b.Shard })
	var got []string
	for _, l := range all {
		got = append(got, l.Node)
	}
	if err != nil || !slices.Equal(got, nodes) {
		t.failf("the leases are held by %v, %v, want %v", got, err, nodes)
	}
}

func (t *trial) joins(leases bus.Leases, node string, want ...string) {
	t.Helper()
	if alive, err := leases.Join(t.ctx, node); err != nil || !slices.Equal(alive, want) {
		t.failf("when %s joins, %v are alive, %v, want %v", node, alive, err, want)
	}
}

func (t *trial) writes(l bus.Lease, want error) {
	t.Helper()
	if err := t.Write(l); !errors.Is(err, want) {
		t.failf("a write of %s with epoch %d returned %v, want %v", l.Node, l.Epoch, err, want)
	}
}

func (t *trial) asleep(changed <-chan struct{}) {
	t.Helper()
	select {
	case <-changed:
		t.failf("Changed tells of nothing")
	default:
	}
}

func (t *trial) awake(changed <-chan struct{}) {
	t.Helper()
	select {
	case <-changed:
	case <-time.After(t.Patience):
		t.failf("Changed has not told in %v", t.Patience)
	}
}
