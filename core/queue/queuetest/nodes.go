package queuetest

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/evosink/evosink/core/bus"
	"github.com/evosink/evosink/core/queue"
	"github.com/evosink/evosink/core/sink"
)

// Nodes is a store that several nodes share, and what shares its shards among them.
type Nodes struct {
	// Open returns the store, which is also [queue.Steering], and the leases, as a node sees them.
	Open func(node string) (queue.Store, bus.Leases)
	// Pass lets so much time pass by the engine's clock.
	Pass func(d time.Duration)
}

// nodeRules are about several queues on one store. Each node delivers what waits in the shards that it has acquired.
var nodeRules = []nodeRule{
	{"a shard that is handed over goes on elsewhere, in order, nothing lost and nothing twice", (*cluster).handsOver},
	{"of a node that dies only what was in flight comes twice", (*cluster).survivesDeath},
	{"a node that was frozen writes no result any more", (*cluster).refusesFrozenResults},
	{"a node that was frozen puts nothing any more", (*cluster).refusesFrozenPuts},
	{"a lease that was released or has ended writes nothing", (*cluster).refusesStale},
	{"a shard's marks are there for its next owner", (*cluster).passesMarks},
	{"a shard of a log is handed over with what the log answers for, in order, nothing lost and nothing twice",
		(*cluster).handsLogOver},
	{"of a log that a dead node has read nothing is lost, and nothing that it has marked comes again",
		(*cluster).survivesReader},
	{"a node that was frozen with events of a log marks nothing any more", (*cluster).refusesFrozenMarks},
	{"what a node does not hold it neither takes nor counts", (*cluster).keepsToItsOwn},
	{"a release waits for what is under way, and cuts it off when its time is over", (*cluster).releases},
	{"nothing begins when a lease has ended, also if no timer said so", (*cluster).looksAtTheClock},
	{"a pause holds lanes on every node, and ends on every node", (*cluster).pauses},
	{"a purge reaches the lanes of other nodes", (*cluster).purges},
	{"a requeue reaches the dead letters of other nodes", (*cluster).requeues},
	{"a requeue ends with its context, on every node", (*cluster).stopsRequeue},
	{"a job outlives the node that was to do it", (*cluster).keepsJobs},
}

type nodeRule struct {
	name string
	test func(*cluster)
}

// runNodes runs the rules of several nodes, or skips them by name.
func runNodes(t *testing.T, s Subject) {
	for _, rule := range nodeRules {
		t.Run(rule.name, func(t *testing.T) {
			if s.Nodes == nil {
				t.Skip("the engine has one node")
			}
			rule.test(&cluster{T: t, Nodes: s.Nodes(t), subject: s, Patience: s.Patience})
		})
	}
}

