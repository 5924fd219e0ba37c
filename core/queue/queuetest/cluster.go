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

// A cluster is the nodes of one test.
type cluster struct {
	*testing.T
	Nodes
	Patience time.Duration // how long to wait for what must happen
	subject  Subject
	passed   atomic.Int64 // by the engine's clock

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
			err := m.Put(c.Context(), newEvent(instance, id), []queue.Destination{destination(instance)})
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
