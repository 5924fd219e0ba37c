package leasetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/evosink/evosink/core/bus"
)

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

// held checks which nodes have the group's leases, in the order of shards.
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
