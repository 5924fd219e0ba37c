package bustest_test

import (
	"context"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/evosink/evosink/adapters/memory"
	"github.com/evosink/evosink/core/bus"
	"github.com/evosink/evosink/core/bus/bustest"
	"github.com/evosink/evosink/core/queue"
	"github.com/evosink/evosink/core/sink"
)

// A fault makes a sound bus break one rule.
type fault struct {
	rule  string // that must fail, as a subtest's name
	bus   func(bus.Bus) bus.Bus
	lacks func(*bus.Features) // what the engine is made to declare; nil for what it has
}

// faults are mistakes that engines were seen to make, or could.
var faults = map[string]fault{
	"loses one of ten":          {rule: "a_group_gets_every_event_once", bus: subscribing(lossy)},
	"delivers some twice":       {rule: "a_group_gets_every_event_once", bus: subscribing(twice)},
	"delivers ahead of the ack": {rule: "the_next_event_comes_after_the_ack_of_the_last", bus: subscribing(ahead)},
	"reorders": {
		rule: "order_per_instance_holds_with_handlers_of_uneven_speed", bus: subscribing(swapped),
	},
	"spins on a nack":               {rule: "a_nack_delivers_the_event_again_after_a_pause", bus: subscribing(spinning)},
	"ends at what it cannot decode": {rule: "an_undecodable_entry_does_not_end_a_subscription", bus: subscribing(fragile)},
	"shares messages":               {rule: "subscriptions_get_copies_of_their_own", bus: subscribing(shared())},
	"replays to broadcasts": {
		rule: "a_broadcast_begins_with_what_is_published_from_then_on",
		bus:  func(b bus.Bus) bus.Bus { return fromStart{b} },
	},
	"ignores contexts": {rule: "an_ended_context_publishes_nothing", bus: func(b bus.Bus) bus.Bus { return deaf{b} }},
	"publishes again": {
		rule: "an_event_that_is_to_be_published_once_is", bus: func(b bus.Bus) bus.Bus { return again{b} },
	},
	"loses followers":                {rule: "batches_are_a_group's_events,_each_once_and_in_order", bus: batching(single)},
	"loses followers of a broadcast": {rule: "batches_of_a_broadcast_are_its_events", bus: batching(single)},
	"puts instances together":        {rule: "a_batch_is_what_follows_in_its_shard", bus: batching(sorted)},
	"hands batches over ahead": {
		rule: "the_next_batch_comes_after_the_answer_to_the_last", bus: batching(aheadBatches),
	},
	"takes a nack for an ack":  {rule: nackedBatch, bus: batching(forgiving)},
	"spins on a nacked batch":  {rule: nackedBatch, bus: batching(relayed)},
	"has one cursor per batch": {rule: "a_batch_has_a_cursor_behind_each_of_its_messages", bus: batching(blunt)},
	"gives a kept batch again": {
		rule: "a_subscription_goes_on_behind_a_batch_that_was_kept", bus: batching(repeating),
	},
	"knows no Keep": {
		rule: "the_next_subscription_of_a_group_begins_at_the_cursor_that_the_queue's_store_has_moved",
		bus:  batching(relayed),
	},
	"forgets cursors": {
		rule: "a_log_that_is_opened_again_goes_on_at_the_cursor_that_the_queue's_store_has_moved",
		bus:  renaming(),
	},
	"has cursors of its own on each node": {
		rule: "another_node_goes_on_at_the_cursor_that_the_queue's_store_has_moved",
		bus:  renaming(),
	},
	"keeps for good": {
		rule: "an_ack_moves_the_cursor_behind_everything_that_was_kept_before", bus: batching(stubborn),
	},
	"trims what was kept": {
		rule: "the_log_keeps_what_was_kept_until_the_cursor_has_passed_it", bus: trimming(),
	},
	"waits for the cursor of what was kept": {
		rule: "Reached_returns_when_what_it_waits_for_was_kept", bus: func(b bus.Bus) bus.Bus { return stuck{b} },
	},
	"has reached what was kept once": {
		rule: "Reached_waits_for_what_was_kept_by_a_subscription_that_has_ended",
		bus:  func(b bus.Bus) bus.Bus { return hasty{b} },
	},
	"keeps without a store": {
		rule:  "to_keep_a_batch_changes_nothing_where_the_queue's_store_cannot_move_the_cursor",
		bus:   func(b bus.Bus) bus.Bus { return lacking{b, withoutCursor} },
		lacks: withoutCursor,
	},
	"has positions that it does not declare": {
		rule:  "without_positions_nothing_pretends_to_have_them",
		bus:   func(b bus.Bus) bus.Bus { return unnumbered{lacking{b, withoutPositions}} },
		lacks: withoutPositions,
	},
	"reports wrong positions": {rule: "Append_reports_where_events_are", bus: func(b bus.Bus) bus.Bus { return off{b} }},
	"has reached everything": {
		rule: "Reached_waits_until_a_group_has_acked_everything_up_to_a_position",
		bus:  func(b bus.Bus) bus.Bus { return hasty{b} },
	},
	"declares other features": {
		rule: "an_event_arrives_as_it_was_published", bus: func(b bus.Bus) bus.Bus { return boasting{b} },
	},
	"takes anything": {
		rule: "an_event_over_the_limit_is_refused_with_its_whole_call", bus: func(b bus.Bus) bus.Bus { return b },
	},
	"leaks when closed": {
		rule: "a_closed_bus_refuses_everything_with_ErrClosed", bus: func(b bus.Bus) bus.Bus { return &leaking{Bus: b} },
	},
	"forgets its groups": {
		rule: "a_group_goes_on_behind_its_last_ack_when_the_log_is_opened_again", bus: renaming(),
	},
}