// handsOver moves all shards to and fro: while events come in, right after they were delivered, and while all lanes
// back off with more behind.
func (c *cluster) handsOver() {
	const events = 30
	var mu sync.Mutex
	var down atomic.Bool
	failed := map[string]bool{}
	answer := func(_ context.Context, d *sink.Delivery) error {
		time.Sleep(time.Millisecond) // so that some are under way
		mu.Lock()
		defer mu.Unlock()
		key := d.Event.Instance + d.Event.ID
		if down.Load() || d.Event.ID[3]%3 == 0 && !failed[key] {
			failed[key] = true
			return errors.New("503")
		}
		return nil
	}
	holder, other := c.join("a", answer), c.join("b", answer)
	a, b := holder, other
	a.gate.slow.Store(true)
	b.gate.slow.Store(true)
	one, two, inOne, inTwo := c.split(a, 8)
	shards, instances := append(one, two...), append(inOne, inTwo...)
	a.acquire(shards...)
	move := func() {
		for _, shard := range shards {
			holder.release(shard)
			other.acquire(shard)
		}
		holder, other = other, holder
	}
	put := func(from, to int) (wait func()) {
		var producers sync.WaitGroup
		for _, instance := range instances {
			producers.Go(func() {
				for n := from; n < to; n++ {
					c.put(instance, number(n), a, b)
				}
			})
		}
		return producers.Wait
	}
	delivered := func(n int) func() bool { return func() bool { return c.total() >= n*len(instances) } }
	wait := put(0, events)
	for range 3 {
		move()
	}
	wait()
	c.eventually("everything is delivered", delivered(events))
	for n := events + 1; n < events+6; n++ {
		put(n-1, n)()
		c.eventually("one more of each is delivered", delivered(n))
		move()
	}
	down.Store(true)
	put(events+5, events+10)()
	c.eventually("all lanes back off", func() bool {
		lanes, err := holder.store.Lanes(c.Context())
		return err == nil && len(lanes) == len(instances) &&
			!slices.ContainsFunc(lanes, func(l queue.Backlog) bool { return l.Head.Attempts == 0 })
	})
	move()
	down.Store(false)
	c.eventually("what has waited is delivered", func() bool { return delivered(events+10)() && a.waits()+b.waits() == 0 })
	for _, instance := range instances {
		if ids, nodes := c.of(instance); !slices.Equal(ids, numbers(events+10)) {
			c.Errorf("of %s arrived %v at %v: each event was to arrive once, in order", instance, ids, nodes)
		}
	}
	if n := a.lost.Load() + b.lost.Load(); n > 0 {
		c.Errorf("%d shards were lost in clean handovers", n)
	}
}

// survivesDeath kills a node that has delivered some, has some in flight and some waiting or backing off.
func (c *cluster) survivesDeath() {
	const events, stuckAt, failAt = 12, 5, 3
	var inFlight, again atomic.Int64
	one, two, stuck, failing := c.split(c.join("probe", nil), 5)
	a := c.join("a", func(ctx context.Context, d *sink.Delivery) error {
		switch {
		case slices.Contains(stuck, d.Event.Instance) && d.Event.ID == number(stuckAt):
			inFlight.Add(1)
			<-c.Context().Done()
			return ctx.Err()
		case slices.Contains(failing, d.Event.Instance) && d.Event.ID == number(failAt):
			return sink.RetryAfter(errors.New("503"), time.Hour)
		}
		return nil
	})
	all := append(slices.Clone(one), two...)
	a.acquire(all...)
	instances := append(slices.Clone(stuck), failing...)
	for _, instance := range instances {
		for n := range events {
			c.put(instance, number(n), a)
		}
	}
	c.eventually("what a delivered is written down", func() bool {
		lanes, err := a.store.Lanes(c.Context())
		waiting, tried := 0, 0
		for _, l := range lanes {
			if waiting += l.Waiting; l.Head.Attempts > 0 {
				tried++
			}
		}
		return err == nil && waiting == len(stuck)*(events-stuckAt)+len(failing)*(events-failAt) && tried == len(failing) &&
			inFlight.Load() == int64(len(stuck))
	})
	a.gate.cut.Store(true)
	b := c.join("b", func(_ context.Context, d *sink.Delivery) error {
		if d.Attempt > 1 {
			again.Add(1)
		}
		return nil
	})
	if _, ok, _ := b.leases.Acquire(c.Context(), group, 0, "b"); ok {
		c.Fatal("another node has a shard before the dead node's lease has ended")
	}
	c.pass(b.leases.TTL())
	b.acquire(all...)
	for _, instance := range failing {
		b.Refresh(instance) // tried at once, however long it was to back off
	}
	c.eventually("everything is delivered", func() bool { return c.total() >= events*len(instances) })
	for _, instance := range instances {
		if ids, nodes := c.of(instance); !slices.Equal(ids, numbers(events)) {
			c.Errorf("of %s arrived %v at %v: only what was in flight may come twice", instance, ids, nodes)
		}
	}
	if n := inFlight.Load(); n != int64(len(stuck)) {
		c.Errorf("the dead node made %d attempts that did not end, want %d", n, len(stuck))
	}
	if n := again.Load(); n != int64(len(failing)) {
		c.Errorf("%d deliveries went on with their attempts, want %d: the next owner begins anew", n, len(failing))
	}
}

