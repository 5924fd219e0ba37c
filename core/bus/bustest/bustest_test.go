package bustest_test

import (
	"context"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/evosink/evosink/adapters/memory"
	"github.com/evosink/evosink/core/bus"
	"github.com/evosink/evosink/core/bus/bustest"
	"github.com/evosink/evosink/core/sink"
)

// A fault makes a sound bus break one rule.
type fault struct {
	rule string // that must fail, as a subtest's name
	bus  func(bus.Bus) bus.Bus
}

// faults are mistakes that engines were seen to make.
var faults = map[string]fault{
	"loses one of ten":              {"a_group_gets_every_event_once", subscribing(lossy)},
	"delivers some twice":           {"a_group_gets_every_event_once", subscribing(twice)},
	"delivers ahead of the ack":     {"the_next_event_comes_after_the_ack_of_the_last", subscribing(ahead)},
	"reorders":                      {"order_per_instance_holds_with_handlers_of_uneven_speed", subscribing(swapped)},
	"spins on a nack":               {"a_nack_delivers_the_event_again_after_a_pause", subscribing(spinning)},
	"ends at what it cannot decode": {"an_undecodable_entry_does_not_end_a_subscription", subscribing(fragile)},
	"shares messages":               {"subscriptions_get_copies_of_their_own", subscribing(shared())},
	"replays to broadcasts":         {"a_broadcast_begins_with_what_is_published_from_then_on", func(b bus.Bus) bus.Bus { return fromStart{b} }},
	"ignores contexts":              {"an_ended_context_publishes_nothing", func(b bus.Bus) bus.Bus { return deaf{b} }},
	"publishes again":               {"an_event_that_is_to_be_published_once_is", func(b bus.Bus) bus.Bus { return again{b} }},
	"mixes instances in a batch":    {"a_batch_holds_events_of_one_instance", func(b bus.Bus) bus.Bus { return mixing{b} }},
	"loses followers":               {"batches_are_a_group's_events,_each_once_and_in_order", func(b bus.Bus) bus.Bus { return single{b} }},
	"reports wrong positions":       {"Append_reports_where_events_are", func(b bus.Bus) bus.Bus { return off{b} }},
	"has reached everything":        {"Reached_waits_until_a_group_has_acked_everything_up_to_a_position", func(b bus.Bus) bus.Bus { return hasty{b} }},
	"declares other features":       {"an_event_arrives_as_it_was_published", func(b bus.Bus) bus.Bus { return boasting{b} }},
	"takes anything":                {"an_event_over_the_limit_is_refused_with_its_whole_call", func(b bus.Bus) bus.Bus { return b }},
	"leaks when closed":             {"a_closed_bus_refuses_everything_with_ErrClosed", func(b bus.Bus) bus.Bus { return &leaking{Bus: b} }},
	"forgets its groups":            {"a_group_goes_on_behind_its_last_ack_when_the_log_is_opened_again", renaming()},
}

const faultVariable = "BUSTEST_FAULT"

// TestFaulty is what TestEveryFaultIsFound runs in a process of its own: the suite ends its test when a rule is broken.
func TestFaulty(t *testing.T) {
	f, ok := faults[os.Getenv(faultVariable)]
	if !ok {
		t.Skip("runs as a child of TestEveryFaultIsFound")
	}
	bustest.Run(t, bustest.Engine{
		Features: new(memory.Bus).Features(), TooLarge: 1 << 20, Patience: 2 * time.Second,
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

// batching changes the batches of a bus.
type batching struct {
	bus.BatchSubscriber
	change func(in <-chan *bus.Batch, out chan<- *bus.Batch)
}

func (s batching) Subscribe(ctx context.Context, topic string) (<-chan *bus.Batch, error) {
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

func giveBatch(b *bus.Batch, out chan<- *bus.Batch) {
	select {
	case out <- b:
	case <-b.Context().Done():
	}
}

// single hands over the first message of each batch only.
type single struct{ bus.Bus }

func (s single) Batches(group string) bus.BatchSubscriber {
	return batching{s.Bus.Batches(group), func(in <-chan *bus.Batch, out chan<- *bus.Batch) {
		for b := range in {
			b.Messages = b.Messages[:1]
			giveBatch(b, out)
		}
	}}
}

// mixing joins the batches of two instances.
type mixing struct{ bus.Bus }

func (m mixing) Batches(group string) bus.BatchSubscriber {
	return batching{m.Bus.Batches(group), func(in <-chan *bus.Batch, out chan<- *bus.Batch) {
		for one := range in {
			two, ok := <-in
			if !ok {
				return
			}
			one.Messages = append(one.Messages, two.Messages...)
			two.Ack()
			giveBatch(one, out)
		}
	}}
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
