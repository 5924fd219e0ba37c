package queuetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rs/zerolog"

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
	// Patience is how long to wait for what must happen. Default 60 s.
	Patience time.Duration
}

// nodeRules are about several queues on one store. Each node delivers what waits in the shards that it has acquired.
var nodeRules = []nodeRule{
	{"a shard that is handed over goes on elsewhere, in order, nothing lost and nothing twice", (*cluster).handsOver},
	{"of a node that dies only what was in flight comes twice", (*cluster).survivesDeath},
	{"a node that was frozen writes no result any more", (*cluster).refusesFrozenResults},
	{"a node that was frozen puts nothing any more", (*cluster).refusesFrozenPuts},
	{"a lease that was released or has ended writes nothing", (*cluster).refusesStale},
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
			c := &cluster{T: t, Nodes: s.Nodes(t), subject: s}
			if c.Patience == 0 {
				c.Patience = patience
			}
			rule.test(c)
		})
	}
}

// A cluster is the nodes of one test.
type cluster struct {
	*testing.T
	Nodes
	subject Subject
	passed  atomic.Int64 // by the engine's clock

	mu       sync.Mutex
	arrivals []arrival // in order; guarded by mu
}

// An arrival is an attempt that a target took.
type arrival struct{ node, instance, id string }

// A member is a node of a cluster: a queue that delivers to the sink "webhook".
type member struct {
	*queue.Queue
	c      *cluster
	name   string
	store  queue.Store
	leases bus.Leases
	gate   *gate
	answer func(ctx context.Context, d *sink.Delivery) error // nil takes everything
	blind  bool                                              // its clock stands: it does not notice that leases end
	lost   atomic.Int64                                      // shards that the store said are another's

	mu sync.Mutex
	// mu guards the fields below.
	leaseOf map[int]bus.Lease
	saw     func(d *sink.Delivery) // told of every delivery; nil tells nothing

	end  context.CancelFunc
	ends context.Context // of the lives of shards
}

// join opens a node. answer says what its target answers; nil takes everything.
func (c *cluster) join(name string, answer func(ctx context.Context, d *sink.Delivery) error) *member {
	c.Helper()
	m := &member{c: c, name: name, answer: answer, leaseOf: map[int]bus.Lease{}}
	m.store, m.leases = c.Open(name)
	steering, ok := m.store.(queue.Steering)
	if !ok {
		c.Fatal("the store of several nodes is no queue.Steering")
	}
	m.gate = &gate{Store: m.store, Steering: steering, thawed: make(chan struct{})}
	close(m.gate.thawed)
	m.ends, m.end = context.WithCancel(context.Background())
	config := queue.DefaultConfig()
	config.BreakerWait, config.BreakerMax = 10*time.Millisecond, 20*time.Millisecond
	var err error
	m.Queue, err = queue.New(queue.Options{
		Store: m.gate, Config: config, Logger: zerolog.Nop(), Sinks: []queue.Sink{{Name: "webhook", Sink: m}},
		Lost: func(bus.Lease) { m.lost.Add(1) },
	})
	if err != nil {
		c.Fatal(err)
	}
	if _, err := m.leases.Join(c.Context(), name); err != nil {
		c.Fatal(err)
	}
	if err := m.Queue.Start(c.Context()); err != nil {
		c.Fatal(err)
	}
	c.Cleanup(func() {
		m.end()
		m.gate.thaw()
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		m.Queue.Close(ctx)
	})
	return m
}

// Start implements [sink.Sink], in the place of the queue's.
func (m *member) Start(context.Context) error { return nil }

// Close implements [sink.Sink].
func (m *member) Close(context.Context) error { return nil }

