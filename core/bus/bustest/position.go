package bustest

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/evosink/evosink/core/bus"
)

var positionRules = []rule{
	{
		"Append reports where events are",
		"what waits until an event is handled waits for its position",
		func(t *trial) {
			t.needs("Positions")
			b := t.open("n1")
			c := t.batches(b, "", bus.All)
			shard := bus.Shard("a", b.Shards())
			var entries []bus.Entry
			for _, m := range messagesOf("a", 0, 5) {
				entries = append(entries, bus.Entry{Message: m})
			}
			positions, err := b.Append(t.ctx, shard, entries...)
			if err != nil || len(positions) != len(entries) {
				t.failf("Append of %d events reports %v, %v", len(entries), positions, err)
			}
			if !slices.IsSortedFunc(positions, bus.Position.Compare) || positions[0] <= 0 {
				t.failf("the positions do not grow: %v", positions)
			}
			at := t.carry(c, "a", 0, len(entries), (*bus.Batch).Ack)
			var seen []bus.Position
			for _, c := range at {
				seen = append(seen, c.Position)
			}
			if !slices.Equal(seen, positions) {
				t.failf("Append reports %v, the broadcast %v", positions, seen)
			}
		},
	},
	{
		"a batch has a cursor behind each of its messages",
		"the queue's store moves the cursor behind the events that are done, which may be some of a batch",
		func(t *trial) {
			t.needs("Positions")
			b := t.open("n1")
			shard := bus.Shard("a", b.Shards())
			t.begin(b, "g", shard)
			live := t.batches(b, "", bus.All)
			positions := t.once(b, "a", "a#0", "a#1", "a#2", "a#3")
			for group, c := range map[string]<-chan *bus.Batch{"": live, "g": t.batches(b, "g", bus.Topic(shard))} {
				want := make([]bus.Cursor, len(positions))
				for i, p := range positions {
					want[i] = bus.Cursor{Group: group, Shard: shard, Position: p}
				}
				if got := t.carry(c, "a", 0, len(positions), (*bus.Batch).Ack); !slices.Equal(got, want) {
					t.failf("the cursors of group %q are %+v, want %+v", group, got, want)
				}
			}
		},
	},
	{
		"Append reports where an event is that the log holds",
		"a producer that posts again waits for the first post",
		func(t *trial) {
			t.needs("Positions", "Once")
			b := t.open("n1")
			first := t.once(b, "a", "a#0", "a#1")
			if again := t.once(b, "a", "a#1", "a#2", "a#0", "a#2"); len(first) != 2 || len(again) != 4 ||
				again[0] != first[1] || again[2] != first[0] || again[1] != again[3] || again[1] <= first[1] {
				t.failf("the events are at %v, and when published again at %v", first, again)
			}
		},
	},
	{
		"Reached waits until a group has acked everything up to a position",
		"before an instance is removed its last events must be in the queue, on whichever node",
		func(t *trial) {
			t.needs("Positions")
			b := t.open("n1")
			shard := bus.Shard("a", b.Shards())
			c := t.group(b, "g", shard)
			positions := t.once(b, "a", "a#0", "a#1")
			reached := t.reaching(b, bus.Cursor{Group: "g", Shard: shard, Position: positions[1]})
			t.take(c, "a", 0)
			last := t.next(c)
			t.waits(reached, "before the ack")
			last.Ack()
			t.returns(reached, "after the ack")
			ctx, cancel := context.WithCancel(t.ctx)
			cancel()
			if err := b.Reached(ctx, bus.Cursor{Group: "other", Shard: shard, Position: 1}); !errors.Is(err, context.Canceled) {
				t.failf("Reached with an ended context returned %v for a group that does not exist", err)
			}
		},
	},
	{
		"Reached sees acks on another node",
		"an instance is removed on one node while its events are dispatched on another",
		func(t *trial) {
			t.needs("Positions", "Nodes")
			one, two := t.open("n1"), t.open("n2")
			shard := bus.Shard("a", one.Shards())
			t.count(t.group(two, "g", shard))
			positions := t.once(one, "a", "a#0")
			t.returns(t.reaching(one, bus.Cursor{Group: "g", Shard: shard, Position: positions[0]}), "after the ack")
		},
	},
	{
		"without positions nothing pretends to have them",
		"an event that is taken for handled too early is delivered with the wrong settings",
		func(t *trial) {
			if t.engine.Features.Positions {
				t.Skip("the engine declares the feature Positions")
			}
			b := t.open("n1")
			c := t.batches(b, "", bus.All)
			if positions := t.once(b, "a", "a#0"); positions != nil {
				t.failf("Append reports %v", positions)
			}
			if at := t.carry(c, "a", 0, 1, (*bus.Batch).Ack); at != nil {
				t.failf("a batch has the cursors %+v", at)
			}
			if err := b.Reached(t.ctx, bus.Cursor{Group: "g"}); !errors.Is(err, bus.ErrUnsupported) {
				t.failf("Reached returned %v, want ErrUnsupported", err)
			}
		},
	},
}

// reaching calls Reached in the background.
func (t *trial) reaching(b bus.Bus, at bus.Cursor) <-chan error {
	result := make(chan error, 1)
	go func() { result <- b.Reached(t.ctx, at) }()
	return result
}

// waits watches that Reached does not return.
func (t *trial) waits(reached <-chan error, when string) {
	t.Helper()
	select {
	case err := <-reached:
		t.failf("Reached returned %v %s", err, when)
	case <-time.After(t.engine.Quiet):
	}
}

// returns waits until Reached has returned nil.
func (t *trial) returns(reached <-chan error, when string) {
	t.Helper()
	select {
	case err := <-reached:
		if err != nil {
			t.failf("Reached returned %v %s", err, when)
		}
	case <-time.After(t.engine.Patience):
		t.failf("Reached did not return in %v %s", t.engine.Patience, when)
	}
}
