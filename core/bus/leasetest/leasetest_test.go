package leasetest_test

import (
	"context"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/evosink/evosink/core/bus"
	"github.com/evosink/evosink/core/bus/leasetest"
)

// A clock stands still but for what is added.
type clock struct{ at time.Time }

func (c *clock) now() time.Time       { return c.at }
func (c *clock) pass(d time.Duration) { c.at = c.at.Add(d) }

// cluster is leases on a clock of their own, changed by a fault.
func cluster(ttl time.Duration, fault func(*bus.LocalLeases) bus.Leases) leasetest.Cluster {
	c := &clock{time.Unix(1_700_000_000, 0)}
	sound := bus.NewLocalLeases(ttl, c.now)
	out := leasetest.Cluster{
		Open:  func(string) bus.Leases { return fault(sound) },
		Write: func(l bus.Lease) error { return sound.Fence(l.Group, l.Shard, l.Epoch) },
	}
	if ttl > 0 {
		out.Pass = c.pass
	}
	return out
}

func sound(l *bus.LocalLeases) bus.Leases { return l }

func TestLocalLeases(t *testing.T) {
	for name, ttl := range map[string]time.Duration{"that end": 10 * time.Second, "without end": 0} {
		t.Run(name, func(t *testing.T) {
			leasetest.Run(t, func(*testing.T) leasetest.Cluster { return cluster(ttl, sound) })
		})
	}
}

// faults are mistakes of engines and the rule that finds each.
var faults = map[string]struct {
	rule  string
	fault func(*bus.LocalLeases) bus.Leases
}{
	"gives a shard to all":       {"a_shard_has_one_holder", func(l *bus.LocalLeases) bus.Leases { return generous{l} }},
	"gives one to each racer":    {"of_nodes_that_race_for_shards_one_gets_each", func(l *bus.LocalLeases) bus.Leases { return generous{l} }},
	"a new epoch for nothing":    {"acquiring_again_gives_the_same_lease", func(l *bus.LocalLeases) bus.Leases { return restless{l} }},
	"never wakes":                {"a_lease_that_is_released_is_free_at_once_and_wakes_the_others", func(l *bus.LocalLeases) bus.Leases { return deaf{l} }},
	"keeps what is released":     {"a_lease_that_is_released_is_free_at_once_and_wakes_the_others", func(l *bus.LocalLeases) bus.Leases { return sticky{l} }},
	"renews what was released":   {"a_lease_that_was_released_is_not_renewed", func(l *bus.LocalLeases) bus.Leases { return forgiving{l} }},
	"renews what has ended":      {"a_lease_that_has_ended_is_not_renewed", func(l *bus.LocalLeases) bus.Leases { return forgiving{l} }},
	"does not renew":             {"renewing_extends_a_lease_by_its_time", func(l *bus.LocalLeases) bus.Leases { return idle{l} }},
	"extends on acquiring":       {"acquiring_again_does_not_extend_a_lease", func(l *bus.LocalLeases) bus.Leases { return eager{l} }},
	"leases never end":           {"a_lease_ends_after_its_time", func(l *bus.LocalLeases) bus.Leases { return immortal{l} }},
	"releases for anybody":       {"releasing_a_lease_that_has_ended_takes_nothing_from_its_next_holder", func(l *bus.LocalLeases) bus.Leases { return careless{l} }},
	"one epoch for all":          {"the_epoch_grows_with_each_change_of_hands", func(l *bus.LocalLeases) bus.Leases { return ageless{l} }},
	"the dead are alive":         {"nodes_know_each_other_while_they_live", func(l *bus.LocalLeases) bus.Leases { return haunted{l} }},
	"ignores contexts":           {"an_ended_context_changes_nothing", func(l *bus.LocalLeases) bus.Leases { return blind{l} }},
	"the dead keep their shards": {"two_nodes_take_over_what_the_third_had", func(l *bus.LocalLeases) bus.Leases { return immortal{l} }},
	"does not say when":          {"leases_say_when_they_end", func(l *bus.LocalLeases) bus.Leases { return timeless{l} }},
}

const faultVariable = "LEASETEST_FAULT"

// TestFaulty is what TestEveryFaultIsFound runs in a process of its own.
func TestFaulty(t *testing.T) {
	f, ok := faults[os.Getenv(faultVariable)]
	if !ok {
		t.Skip("runs as a child of TestEveryFaultIsFound")
	}
	leasetest.Run(t, func(*testing.T) leasetest.Cluster {
		c := cluster(10*time.Second, f.fault)
		c.Patience = time.Second
		return c
	})
}

func TestEveryFaultIsFound(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for name, f := range faults {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cmd := exec.Command(self, "-test.run=^TestFaulty$/^"+f.rule+"$", "-test.timeout=60s")
			cmd.Env = append(os.Environ(), faultVariable+"="+name)
			out, err := cmd.CombinedOutput()
			if err == nil || !strings.Contains(string(out), "--- FAIL: TestFaulty/"+f.rule) {
				t.Fatalf("rule %s did not fail: %v\n%s", f.rule, err, out)
			}
			if strings.Contains(string(out), "panic:") || !strings.Contains(string(out), "The rule: ") {
				t.Fatalf("the failure does not explain itself:\n%s", out)
			}
		})
	}
}

