package bustest

import (
	"context"
	"errors"
	"slices"

	"github.com/evosink/evosink/core/bus"
	"github.com/evosink/evosink/core/event"
	"github.com/evosink/evosink/core/sink"
)

var replayRules = []rule{
	{
		"replay gives what came after an event, in order",
		"a client that comes back gets what it missed, once, in the order of publication",
		func(t *trial) {
			b, log := t.replayable()
			for n := range 100 {
				t.publish(b, "a", n, n+1)
				t.publish(b, "b", n, n+1)
			}
			var want []string
			for n := 41; n < 100; n++ {
				want = append(want, newEvent("a", n).ID)
			}
			t.replayed(log, "a#40", "a", want)
			t.replayed(log, "a#99", "a", nil)
			for i := len(want) - 1; i >= 0; i-- {
				want = slices.Insert(want, i+1, newEvent("b", 41+i).ID)
			}
			t.replayed(log, "b#40", "", want)
		},
	},
	{
		"replay after an unknown event is ErrExpired",
		"the client is told that it may have missed something, and starts anew",
		func(t *trial) {
			b, log := t.replayable()
			t.expired(log, "a#0", "")
			t.expired(log, "", "")
			t.publish(b, "a", 0, 1)
			t.expired(log, "a#1", "a")
		},
	},
	{
		"replay after another instance's event is ErrExpired",
		"whoever may see one instance only learns nothing of others, not even whether they have an event of that id",
		func(t *trial) {
			b, log := t.replayable()
			t.publish(b, "a", 0, 1)
			t.publish(b, "b", 0, 1)
			t.publish(b, "a", 1, 2)
			t.expired(log, "b#0", "a")
			t.replayed(log, "b#0", "", []string{"a#1"})
		},
	},
	{
		"replay gives an instance nothing from before it was created",
		"the new owner of a name gets nothing of what belonged to the former one, whatever ids it knows",
		func(t *trial) {
			b, log := t.replayable()
			if t.log.Create == nil {
				t.Skip("the engine keeps no instances")
			}
			create := func() {
				if err := t.log.Create(b, "a"); err != nil {
					t.failf("create: %v", err)
				}
			}
			create()
			t.publish(b, "a", 0, 3)
			t.replayed(log, "a#0", "a", []string{"a#1", "a#2"})
			if err := t.log.Delete(b, "a"); err != nil {
				t.failf("delete: %v", err)
			}
			t.publish(b, "a", 3, 5)
			t.expired(log, "a#0", "a") // a client that has just learnt that the instance is gone may still be asking
			create()
			t.expired(log, "a#0", "a")
			t.expired(log, "a#4", "a")
			_, err := log.Replay(t.ctx, t.found(log, "a#3"), "a", func(_ int64, e *event.Event) error {
				t.failf("Replay of the new instance gave %s of the former one", e.ID)
				return nil
			})
			if !errors.Is(err, sink.ErrExpired) {
				t.failf("Replay behind an event of the former instance returned %v, want ErrExpired", err)
			}
			t.publish(b, "a", 5, 8)
			t.replayed(log, "a#5", "a", []string{"a#6", "a#7"})
			t.replayed(log, "a#3", "", []string{"a#4", "a#5", "a#6", "a#7"})
		},
	},
	{
		"replay stops at the first error",
		"the client that is gone, or the context that has ended, costs no more reading",
		func(t *trial) {
			b, log := t.replayable()
			t.publish(b, "a", 0, 10)
			calls, boom := 0, errors.New("boom")
			first := t.found(log, "a#0")
			_, err := log.Replay(t.ctx, first, "a", func(int64, *event.Event) error { calls++; return boom })
			if !errors.Is(err, boom) || calls != 1 {
				t.failf("Replay returned %v after %d calls, want the function's error after one", err, calls)
			}
			ctx, cancel := context.WithCancel(t.ctx)
			cancel()
			_, err = log.Replay(ctx, first, "a", func(int64, *event.Event) error { return nil })
			if !errors.Is(err, context.Canceled) {
				t.failf("Replay with an ended context returned %v, want context.Canceled", err)
			}
		},
	},
	{
		"replay and broadcasts count in the same positions",
		"a client is given the past from the log and goes on live: the end of the one says where the other is to begin",
		func(t *trial) {
			t.needs("Positions")
			b, log := t.replayable()
			c := t.batches(b, "", bus.All)
			t.publish(b, "a", 0, 4)
			t.publish(b, "b", 0, 2)
			var positions []int64
			for len(positions) < 6 {
				some := t.nextBatch(c)
				for i, m := range some.Messages {
					at := some.Cursors[i]
					if at.Group != "" || len(positions) > 0 && int64(at.Position) <= positions[len(positions)-1] {
						t.failf("%s has the cursor %+v behind %v", m.UUID, at, positions)
					}
					positions = append(positions, int64(at.Position))
				}
				some.Ack()
			}
			if first := t.found(log, "a#0"); first != positions[0] {
				t.failf("Find gave the position %d, the broadcast %d", first, positions[0])
			}
			var replayed []int64
			end, err := log.Replay(t.ctx, positions[0], "a", func(at int64, _ *event.Event) error {
				replayed = append(replayed, at)
				return nil
			})
			if err != nil || end < positions[3] || end > positions[5] {
				t.failf("Replay ended at %d, %v; the instance's last event is at %d, the newest at %d", end, err, positions[3], positions[5])
			}
			if !slices.Equal(replayed, positions[1:4]) {
				t.failf("Replay gave the positions %v, the broadcast %v", replayed, positions[1:4])
			}
		},
	},
	{
		"replay leaves out what carries no event",
		"a foreign entry is nothing a client has missed",
		func(t *trial) {
			b, log := t.replayable()
			if t.log.Foreign == nil {
				t.Skip("nothing else can write to a log of this engine")
			}
			t.publish(b, "a", 0, 1)
			if err := t.log.Foreign(b, bus.Shard("a", b.Shards())); err != nil {
				t.failf("write a foreign entry: %v", err)
			}
			t.publish(b, "a", 1, 2)
			t.replayed(log, "a#0", "", []string{"a#1"})
			t.replayed(log, "a#0", "a", []string{"a#1"})
		},
	},
}

func (t *trial) replayable() (bus.Bus, sink.Log) {
	t.Helper()
	t.needs("Replay")
	b := t.open("n1")
	return b, t.log.Events(b)
}

func (t *trial) replayed(log sink.Log, after, instance string, want []string) {
	t.Helper()
	var got []string
	position, err := log.Find(t.ctx, after, instance)
	if err == nil {
		_, err = log.Replay(t.ctx, position, instance, func(at int64, e *event.Event) error {
			if at <= position {
				t.failf("Replay gave %s at %d behind %d", e.ID, at, position)
			}
			position = at
			got = append(got, e.ID)
			return nil
		})
	}
	if err != nil || !slices.Equal(got, want) {
		t.failf("Replay after %s of instance %q gave %v, %v\nwant %v", after, instance, got, err, want)
	}
}

func (t *trial) expired(log sink.Log, after, instance string) {
	t.Helper()
	if _, err := log.Find(t.ctx, after, instance); !errors.Is(err, sink.ErrExpired) {
		t.failf("Find of %q of instance %q returned %v, want ErrExpired", after, instance, err)
	}
}

// found returns where the log has an event of that id.
func (t *trial) found(log sink.Log, id string) int64 {
	t.Helper()
	position, err := log.Find(t.ctx, id, "")
	if err != nil {
		t.failf("Find of %q: %v", id, err)
	}
	return position
}