// refusesFrozenResults freezes a node, which has an attempt under way, for two lease times. When it goes on it does
// not know that its shard is another's, where that delivery waits for its next attempt.
func (c *cluster) refusesFrozenResults() {
	const instance = "sales"
	var up atomic.Bool
	begun, goOn := make(chan struct{}, 1), make(chan struct{})
	a := c.join("a", func(ctx context.Context, d *sink.Delivery) error {
		if d.Event.ID == number(0) {
			begun <- struct{}{}
			<-goOn
			return nil
		}
		<-ctx.Done() // until the shard is dropped
		return ctx.Err()
	})
	a.blind = true
	shard := bus.Shard(instance, a.store.Shards())
	a.acquire(shard)
	for n := range 6 {
		c.put(instance, number(n), a)
	}
	c.receive(begun)
	a.gate.freeze()
	close(goOn)
	c.pass(2 * a.leases.TTL())
	b := c.join("b", func(context.Context, *sink.Delivery) error {
		if !up.Load() {
			return errors.New("503")
		}
		return nil
	})
	b.acquire(shard)
	standing := func() queue.Backlog {
		lanes, err := b.store.Lanes(c.Context(), shard)
		if err != nil || len(lanes) != 1 {
			c.Fatalf("lanes: %v, %v", lanes, err)
		}
		return lanes[0]
	}
	c.eventually("b tries", func() bool { return standing().Head.Attempts > 0 })
	a.gate.thaw()
	c.eventually("a drops the shard, and tells its owner", func() bool {
		return a.lost.Load() == 1 && a.waits() == 0 && a.Stats()[0].Busy == 0
	})
	if l := standing(); l.Waiting != 6 {
		c.Errorf("%d wait, want 6: the node that was frozen has overwritten its successor's work", l.Waiting)
	}
	up.Store(true)
	c.eventually("b goes on", func() bool { return b.waits() == 0 })
	var atB []string
	ids, nodes := c.of(instance)
	for i, id := range ids {
		if nodes[i] == "b" {
			atB = append(atB, id)
		} else if id != number(0) {
			c.Errorf("the node that was frozen delivered %s", id)
		}
	}
	if !slices.Equal(atB, numbers(6)) {
		c.Errorf("at the new owner arrived %v, want all in order", atB)
	}
}

// refusesFrozenPuts freezes a node that is about to put an event.
func (c *cluster) refusesFrozenPuts() {
	const instance = "sales"
	a, b := c.join("a", nil), c.join("b", nil)
	a.blind = true
	shard := bus.Shard(instance, a.store.Shards())
	a.acquire(shard)
	a.gate.freeze()
	late := make(chan error, 1)
	go func() {
		late <- a.Put(context.Background(), newEvent(instance, "late"), []queue.Destination{destination(instance)})
	}()
	c.pass(2 * a.leases.TTL())
	b.acquire(shard)
	c.put(instance, number(0), b)
	c.eventually("b delivers", func() bool { return b.waits() == 0 && c.total() == 1 })
	a.gate.thaw()
	if err := <-late; !errors.Is(err, bus.ErrFenced) {
		c.Errorf("a Put of the node that was frozen returned %v, want ErrFenced, by which the bus gives the event to another node", err)
	}
	c.eventually("a drops the shard, and tells its owner", func() bool { return a.lost.Load() == 1 })
	if err := a.Put(c.Context(), newEvent(instance, "later"), []queue.Destination{destination(instance)}); !errors.Is(err, queue.ErrNotHeld) {
		c.Errorf("a Put after the shard is lost returned %v", err)
	}
	c.eventually("nothing waits in the store: b has written down what it delivered, and a nothing", func() bool {
		lanes, err := b.store.Lanes(c.Context())
		return len(lanes) == 0 && err == nil
	})
}

