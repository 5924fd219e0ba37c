package bustest

import (
	"context"

	"github.com/evosink/evosink/core/bus"
)

var keepRules = []rule{
	{
		"a subscription goes on behind a batch that was kept",
		"the queue delivers what it has taken over while the bus hands over what follows",
		func(t *trial) {
			t.needs("CursorWithQueue")
			b := t.open("n1")
			c := t.batches(b, "g", bus.Topic(bus.Shard("a", b.Shards())))
			for n := 0; n < 12; n += 4 {
				t.publish(b, "a", n, n+4)
				t.carry(c, "a", n, n+4, keep)
			}
			t.quietBatch(c)
		},
	},
	{
		"the next subscription of a group begins at the cursor that the queue's store has moved",
		"what the queue had taken over and has not written down is given again, and nothing else",
		func(t *trial) {
			b := t.open("n1")
			t.goesOnAtTheCursor(b, func() bus.Bus { return b })
		},
	},
	{
		"a log that is opened again goes on at the cursor that the queue's store has moved",
		"a process that ends leaves deliveries behind that only the log has",
		func(t *trial) {
			t.needs("Reopens")
			b := t.open("n1")
			t.goesOnAtTheCursor(b, func() bus.Bus { t.close(b); b = t.open("n1"); return b })
		},
	},
	{
		"another node goes on at the cursor that the queue's store has moved",
		"a shard's next owner delivers what the former one had taken over and not written down",
		func(t *trial) {
			t.needs("Nodes")
			one, two := t.open("n1"), t.open("n2")
			t.goesOnAtTheCursor(one, func() bus.Bus { one, two = two, one; return one })
		},
	},
	{
		"an ack moves the cursor behind everything that was kept before",
		"a handler that has nothing left to deliver says so without the queue's store",
		func(t *trial) {
			t.needs("CursorWithQueue")
			b := t.open("n1")
			c, end := t.batchesOf(b, "g", "a")
			t.publish(b, "a", 0, 3)
			t.carry(c, "a", 0, 3, keep)
			t.publish(b, "a", 3, 5)
			t.carry(c, "a", 3, 5, (*bus.Batch).Ack)
			t.publish(b, "a", 5, 6)
			t.want(t.nextBatch(c).Messages[0], "a", 5) // so the ack has arrived
			end()
			c, _ = t.batchesOf(b, "g", "a")
			t.carry(c, "a", 5, 6, keep)
		},
	},
	{
		"the log keeps what was kept until the cursor has passed it",
		"it is the only place where an event is that the queue has taken over and not delivered",
		func(t *trial) {
			t.needs("CursorWithQueue")
			if t.log.Retain == nil {
				t.Skip("the engine removes nothing")
			}
			b := t.open("n1")
			c, end := t.batchesOf(b, "g", "a")
			t.publish(b, "a", 0, 20)
			at := t.carry(c, "a", 0, 20, keep)
			t.move(b, at[4])
			if err := t.log.Retain(b); err != nil {
				t.failf("retain: %v", err)
			}
			end()
			if t.engine.Features.Reopens { // so that nothing is read from what a bus has in memory beside the log
				t.close(b)
				b = t.open("n1")
			}
			c, _ = t.batchesOf(b, "g", "a")
			for n := 5; n < 20; {
				some := t.nextBatch(c)
				for _, m := range some.Messages[:min(len(some.Messages), 20-n)] { // behind them may be what Retain has added
					t.want(m, "a", n)
					n++
				}
				keep(some)
			}
		},
	},
	{
		"Reached returns when what it waits for was kept",
		"before an instance is removed its last events must be in the queue; that they are delivered is waited for there",
		func(t *trial) {
			t.needs("CursorWithQueue", "Positions")
			b := t.open("n1")
			c, _ := t.batchesOf(b, "g", "a")
			t.publish(b, "a", 0, 2)
			t.returns(t.reaching(b, t.carry(c, "a", 0, 2, keep)[1]), "though the batch was kept")
		},
	},
	{
		"Reached waits for what was kept by a subscription that has ended",
		"the queue that had taken the events over has let go of them; the shard's next owner has not got them yet",
		func(t *trial) {
			t.needs("CursorWithQueue", "Positions")
			b := t.open("n1")
			c, end := t.batchesOf(b, "g", "a")
			t.publish(b, "a", 0, 3)
			at := t.carry(c, "a", 0, 3, keep)
			t.move(b, at[0])
			end()
			t.returns(t.reaching(b, at[0]), "though the cursor has passed it")
			reached := t.reaching(b, at[2])
			t.waits(reached, "before the next subscription")
			c, _ = t.batchesOf(b, "g", "a")
			t.carry(c, "a", 1, 3, keep)
			t.returns(reached, "though the next subscription has it")
		},
	},
	{
		"to keep a batch changes nothing where the queue's store cannot move the cursor",
		"nothing else would ever move it; the queue has stored the events then",
		func(t *trial) {
			if t.engine.Features.CursorWithQueue {
				t.Skip("the engine declares the feature CursorWithQueue")
			}
			b := t.open("n1")
			c, end := t.batchesOf(b, "g", "a")
			t.publish(b, "a", 0, 3)
			t.carry(c, "a", 0, 3, keep)
			t.publish(b, "a", 3, 4)
			t.want(t.nextBatch(c).Messages[0], "a", 3) // so the ack has arrived
			end()
			c, _ = t.batchesOf(b, "g", "a")
			t.carry(c, "a", 3, 4, keep)
		},
	},
}

// goesOnAtTheCursor keeps events on a bus, moves the cursor to the midst of them, and checks where the subscriptions on
// the bus that again returns go on: with the former one ended, and the cursor not moved, moved, and moved once more.
func (t *trial) goesOnAtTheCursor(b bus.Bus, again func() bus.Bus) {
	t.Helper()
	t.needs("CursorWithQueue", "Backlog")
	c, end := t.batchesOf(b, "g", "a")
	t.publish(b, "a", 0, 6)
	t.carry(c, "a", 0, 6, keep)
	end()
	b = again()
	c, end = t.batchesOf(b, "g", "a")
	at := t.carry(c, "a", 0, 6, keep)
	t.move(b, at[2])
	t.publish(b, "a", 6, 8)
	at = append(at, t.carry(c, "a", 6, 8, keep)...) // the running one goes on where it is
	end()
	b = again()
	c, end = t.batchesOf(b, "g", "a")
	t.carry(c, "a", 3, 8, keep)
	t.move(b, at[4])
	t.move(b, at[1]) // a cursor does not go back
	end()
	c, _ = t.batchesOf(again(), "g", "a")
	t.carry(c, "a", 5, 8, keep)
	t.quietBatch(c)
}

// batchesOf subscribes to a group's batches of the shard of an instance. end ends the subscription, and returns when
// it has ended.
func (t *trial) batchesOf(b bus.Bus, group, instance string) (c <-chan *bus.Batch, end func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.ctx)
	t.Cleanup(cancel)
	c, err := b.Batches(group).Subscribe(ctx, bus.Topic(bus.Shard(instance, b.Shards())))
	if err != nil {
		t.failf("subscribe to batches of %s: %v", instance, err)
	}
	return c, func() { t.Helper(); cancel(); ended(t, c) }
}

// move moves a group's cursor as the queue's store does.
func (t *trial) move(b bus.Bus, to bus.Cursor) {
	t.Helper()
	if t.log.Move == nil {
		t.failf("the engine declares the feature CursorWithQueue, and its test gives nothing that moves a cursor (Log.Move)")
	}
	if err := t.log.Move(b, to); err != nil {
		t.failf("move the cursor to %+v: %v", to, err)
	}
}