// TestAStoreThatTakesEveryEpochIsFound is about the fault of a store that does not look at epochs.
func TestAStoreThatTakesEveryEpochIsFound(t *testing.T) {
	if os.Getenv(faultVariable) == "takes every epoch" {
		leasetest.Run(t, func(*testing.T) leasetest.Cluster {
			c := cluster(10*time.Second, sound)
			c.Write = func(bus.Lease) error { return nil }
			return c
		})
		return
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	const rule = "what_a_former_holder_writes_is_refused"
	cmd := exec.Command(self, "-test.run=^TestAStoreThatTakesEveryEpochIsFound$/^"+rule+"$", "-test.timeout=60s")
	cmd.Env = append(os.Environ(), faultVariable+"=takes every epoch")
	if out, err := cmd.CombinedOutput(); err == nil || !strings.Contains(string(out), "--- FAIL: TestAStoreThatTakesEveryEpochIsFound/"+rule) {
		t.Fatalf("the rule did not fail: %v\n%s", err, out)
	}
}

type generous struct{ *bus.LocalLeases }

func (g generous) Acquire(ctx context.Context, group string, shard int, node string) (bus.Lease, bool, error) {
	l, _, err := g.LocalLeases.Acquire(ctx, group, shard, node)
	l.Group, l.Shard, l.Node, l.Epoch = group, shard, node, 1
	return l, true, err
}

type restless struct{ *bus.LocalLeases }

func (r restless) Acquire(ctx context.Context, group string, shard int, node string) (bus.Lease, bool, error) {
	if held, _ := r.Held(ctx, group); len(held) > 0 && held[0].Node == node {
		r.Release(ctx, held[0])
	}
	return r.LocalLeases.Acquire(ctx, group, shard, node)
}

type deaf struct{ *bus.LocalLeases }

func (deaf) Changed() <-chan struct{} {
	return make(chan struct{})
}

type sticky struct{ *bus.LocalLeases }

func (s sticky) Release(ctx context.Context, l bus.Lease) error {
	s.Leave(ctx, "nobody")
	if _, err := s.Join(ctx, "nobody"); err != nil { // wakes
		return err
	}
	return nil
}

type forgiving struct{ *bus.LocalLeases }

func (f forgiving) Renew(_ context.Context, leases ...bus.Lease) ([]bus.Lease, error) {
	return leases, nil
}

type idle struct{ *bus.LocalLeases }

func (idle) Renew(_ context.Context, leases ...bus.Lease) ([]bus.Lease, error) { return leases, nil }

type eager struct{ *bus.LocalLeases }

func (e eager) Acquire(ctx context.Context, group string, shard int, node string) (bus.Lease, bool, error) {
	l, ok, err := e.LocalLeases.Acquire(ctx, group, shard, node)
	if ok {
		e.Renew(ctx, l)
	}
	return l, ok, err
}

// immortal gives no shard a second time.
type immortal struct{ *bus.LocalLeases }

func (i immortal) Acquire(ctx context.Context, group string, shard int, node string) (bus.Lease, bool, error) {
	l, ok, err := i.LocalLeases.Acquire(ctx, group, shard, node)
	if ok && l.Epoch > 1 {
		return bus.Lease{}, false, err
	}
	return l, ok, err
}

type careless struct{ *bus.LocalLeases }

func (c careless) Release(ctx context.Context, l bus.Lease) error {
	held, _ := c.Held(ctx, l.Group)
	for _, h := range held {
		c.LocalLeases.Release(ctx, h)
	}
	return nil
}

type ageless struct{ *bus.LocalLeases }

func (a ageless) Acquire(ctx context.Context, group string, shard int, node string) (bus.Lease, bool, error) {
	l, ok, err := a.LocalLeases.Acquire(ctx, group, shard, node)
	l.Epoch = 1
	return l, ok, err
}

type haunted struct{ *bus.LocalLeases }

func (h haunted) Join(ctx context.Context, node string) ([]string, error) {
	for _, other := range []string{"a", "b", "c"} {
		if _, err := h.LocalLeases.Join(ctx, other); err != nil {
			return nil, err
		}
	}
	return h.LocalLeases.Join(ctx, node)
}

type blind struct{ *bus.LocalLeases }

func (b blind) Release(_ context.Context, l bus.Lease) error {
	return b.LocalLeases.Release(context.Background(), l)
}

type timeless struct{ *bus.LocalLeases }

func (b timeless) Acquire(ctx context.Context, group string, shard int, node string) (bus.Lease, bool, error) {
	l, ok, err := b.LocalLeases.Acquire(ctx, group, shard, node)
	l.Until = time.Time{}
	return l, ok, err
}