// Deliver implements [sink.Sink].
func (m *member) Deliver(ctx context.Context, d *sink.Delivery) error {
	m.mu.Lock()
	if m.saw != nil {
		m.saw(d)
	}
	m.mu.Unlock()
	if m.answer != nil {
		if err := m.answer(ctx, d); err != nil {
			return err
		}
	}
	if err := m.gate.through(); err != nil { // a dead process delivers nothing
		<-m.c.Context().Done()
		return err
	}
	m.c.mu.Lock()
	defer m.c.mu.Unlock()
	m.c.arrivals = append(m.c.arrivals, arrival{m.name, d.Event.Instance, d.Event.ID})
	return nil
}

func (m *member) see(f func(d *sink.Delivery)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.saw = f
}

// Retry implements [sink.Retrier].
func (m *member) Retry(*sink.Delivery) sink.Policy {
	return sink.Policy{Base: 20 * time.Millisecond, Factor: 1, Timeout: patience}
}

// life is the time until a lease's end by the engine's clock.
type life struct {
	context.Context
	ended func() bool
	end   context.CancelFunc
}

func (l life) Err() error {
	if l.ended() {
		l.end()
	}
	return l.Context.Err()
}

// acquire takes shards, all at once, and fails unless they are free.
func (m *member) acquire(shards ...int) {
	m.c.Helper()
	var owned []queue.Owned
	for _, shard := range shards {
		l, ok, err := m.leases.Acquire(m.c.Context(), group, shard, m.name)
		if !ok || err != nil {
			m.c.Fatalf("node %s does not get shard %d: %v", m.name, shard, err)
		}
		ctx, end := context.WithCancel(m.ends)
		until := m.c.passed.Load() + int64(m.leases.TTL())
		owned = append(owned, queue.Owned{Lease: l, Life: life{ctx, func() bool { return !m.blind && m.c.passed.Load() >= until }, end}})
		m.mu.Lock()
		m.leaseOf[shard] = l
		m.mu.Unlock()
	}
	if err := m.Acquire(m.c.Context(), owned...); err != nil {
		m.c.Fatalf("node %s: Acquire: %v", m.name, err)
	}
}

// release gives shards back, the queue's part first.
func (m *member) release(shards ...int) {
	m.c.Helper()
	ctx, cancel := context.WithTimeout(m.c.Context(), m.c.Patience)
	defer cancel()
	for _, shard := range shards {
		m.mu.Lock()
		l := m.leaseOf[shard]
		m.mu.Unlock()
		if err := errors.Join(m.Release(ctx, shard), m.leases.Release(ctx, l)); err != nil {
			m.c.Errorf("node %s: release shard %d: %v", m.name, shard, err)
		}
	}
}

func destination(instance string) queue.Destination {
	return queue.Destination{Lane: lane("webhook", "one", instance), Scope: sink.Instance}
}

// put puts an event through whichever node owns its shard, as a bus does.
func (c *cluster) put(instance, id string, nodes ...*member) {
	c.Helper()
	for deadline := time.Now().Add(c.Patience); ; time.Sleep(time.Millisecond) {
		for _, m := range nodes {
			err := m.Put(c.Context(), newEvent(instance, id), []queue.Destination{destination(instance)}, nil)
			if err == nil {
				return
			}
			if !errors.Is(err, queue.ErrNotHeld) && !errors.Is(err, bus.ErrFenced) {
				c.Errorf("Put on node %s: %v, want an error by which the bus gives the event to another node", m.name, err)
				return
			}
		}
		if time.Now().After(deadline) {
			c.Errorf("no node takes event %s of %s", id, instance)
			return
		}
	}
}

// pass lets time pass by the engine's clock.
func (c *cluster) pass(d time.Duration) {
	c.passed.Add(int64(d))
	c.Pass(d)
}

// eventually waits for a condition.
func (c *cluster) eventually(what string, condition func() bool) {
	c.Helper()
	for deadline := time.Now().Add(c.Patience); !condition(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			c.Fatalf("after %v still not: %s", c.Patience, what)
		}
	}
}

// receive waits for a signal.
func (c *cluster) receive(signal <-chan struct{}) {
	c.Helper()
	select {
	case <-signal:
	case <-time.After(c.Patience):
		c.Fatalf("after %v no attempt has begun", c.Patience)
	}
}