const nackedBatch = "a_nacked_batch_comes_again_from_its_first_event,_after_a_pause"

func withoutCursor(f *bus.Features)    { f.CursorWithQueue = false }
func withoutPositions(f *bus.Features) { f.Positions = false }

const faultVariable = "BUSTEST_FAULT"

// TestFaulty is what TestEveryFaultIsFound runs in a process of its own: the suite ends its test when a rule is broken.
func TestFaulty(t *testing.T) {
	f, ok := faults[os.Getenv(faultVariable)]
	if !ok {
		t.Skip("runs as a child of TestEveryFaultIsFound")
	}
	features := new(memory.Bus).Features()
	if f.lacks != nil {
		f.lacks(&features)
	}
	bustest.Run(t, bustest.Engine{
		Features: features, TooLarge: 1 << 20, Patience: 2 * time.Second,
		New: func(t *testing.T) bustest.Log {
			e, err := memory.New(memory.DefaultConfig())
			if err != nil {
				t.Fatal(err)
			}
			return bustest.Log{
				Open:   func(string) (bus.Bus, error) { return f.bus(e.Bus()), nil },
				Events: func(bus.Bus) sink.Log { return e },
				Foreign: func(_ bus.Bus, shard int) error {
					return e.Bus().Publisher().Publish(bus.Topic(shard), message.NewMessage("", nil))
				},
				Move: func(_ bus.Bus, to bus.Cursor) error {
					return e.Queue().Checkpoint(t.Context(), nil, queue.Mark{Cursor: to})
				},
				Retain: func(bus.Bus) error { return nil },
			}
		},
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
			if strings.Contains(string(out), "panic:") || !strings.Contains(string(out), "The ") {
				t.Fatalf("the failure does not explain itself:\n%s", out)
			}
		})
	}
}

// A pipe is what stands between a sound subscription and a faulty one. It ends when in is closed.
type pipe func(in <-chan *message.Message, out chan<- *message.Message)

// subscribing puts a pipe behind every subscription.
func subscribing(p pipe) func(bus.Bus) bus.Bus {
	return func(b bus.Bus) bus.Bus { return piped{b, p} }
}

type piped struct {
	bus.Bus
	pipe pipe
}

func (p piped) Broadcast() message.Subscriber { return pipedSubscriber{p.Bus.Broadcast(), p.pipe} }
func (p piped) Group(name string) message.Subscriber {
	return pipedSubscriber{p.Bus.Group(name), p.pipe}
}

type pipedSubscriber struct {
	message.Subscriber
	pipe pipe
}

func (s pipedSubscriber) Subscribe(ctx context.Context, topic string) (<-chan *message.Message, error) {
	in, err := s.Subscriber.Subscribe(ctx, topic)
	if err != nil {
		return nil, err
	}
	out := make(chan *message.Message)
	go func() {
		defer close(out)
		s.pipe(in, out)
	}()
	return out, nil
}

// give hands m over unless its subscription ends.
func give(m *message.Message, out chan<- *message.Message) {
	select {
	case out <- m:
	case <-m.Context().Done():
	}
}

func lossy(in <-chan *message.Message, out chan<- *message.Message) {
	for n := 1; ; n++ {
		m, ok := <-in
		if !ok {
			return
		}
		if n%10 == 0 {
			m.Ack()
			continue
		}
		give(m, out)
	}
}

func twice(in <-chan *message.Message, out chan<- *message.Message) {
	for m := range in {
		give(m, out)
		again := m.CopyWithContext()
		give(again, out)
	}
}

func ahead(in <-chan *message.Message, out chan<- *message.Message) {
	for m := range in {
		c := m.Copy()
		m.Ack()
		out <- c
	}
}

