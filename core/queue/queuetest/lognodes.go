package queuetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/evosink/evosink/core/bus"
	"github.com/evosink/evosink/core/queue"
	"github.com/evosink/evosink/core/sink"
)

// sharing returns n instances of one shard, and a log of that shard with events of all of them in turn.
func (c *cluster) sharing(of *member, n, events int) (instances []string, log *shardLog) {
	shards := of.store.Shards()
	log = &shardLog{shard: bus.Shard("sales", shards)}
	for i := 0; len(instances) < n; i++ {
		if name := fmt.Sprint("i", i); bus.Shard(name, shards) == log.shard {
			instances = append(instances, name)
		}
	}
	for n := range events {
		for _, instance := range instances {
			log.add(number(n), lane("webhook", "one", instance))
		}
	}
	return instances, log
}

// subscribe takes a log's shard and gives its events to a node from where the mark is, until the returned function is
// called, which gives the shard back if that is wanted.
func (m *member) subscribe(log *shardLog) (leave func(release bool)) {
	m.c.Helper()
	m.acquire(log.shard)
	given := int(m.c.trial(m).markOf(log.shard).Cursor.Position)
	ctx, cancel := context.WithCancel(m.c.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = log.give(ctx, m.Queue, &given, len(log.events)) // what is left is the next owner's
	}()
	return func(release bool) {
		m.c.Helper()
		cancel()
		<-ended
		if release {
			m.release(log.shard)
		}
	}
}

// handsLogOver moves a shard to and fro while two nodes deliver what its log has: one instance's target is slow, so that
// much is handled behind what is not, and another's fails now and then, so that some of it is stored.
func (c *cluster) handsLogOver() {
	const events, moves = 60, 8
	var instances []string
	answer := func(_ context.Context, d *sink.Delivery) error {
		switch {
		case d.Event.Instance == instances[0]:
			time.Sleep(2 * time.Millisecond) // so that the other instances are ahead
		case d.Event.Instance == instances[1] && d.Attempt == 1 && d.Event.ID[3]%4 == 0:
			return errors.New("503")
		}
		return nil
	}
	a, b := c.join("a", answer), c.join("b", answer)
	instances, log := c.sharing(a, 3, events)
	holder, other := a, b
	leave := holder.subscribe(log)
	for n := range moves {
		c.eventually("some more is delivered", func() bool {
			ids, _ := c.of(instances[0])
			return len(ids) >= (n+1)*events/(moves+2)
		})
		leave(true)
		holder, other = other, holder
		leave = holder.subscribe(log)
	}
	c.eventually("everything is delivered", func() bool { return c.total() >= len(log.events) })
	c.trial(holder).wantMark("everything is handled", log.shard, len(log.events))
	leave(true)
	for _, instance := range instances {
		if ids, nodes := c.of(instance); !slices.Equal(ids, numbers(events)) {
			c.Errorf("of %s arrived %v at %v: each event was to arrive once, in order", instance, ids, nodes)
		}
	}
	if n := a.lost.Load() + b.lost.Load(); n > 0 {
		c.Errorf("%d shards were lost in clean handovers", n)
	}
}

// survivesReader kills a node that has delivered and marked some events of a log, has one in flight and the rest in
// memory.
func (c *cluster) survivesReader() {
	const events, stuckAt = 30, 10
	var inFlight atomic.Int64
	var instances []string
	a := c.join("a", func(ctx context.Context, d *sink.Delivery) error {
		if d.Event.Instance == instances[0] && d.Event.ID == number(stuckAt) {
			inFlight.Add(1)
			<-c.Context().Done()
			return ctx.Err()
		}
		return nil
	})
	instances, log := c.sharing(a, 2, events)
	leave := a.subscribe(log)
	t := c.trial(a)
	c.eventually("what was delivered is marked", func() bool {
		return c.total() == events+stuckAt && int(t.markOf(log.shard).Cursor.Position) >= 2*stuckAt && inFlight.Load() == 1
	})
	a.gate.cut.Store(true)
	leave(false)
	b := c.join("b", nil)
	c.pass(b.leases.TTL())
	leave = b.subscribe(log)
	defer leave(false)
	c.eventually("everything is delivered", func() bool {
		ids, _ := c.of(instances[0])
		return len(ids) >= events
	})
	c.trial(b).wantMark("everything is handled", log.shard, len(log.events))
	if ids, nodes := c.of(instances[0]); !slices.Equal(ids, numbers(events)) {
		c.Errorf("of the instance with an event in flight arrived %v at %v, want each once: none was delivered and not marked",
			ids, nodes)
	}
	ids, _ := c.of(instances[1]) // what was delivered after the last mark may come again, in order
	again := ids[events:]
	if !slices.Equal(ids[:events], numbers(events)) || !ordered(again) || len(again) > 0 && again[0] < number(stuckAt) {
		c.Errorf("of the other instance arrived %v", ids)
	}
}

// refusesFrozenMarks freezes a node for two lease times that has events of a log in memory and one in flight. Meanwhile
// its successor stores them, as their target is down.
func (c *cluster) refusesFrozenMarks() {
	const events = 6
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
	instances, log := c.sharing(a, 1, events)
	leave := a.subscribe(log)
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
	leaveB := b.subscribe(log)
	defer leaveB(false)
	t := c.trial(b)
	c.eventually("b stores what it cannot deliver", func() bool { return t.waits(lane("webhook", "one", instances[0])) == events })
	t.wantMark("what is stored need not come again", log.shard, events)
	a.gate.thaw()
	c.eventually("a drops the shard, and tells its owner", func() bool {
		return a.lost.Load() == 1 && a.waits() == 0 && a.Stats()[0].Busy == 0
	})
	leave(false)
	if err := a.Take(c.Context(), log.shard, log.events[0]); !errors.Is(err, queue.ErrNotHeld) {
		c.Errorf("Take on the node that has lost the shard returned %v", err)
	}
	up.Store(true)
	c.eventually("b goes on", func() bool { return b.waits() == 0 })
	ids, nodes := c.of(instances[0])
	var atB []string
	for i, id := range ids {
		if nodes[i] == "b" {
			atB = append(atB, id)
		} else if id != number(0) {
			c.Errorf("the node that was frozen delivered %s", id)
		}
	}
	if !slices.Equal(atB, numbers(events)) {
		c.Errorf("at the new owner arrived %v, want all in order", atB)
	}
}