// bounded is the test's context, for as long as a call may take at most.
func (c *cluster) bounded() context.Context {
	ctx, cancel := context.WithTimeout(c.Context(), c.Patience)
	c.Cleanup(cancel)
	return ctx
}

// of returns what has arrived of an instance, in order, and where.
func (c *cluster) of(instance string) (ids, nodes []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, a := range c.arrivals {
		if a.instance == instance {
			ids, nodes = append(ids, a.id), append(nodes, a.node)
		}
	}
	return ids, nodes
}

func (c *cluster) total() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.arrivals)
}

// split returns the store's shards in two halves, and n instances for each half.
func (c *cluster) split(of *member, n int) (one, two []int, inOne, inTwo []string) {
	shards := of.store.Shards()
	for shard := range shards {
		if shard < (shards+1)/2 {
			one = append(one, shard)
		} else {
			two = append(two, shard)
		}
	}
	for i := 0; len(inOne) < n || len(inTwo) < n && len(two) > 0; i++ {
		name := fmt.Sprint("i", i)
		if slices.Contains(one, bus.Shard(name, shards)) {
			inOne = append(inOne, name)
		} else {
			inTwo = append(inTwo, name)
		}
	}
	return one, two, inOne[:n], inTwo[:min(n, len(inTwo))]
}

func number(n int) string { return fmt.Sprintf("e%03d", n) }

func numbers(n int) (ids []string) {
	for i := range n {
		ids = append(ids, number(i))
	}
	return ids
}

// waits returns how many deliveries wait on a node.
func (m *member) waits() int { return m.Stats()[0].Waiting }

// A gate is between a node and its store. It can be frozen, so that calls wait, or cut, so that they fail.
type gate struct {
	queue.Store
	queue.Steering
	cut  atomic.Bool
	slow atomic.Bool // results take a moment to be written

	mu     sync.Mutex
	thawed chan struct{} // closed while the node is not frozen; guarded by mu
}

var errCut = errors.New("the node is dead")

func (g *gate) freeze() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.thawed = make(chan struct{})
}

func (g *gate) thaw() {
	g.mu.Lock()
	defer g.mu.Unlock()
	select {
	case <-g.thawed:
	default:
		close(g.thawed)
	}
}

// through waits while the node is frozen.
func (g *gate) through() error {
	g.mu.Lock()
	thawed := g.thawed
	g.mu.Unlock()
	<-thawed
	if g.cut.Load() {
		return errCut
	}
	return nil
}

func (g *gate) Put(ctx context.Context, l bus.Lease, entries ...queue.Entry) ([]queue.PutResult, error) {
	if err := g.through(); err != nil {
		return nil, err
	}
	return g.Store.Put(ctx, l, entries...)
}

func (g *gate) Window(ctx context.Context, l queue.LaneKey, after, until int64, limit, bytes int) ([]queue.Delivery, error) {
	if err := g.through(); err != nil {
		return nil, err
	}
	return g.Store.Window(ctx, l, after, until, limit, bytes)
}

func (g *gate) Record(ctx context.Context, l []bus.Lease, r []queue.Result) error {
	if err := g.through(); err != nil {
		return err
	}
	if g.slow.Load() {
		time.Sleep(5 * time.Millisecond)
	}
	return g.Store.Record(ctx, l, r)
}

func (g *gate) Purge(ctx context.Context, l bus.Lease, r queue.PurgeRequest) (queue.Purged, error) {
	if err := g.through(); err != nil {
		return queue.Purged{}, err
	}
	return g.Store.Purge(ctx, l, r)
}

func (g *gate) Requeue(ctx context.Context, l bus.Lease, ids []int64, at time.Time) ([]queue.Requeued, error) {
	if err := g.through(); err != nil {
		return nil, err
	}
	return g.Store.Requeue(ctx, l, ids, at)
}