// trial is of a node's store, with leases that nodes take.
func (c *cluster) trial(m *member) *trial {
	return &trial{T: c.T, subject: c.subject, store: m.store, leases: map[int]bus.Lease{}}
}

// take gives the shard of an instance to a node: what the trial writes there carries its lease.
func (t *trial) take(m *member, instance string) bus.Lease {
	t.Helper()
	l, ok, err := m.leases.Acquire(t.Context(), group, bus.Shard(instance, m.store.Shards()), m.name)
	if !ok || err != nil {
		t.Fatalf("node %s does not get the shard of %s: %v", m.name, instance, err)
	}
	t.leases[l.Shard] = l
	return l
}

// refusesStale tries each writing method with leases that are another node's, or of no node.
func (c *cluster) refusesStale() {
	a, b := c.join("a", nil), c.join("b", nil)
	t := c.trial(a)
	former := t.take(a, laneA.Instance)
	t.take(a, "support")
	t.waitForRefusal()
	if err := a.leases.Release(c.Context(), former); err != nil {
		c.Fatal(err)
	}
	wantRefused(t, former, t.lease("support")) // of no node
	t.take(b, laneA.Instance)
	wantRefused(t, former, t.lease("support"))
	steering := a.store.(queue.Steering)
	id, err := steering.AddJob(c.Context(), queue.Job{Kind: queue.PurgeJob, Parts: []queue.Part{{Shard: former.Shard}}, At: time.Now()})
	if err != nil {
		c.Fatal(err)
	}
	if err := steering.AdvanceJob(c.Context(), former, id, 1, true); !errors.Is(err, bus.ErrFenced) {
		c.Errorf("AdvanceJob with a stale lease: %v", err)
	}
	if jobs, err := steering.Jobs(c.Context()); err != nil || len(jobs) != 1 || jobs[0].Parts[0] != (queue.Part{Shard: former.Shard}) {
		c.Errorf("the job is %+v, %v", jobs, err)
	}
	ended := t.lease(laneA.Instance)
	c.pass(a.leases.TTL())
	if former.Shard != bus.Shard("support", a.store.Shards()) {
		t.take(a, "support")
	}
	wantRefused(t, ended, t.lease("support"))
}

// keepsToItsOwn has a life end while an attempt is under way.
func (c *cluster) keepsToItsOwn() {
	var begun, cutOff atomic.Int64
	a := c.join("a", func(ctx context.Context, d *sink.Delivery) error {
		begun.Add(1)
		<-ctx.Done()
		cutOff.Add(1)
		return ctx.Err()
	})
	one, two, inOne, inTwo := c.split(a, 2)
	a.acquire(one...)
	if len(inTwo) > 0 {
		err := a.Put(c.Context(), newEvent(inTwo[0], number(0)), []queue.Destination{destination(inTwo[0])})
		if !errors.Is(err, queue.ErrNotHeld) {
			c.Errorf("Put for a shard that is not held: %v", err)
		}
	}
	b := c.join("b", func(ctx context.Context, d *sink.Delivery) error {
		return sink.RetryAfter(errors.New("429"), time.Hour)
	})
	b.acquire(two...)
	for n := range 3 {
		for _, instance := range append(slices.Clone(inOne), inTwo...) {
			c.put(instance, number(n), a, b)
		}
	}
	if a.waits() != 3*len(inOne) || b.waits() != 3*len(inTwo) {
		c.Errorf("%d and %d wait, want %d and %d: the sum of all nodes would be wrong", a.waits(), b.waits(), 3*len(inOne), 3*len(inTwo))
	}
	c.eventually("attempts are under way", func() bool { return begun.Load() == int64(len(inOne)) })
	a.end()
	c.eventually("the attempts are cut off, and the lanes dropped", func() bool {
		return cutOff.Load() == int64(len(inOne)) && a.waits() == 0 && a.Stats()[0].Busy == 0
	})
	lanes, err := a.store.Lanes(c.Context(), one...)
	if err != nil || len(lanes) != len(inOne) {
		c.Fatalf("lanes: %v, %v", lanes, err)
	}
	for _, l := range lanes {
		if l.Waiting != 3 || l.Head != (queue.Progress{}) {
			c.Errorf("of %s wait %d with progress %+v: the attempts that were cut off count for nothing", l.Instance, l.Waiting, l.Head)
		}
	}
	d := c.join("d", nil)
	c.pass(a.leases.TTL())
	d.acquire(one...)
	c.eventually("the next owner delivers", func() bool { return c.total() == 3*len(inOne) })
}