func swapped(in <-chan *message.Message, out chan<- *message.Message) {
	for m := range in {
		first := m.Copy()
		m.Ack()
		second, ok := <-in
		if !ok {
			return
		}
		give(second, out)
		out <- first
	}
}

func spinning(in <-chan *message.Message, out chan<- *message.Message) {
	for m := range in {
		for nacked := true; nacked; {
			c := m.CopyWithContext()
			give(c, out)
			select {
			case <-c.Acked():
				nacked = false
			case <-c.Nacked():
			case <-m.Context().Done():
				return
			}
		}
		m.Ack()
	}
}

func fragile(in <-chan *message.Message, out chan<- *message.Message) {
	for m := range in {
		if _, err := bus.Event(m); err != nil {
			return
		}
		give(m, out)
	}
}

// shared gives all subscriptions one map of metadata per event.
func shared() pipe {
	var first atomic.Pointer[message.Message]
	return func(in <-chan *message.Message, out chan<- *message.Message) {
		for m := range in {
			if !first.CompareAndSwap(nil, m) && first.Load().UUID == m.UUID {
				m.Metadata = first.Load().Metadata
			}
			give(m, out)
		}
	}
}

// fromStart has broadcasts begin with the first event of the log.
type fromStart struct{ bus.Bus }

func (b fromStart) Broadcast() message.Subscriber { return allShards(b) }

type allShards struct{ bus.Bus }

func (a allShards) Close() error { return nil }
func (a allShards) Subscribe(ctx context.Context, _ string) (<-chan *message.Message, error) {
	return a.Bus.Group("broadcast").Subscribe(ctx, bus.Topic(bus.Shard("a", a.Shards())))
}

// deaf does not look at contexts.
type deaf struct{ bus.Bus }

func (d deaf) Publisher() message.Publisher { return bus.NewPublisher(d) }

func (d deaf) Append(_ context.Context, shard int, entries ...bus.Entry) ([]bus.Position, error) {
	return d.Bus.Append(context.Background(), shard, entries...)
}

// again takes every entry for a new one.
type again struct{ bus.Bus }

func (a again) Append(ctx context.Context, shard int, entries ...bus.Entry) ([]bus.Position, error) {
	for i := range entries {
		entries[i].Once = false
	}
	return a.Bus.Append(ctx, shard, entries...)
}

// off reports positions that are not the messages'.
type off struct{ bus.Bus }

func (o off) Append(ctx context.Context, shard int, entries ...bus.Entry) ([]bus.Position, error) {
	positions, err := o.Bus.Append(ctx, shard, entries...)
	for i := range positions {
		positions[i]++
	}
	return positions, err
}

// hasty does not wait.
type hasty struct{ bus.Bus }

func (hasty) Reached(context.Context, bus.Cursor) error { return nil }

// boasting declares what its test does not.
type boasting struct{ bus.Bus }

func (b boasting) Features() bus.Features {
	f := b.Bus.Features()
	f.Durable = true
	return f
}

// stuck does not return from Reached before its context ends.
type stuck struct{ bus.Bus }

func (stuck) Reached(ctx context.Context, _ bus.Cursor) error {
	<-ctx.Done()
	return ctx.Err()
}

// lacking declares less than it has.
type lacking struct {
	bus.Bus
	lacks func(*bus.Features)
}

func (l lacking) Features() bus.Features {
	f := l.Bus.Features()
	l.lacks(&f)
	return f
}

// unnumbered reports no positions but for those of batches.
type unnumbered struct{ lacking }

func (u unnumbered) Append(ctx context.Context, shard int, entries ...bus.Entry) ([]bus.Position, error) {
	_, err := u.Bus.Append(ctx, shard, entries...)
	return nil, err
}

func (unnumbered) Reached(context.Context, bus.Cursor) error { return bus.ErrUnsupported }

// batching puts a function between the batches of a sound bus and those of a faulty one. It ends when in is closed.
func batching(change func(in <-chan *bus.Batch, out chan<- *bus.Batch)) func(bus.Bus) bus.Bus {
	return func(b bus.Bus) bus.Bus { return batched{b, change} }
}

type batched struct {
	bus.Bus
	change func(in <-chan *bus.Batch, out chan<- *bus.Batch)
}

func (b batched) Batches(group string) bus.BatchSubscriber {
	return batchedSubscriber{b.Bus.Batches(group), b.change}
}

type batchedSubscriber struct {
	bus.BatchSubscriber
	change func(in <-chan *bus.Batch, out chan<- *bus.Batch)
}

func (s batchedSubscriber) Subscribe(ctx context.Context, topic string) (<-chan *bus.Batch, error) {
	in, err := s.BatchSubscriber.Subscribe(ctx, topic)
	if err != nil {
		return nil, err
	}
	out := make(chan *bus.Batch)
	go func() {
		defer close(out)
		s.change(in, out)
	}()
	return out, nil
}