func (g *gate) Jobs(ctx context.Context) ([]queue.Job, error) {
	if err := g.through(); err != nil {
		return nil, err
	}
	return g.Steering.Jobs(ctx)
}

func (g *gate) AdvanceJob(ctx context.Context, l bus.Lease, id int64, count int, done bool) error {
	if err := g.through(); err != nil {
		return err
	}
	return g.Steering.AdvanceJob(ctx, l, id, count, done)
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
		late <- a.Put(context.Background(), newEvent(instance, "late"), []queue.Destination{destination(instance)}, nil)
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
	if err := a.Put(c.Context(), newEvent(instance, "later"), []queue.Destination{destination(instance)}, nil); !errors.Is(err, queue.ErrNotHeld) {
		c.Errorf("a Put after the shard is lost returned %v", err)
	}
	if lanes, err := b.store.Lanes(c.Context()); len(lanes) != 0 || err != nil {
		c.Errorf("there wait %v, %v", lanes, err)
	}
}

// refusesStale tries each writing method with leases that are another node's, or of no node.
func (c *cluster) refusesStale() {
	a, b := c.join("a", nil), c.join("b", nil)
	t := &trial{T: c.T, subject: c.subject, store: a.store, leases: map[int]bus.Lease{}}
	take := func(m *member, instance string) bus.Lease {
		l, ok, err := m.leases.Acquire(c.Context(), group, bus.Shard(instance, m.store.Shards()), m.name)
		if !ok || err != nil {
			c.Fatalf("node %s does not get the shard of %s: %v", m.name, instance, err)
		}
		t.leases[l.Shard] = l
		return l
	}
	former := take(a, laneA.Instance)
	take(a, "support")
	t.waitForRefusal()
	if err := a.leases.Release(c.Context(), former); err != nil {
		c.Fatal(err)
	}
	wantRefused(t, former, t.lease("support")) // of no node
	take(b, laneA.Instance)
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
		take(a, "support")
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
		err := a.Put(c.Context(), newEvent(inTwo[0], number(0)), []queue.Destination{destination(inTwo[0])}, nil)
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
		return errors.Is(a.Put(c.Context(), newEvent(instance, number(n)), []queue.Destination{destination(instance)}, nil), queue.ErrNotHeld)
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

// parked reports whether all of a node's lanes are held by a pause.
func (m *member) parked(lanes int) bool {
	backlog := m.Backlog(queue.Selector{})
	return len(backlog) == lanes &&
		!slices.ContainsFunc(backlog, func(l queue.LaneStatus) bool { return l.State != "parked" || l.Paused == nil })
}

func (c *cluster) pauses() {
	var up atomic.Bool
	var tries sync.Map // instance -> attempt of the last try
	answer := func(_ context.Context, d *sink.Delivery) error {
		tries.Store(d.Event.Instance, d.Attempt)
		if !up.Load() {
			return errors.New("503")
		}
		return nil
	}
	a, b := c.join("a", answer), c.join("b", answer)
	one, two, inOne, inTwo := c.split(a, 2)
	if len(two) == 0 {
		c.Skip("the store has one shard")
	}
	a.acquire(one...)
	b.acquire(two...)
	c.put(inTwo[0], number(0), b)
	c.eventually("a second attempt", func() bool { n, _ := tries.Load(inTwo[0]); return n != nil && n.(int) >= 2 })
	if err := a.Pause(c.Context(), queue.Selector{Sink: "webhook"}, "maintenance"); err != nil {
		c.Fatal(err)
	}
	c.put(inTwo[1], number(0), b)
	c.put(inOne[0], number(0), a)
	c.eventually("all lanes are paused", func() bool { return a.parked(1) && b.parked(2) })
	if _, tried := tries.Load(inTwo[1]); tried {
		c.Error("an event that came behind the pause was tried on another node")
	}
	tries.Clear()
	first := make(chan int, 100)
	up.Store(true)
	for _, m := range []*member{a, b} {
		m.see(func(d *sink.Delivery) { first <- d.Attempt })
	}
	if err := b.Resume(c.Context(), queue.Selector{Sink: "webhook"}); err != nil {
		c.Fatal(err)
	}
	c.eventually("all are delivered", func() bool { return c.total() == 3 && len(a.Pauses())+len(b.Pauses()) == 0 })
	a.see(nil)
	b.see(nil)
	close(first)
	for attempt := range first {
		if attempt != 1 {
			c.Errorf("after the pause a lane went on with attempt %d, want fresh ones", attempt)
		}
	}
	if err := b.Pause(c.Context(), queue.Selector{Instance: inOne[0]}, ""); err != nil {
		c.Fatal(err)
	}
	c.put(inOne[0], number(1), a)
	c.put(inOne[1], number(1), a)
	c.eventually("one lane is paused, on the other node", func() bool { return a.parked(1) && c.total() == 4 })
	if err := a.Resume(c.Context(), queue.Selector{Instance: inOne[0]}); err != nil {
		c.Fatal(err)
	}
	c.eventually("it goes on", func() bool { return c.total() == 5 })
}

// paused has events wait in the lanes of two nodes that are paused, and returns the nodes, the instances, and those of
// the second node with its shards.
func (c *cluster) paused(perLane int) (a, b *member, all, inTwo []string, two []int) {
	a, b = c.join("a", nil), c.join("b", nil)
	one, two, inOne, inTwo := c.split(a, 3)
	if len(two) == 0 {
		c.Skip("the store has one shard")
	}
	if err := a.Pause(c.Context(), queue.Selector{}, ""); err != nil {
		c.Fatal(err)
	}
	a.acquire(one...)
	b.acquire(two...)
	all = append(slices.Clone(inOne), inTwo...)
	for _, instance := range all {
		for n := range perLane {
			c.put(instance, number(n), a, b)
		}
	}
	c.eventually("all lanes are paused", func() bool { return a.parked(len(inOne)) && b.parked(len(inTwo)) })
	return a, b, all, inTwo, two
}

func (c *cluster) purges() {
	a, b, all, inTwo, _ := c.paused(4)
	if n, err := a.Purge(c.bounded(), queue.Selector{Instance: inTwo[0]}); n != 4 || err != nil {
		c.Errorf("a purge of another node's lane: %d, %v, want 4", n, err)
	}
	if n, err := a.Purge(c.bounded(), queue.Selector{Sink: "other"}); n != 0 || err != nil {
		c.Errorf("a purge of nothing: %d, %v", n, err)
	}
	if n, err := b.Purge(c.bounded(), queue.Selector{Sink: "webhook"}); n != 4*(len(all)-1) || err != nil {
		c.Errorf("a purge of all lanes: %d, %v, want %d", n, err, 4*(len(all)-1))
	}
	if lanes, err := a.store.Lanes(c.Context()); len(lanes) != 0 || err != nil || a.waits()+b.waits() != 0 {
		c.Errorf("there wait %v (%v); %d and %d by the nodes' count", lanes, err, a.waits(), b.waits())
	}
	c.noJobs(a)
	c.put(inTwo[0], "fresh", a, b)
	if err := a.Resume(c.Context(), queue.Selector{}); err != nil {
		c.Fatal(err)
	}
	c.eventually("a purged lane goes on", func() bool { return c.total() == 1 })
}

// noJobs waits until the store has no job.
func (c *cluster) noJobs(m *member) {
	c.Helper()
	c.eventually("no job is left", func() bool {
		jobs, err := m.store.(queue.Steering).Jobs(c.Context())
		return err == nil && len(jobs) == 0
	})
}

// buried makes dead letters on two nodes, and returns the nodes; their target takes everything then.
func (c *cluster) buried(perLane int) (a, b *member, all, inTwo []string) {
	var up atomic.Bool
	answer := func(context.Context, *sink.Delivery) error {
		if !up.Load() {
			return sink.Permanent(errors.New("410"))
		}
		return nil
	}
	a, b = c.join("a", answer), c.join("b", answer)
	one, two, inOne, inTwo := c.split(a, 3)
	if len(two) == 0 {
		c.Skip("the store has one shard")
	}
	a.acquire(one...)
	b.acquire(two...)
	all = append(slices.Clone(inOne), inTwo...)
	for _, instance := range all {
		for n := range perLane {
			c.put(instance, number(n), a, b)
		}
	}
	c.eventually("all are dead letters", func() bool {
		n, err := a.CountDeadLetters(c.Context(), queue.DeadLetterFilter{})
		return n == perLane*len(all) && err == nil
	})
	up.Store(true)
	return a, b, all, inTwo
}

func (c *cluster) requeues() {
	a, _, all, inTwo := c.buried(4)
	letters, err := a.DeadLetters(c.Context(), queue.DeadLetterFilter{Selector: queue.Selector{Instance: inTwo[0]}}, queue.Page{})
	if err != nil || len(letters) != 4 {
		c.Fatalf("dead letters: %v, %v", letters, err)
	}
	for _, want := range []error{nil, queue.ErrNoDeadLetter} {
		if err := a.RequeueOne(c.bounded(), letters[0].ID); !errors.Is(err, want) {
			c.Errorf("a dead letter of another node is requeued: %v, want %v", err, want)
		}
	}
	last := 0
	n, err := a.RequeueAt(c.bounded(), queue.DeadLetterFilter{}, 10_000, func(done, total int) {
		if done < last || total < done {
			c.Errorf("progress went from %d to %d of %d", last, done, total)
		}
		last = done
	})
	if want := 4*len(all) - 1; n != want || last != want || err != nil {
		c.Errorf("requeued: %d, %v, at last %d were told; want %d", n, err, last, want)
	}
	c.eventually("all are delivered", func() bool { return c.total() == 4*len(all) })
	for _, instance := range all {
		if ids, nodes := c.of(instance); !slices.Equal(ids, numbers(4)) {
			c.Errorf("of %s arrived %v at %v", instance, ids, nodes)
		}
	}
	c.noJobs(a)
}

func (c *cluster) stopsRequeue() {
	a, _, all, _ := c.buried(20)
	ctx, cancel := context.WithCancel(c.bounded())
	defer cancel()
	n, err := a.RequeueAt(ctx, queue.DeadLetterFilter{}, 5, func(int, int) { cancel() })
	if n == 0 || n >= 20*len(all) || !errors.Is(err, context.Canceled) {
		c.Errorf("a requeue that was stopped: %d, %v", n, err)
	}
	c.noJobs(a)
	c.eventually("what was requeued is delivered, and the rest stays", func() bool {
		left, err := a.CountDeadLetters(c.Context(), queue.DeadLetterFilter{})
		return err == nil && left > 0 && left+c.total() == 20*len(all)
	})
}

func (c *cluster) keepsJobs() {
	a, b, all, _, two := c.paused(4)
	d := c.join("d", nil)
	b.gate.freeze()
	type answer struct {
		n   int
		err error
	}
	purged := make(chan answer, 1)
	go func() {
		n, err := a.Purge(context.Background(), queue.Selector{})
		purged <- answer{n, err}
	}()
	c.eventually("the job is stored, and this node's part is done", func() bool {
		jobs, err := a.store.(queue.Steering).Jobs(c.Context())
		return err == nil && len(jobs) == 1 && a.waits() == 0
	})
	c.pass(a.leases.TTL())
	d.acquire(two...)
	select {
	case got := <-purged:
		if got.n != 4*len(all) || got.err != nil {
			c.Errorf("purged: %d, %v, want %d", got.n, got.err, 4*len(all))
		}
	case <-time.After(c.Patience):
		c.Fatal("the next owner of the shards does not go on with the job")
	}
	c.noJobs(a)
}