// releases gives a shard back while an attempt is under way, which ends in time, and one that does not.
func (c *cluster) releases() {
	const instance = "sales"
	begun, goOn := make(chan struct{}, 10), make(chan struct{}, 1)
	a := c.join("a", func(ctx context.Context, d *sink.Delivery) error {
		begun <- struct{}{}
		select {
		case <-goOn:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	})
	shard := bus.Shard(instance, a.store.Shards())
	lanes := func() queue.Backlog {
		all, err := a.store.Lanes(c.Context(), shard)
		if err != nil || len(all) != 1 {
			c.Fatalf("lanes: %v, %v", all, err)
		}
		return all[0]
	}
	a.acquire(shard)
	c.put(instance, number(0), a)
	c.put(instance, number(1), a)
	c.receive(begun)
	released := make(chan error, 1)
	go func() { released <- a.Release(context.Background(), shard) }()
	n := 1
	c.eventually("a shard that is being released takes nothing any more", func() bool {
		n++
		return errors.Is(a.Put(c.Context(), newEvent(instance, number(n)), []queue.Destination{destination(instance)}), queue.ErrNotHeld)
	})
	goOn <- struct{}{}
	select {
	case err := <-released:
		if err != nil {
			c.Errorf("Release: %v", err)
		}
	case <-time.After(c.Patience):
		c.Fatal("Release does not return although nothing is under way")
	}
	if l := lanes(); l.Waiting != n-1 || c.total() != 1 || a.waits() != 0 {
		c.Errorf("%d wait in the store, %d were delivered, %d wait here; want %d, 1, 0: the next owner would deliver what was delivered", l.Waiting, c.total(), a.waits(), n-1)
	}
	b := c.join("b", a.answer)
	if err := a.leases.Release(c.Context(), a.leaseOf[shard]); err != nil {
		c.Fatal(err)
	}
	b.acquire(shard)
	c.receive(begun)
	ended, cancel := context.WithCancel(c.Context())
	cancel()
	if err := b.Release(ended, shard); err != nil {
		c.Errorf("Release when its time is over: %v", err)
	}
	if l := lanes(); l.Waiting != n-1 || l.Head != (queue.Progress{}) {
		c.Errorf("%d wait with progress %+v: an attempt that was cut off counts for nothing", l.Waiting, l.Head)
	}
}

// looksAtTheClock has a lease end while its shard's lane backs off.
func (c *cluster) looksAtTheClock() {
	const instance = "sales"
	var begun atomic.Int64
	a := c.join("a", func(context.Context, *sink.Delivery) error {
		begun.Add(1)
		return sink.RetryAfter(errors.New("429"), 500*time.Millisecond)
	})
	a.acquire(bus.Shard(instance, a.store.Shards()))
	c.put(instance, number(0), a)
	c.eventually("the lane backs off", func() bool { return begun.Load() == 1 && a.Stats()[0].Busy == 0 })
	a.gate.freeze() // so that no write tells
	c.pass(a.leases.TTL())
	before := begun.Load()
	c.eventually("the shard is dropped when its lane was to be tried", func() bool { return a.waits() == 0 && a.Stats()[0].Busy == 0 })
	if n := begun.Load(); before == 1 && n != 1 {
		c.Errorf("%d attempts began after the lease had ended", n-1)
	}
}