// giveBatch hands b over unless its subscription ends.
func giveBatch(b *bus.Batch, out chan<- *bus.Batch) {
	select {
	case out <- b:
	case <-b.Context().Done():
	}
}

// copyOf returns a batch that is answered apart from b, which it is like otherwise.
func copyOf(b *bus.Batch) *bus.Batch {
	c := &bus.Batch{Messages: slices.Clone(b.Messages), Cursors: b.Cursors}
	c.Messages[0] = b.Messages[0].CopyWithContext()
	return c
}

// acked hands over copies of b until one is acked, at once after a nack, and returns that one; nil if the subscription
// ends first.
func acked(b *bus.Batch, out chan<- *bus.Batch) *bus.Batch {
	for {
		c := copyOf(b)
		giveBatch(c, out)
		select {
		case <-c.Messages[0].Acked():
			return c
		case <-c.Messages[0].Nacked():
		case <-b.Context().Done():
			return nil
		}
	}
}

// single hands over the first message of each batch only.
func single(in <-chan *bus.Batch, out chan<- *bus.Batch) {
	for b := range in {
		b.Messages = b.Messages[:1]
		giveBatch(b, out)
	}
}

// sorted puts the messages of each instance together.
func sorted(in <-chan *bus.Batch, out chan<- *bus.Batch) {
	for b := range in {
		slices.SortStableFunc(b.Messages[1:], func(x, y *message.Message) int {
			return strings.Compare(bus.InstanceOf(x), bus.InstanceOf(y))
		})
		giveBatch(b, out)
	}
}

// aheadBatches does not wait for answers.
func aheadBatches(in <-chan *bus.Batch, out chan<- *bus.Batch) {
	for b := range in {
		c := copyOf(b)
		c.Messages[0].SetContext(context.Background())
		b.Ack()
		out <- c
	}
}

// forgiving goes on behind a batch that was nacked.
func forgiving(in <-chan *bus.Batch, out chan<- *bus.Batch) {
	for b := range in {
		c := copyOf(b)
		giveBatch(c, out)
		select {
		case <-c.Messages[0].Acked():
		case <-c.Messages[0].Nacked():
		case <-b.Context().Done():
		}
		b.Ack()
	}
}

// relayed makes no pause after a nack, and moves the cursor though a batch was kept.
func relayed(in <-chan *bus.Batch, out chan<- *bus.Batch) {
	for b := range in {
		if acked(b, out) != nil {
			b.Ack()
		}
	}
}

// blunt has the last cursor of each batch for all its messages.
func blunt(in <-chan *bus.Batch, out chan<- *bus.Batch) {
	for b := range in {
		b.Cursors = slices.Repeat(b.Cursors[len(b.Cursors)-1:], len(b.Cursors))
		giveBatch(b, out)
	}
}

// repeating gives what was kept a second time.
func repeating(in <-chan *bus.Batch, out chan<- *bus.Batch) {
	for b := range in {
		c := acked(b, out)
		if c != nil && c.Kept() {
			c = acked(b, out)
		}
		if c != nil {
			b.Keep()
			b.Ack()
		}
	}
}

// stubborn keeps everything behind a batch that was kept.
func stubborn(in <-chan *bus.Batch, out chan<- *bus.Batch) {
	kept := false
	for b := range in {
		c := acked(b, out)
		if c == nil {
			continue
		}
		if kept = kept || c.Kept(); kept {
			b.Keep()
		}
		b.Ack()
	}
}

// trimming has lost the first message that the second subscription should get.
func trimming() func(bus.Bus) bus.Bus {
	var subscriptions atomic.Int32
	return batching(func(in <-chan *bus.Batch, out chan<- *bus.Batch) {
		second := subscriptions.Add(1) == 2
		for b := range in {
			if second {
				second = false
				b.Messages[0].UUID, b.Messages[0].Payload = b.Messages[1].UUID, b.Messages[1].Payload
			}
			giveBatch(b, out)
		}
	})
}

// leaking leaves a goroutine behind.
type leaking struct{ bus.Bus }

func (l *leaking) Close(ctx context.Context) error {
	go func() { select {} }()
	return l.Bus.Close(ctx)
}

// renaming gives groups another name each time the log is opened.
func renaming() func(bus.Bus) bus.Bus {
	opened := ""
	return func(b bus.Bus) bus.Bus { opened += "+"; return renamed{b, opened} }
}

type renamed struct {
	bus.Bus
	suffix string
}

func (r renamed) Group(name string) message.Subscriber { return r.Bus.Group(name + r.suffix) }
func (r renamed) Batches(group string) bus.BatchSubscriber {
	if group != "" {
		group += r.suffix
	}
	return r.Bus.Batches(group)
}
