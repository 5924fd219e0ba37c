package queuetest

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/evosink/evosink/core/queue"
	"github.com/evosink/evosink/core/sink"
)

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
