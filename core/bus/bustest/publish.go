package bustest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/evosink/evosink/core/bus"
)

var publishRules = []rule{
	{
		"an event arrives as it was published",
		"id, metadata and payload are the producer's, byte for byte; the core reads them with bus.Event and sinks send the bytes on",
		func(t *trial) {
			b := t.open("n1")
			c := t.broadcast(b)
			sent := newEvent("ação 日本", 0)
			sent.Sender, sent.Origin, sent.ServerURL, sent.APIKey = "5511@s.whatsapp.net", "api", "https://api.example", "k"
			sent.Sinks, sent.Data = []string{"webhook", "sqs"}, []byte("{\"a\" : 1.0,\n \"é\":\"\\u00e9\"}")
			sent.Extras = []byte(`{"isLatest":true,"progress": 50}`)
			if err := b.Publisher().Publish(bus.Topic(bus.Shard(sent.Instance, b.Shards())), bus.Message(sent)); err != nil {
				t.failf("publish: %v", err)
			}
			m := t.next(c)
			defer m.Ack()
			got, err := bus.Event(m)
			if err != nil || fmt.Sprintf("%+v", *got) != fmt.Sprintf("%+v", *sent) {
				t.failf("got  %+v, %v\nwant %+v", got, err, sent)
			}
		},
	},
	{
		"events of one call stay together and in order",
		"a producer posts an array of events; their order within the instance is the array's",
		func(t *trial) {
			b := t.open("n1")
			c := t.broadcast(b)
			topic := bus.Topic(bus.Shard("a", b.Shards()))
			if err := b.Publisher().Publish(topic, messagesOf("a", 0, 100)...); err != nil {
				t.failf("publish 100 events: %v", err)
			}
			if err := b.Publisher().Publish(topic); err != nil {
				t.failf("publish no events: %v", err)
			}
			t.expect(t.count(c), 100)
		},
	},
	{
		"an ended context publishes nothing",
		"the producer has been told that the event was not taken, and sends it again; the error is ErrOverloaded with the context's own",
		func(t *trial) {
			b := t.open("n1")
			c := t.broadcast(b)
			ctx, cancel := context.WithCancel(t.ctx)
			cancel()
			m := messagesOf("a", 0, 1)[0]
			m.SetContext(ctx)
			err := b.Publisher().Publish(bus.Topic(bus.Shard("a", b.Shards())), m)
			if !errors.Is(err, bus.ErrOverloaded) || !errors.Is(err, context.Canceled) {
				t.failf("Publish returned %v, want ErrOverloaded and context.Canceled", err)
			}
			t.quiet(c)
		},
	},
	{
		"an event over the limit is refused with its whole call",
		"the producer gets a clear answer, and nothing of a call that failed is in the log",
		func(t *trial) {
			if t.engine.TooLarge == 0 {
				t.Skip("the engine has no limit")
			}
			b := t.open("n1")
			c := t.broadcast(b)
			big := newEvent("a", 1)
			big.Data = []byte(`"` + strings.Repeat("x", t.engine.TooLarge) + `"`)
			err := b.Publisher().Publish(bus.Topic(bus.Shard("a", b.Shards())), messagesOf("a", 0, 1)[0], bus.Message(big))
			if !errors.Is(err, bus.ErrTooLarge) {
				t.failf("Publish of %d bytes returned %v, want ErrTooLarge", t.engine.TooLarge, err)
			}
			t.publish(b, "b", 0, 1)
			t.take(c, "b", 0)
		},
	},
	{
		"an event that is to be published once is",
		"a producer that got no answer posts again, maybe while the first post is under way; live clients are not to see the event twice",
		func(t *trial) {
			t.needs("Once")
			b := t.open("n1")
			c := t.broadcast(b)
			t.publish(b, "a", 0, 1)
			t.once(b, "a", "a#0")               // was not marked, but is there
			t.once(b, "a", "a#1", "a#1", "a#2") // twice in a call
			t.once(b, "a", "a#2", "a#3")        // known beside new
			t.once(b, "other", "a#0")           // an id is its instance's
			var racing sync.WaitGroup
			for range 8 {
				racing.Go(func() { t.once(b, "a", "a#4") })
			}
			racing.Wait()
			t.publish(b, "a", 5, 6)
			got := map[string][]string{}
			for range 7 {
				m := t.next(c)
				got[bus.InstanceOf(m)] = append(got[bus.InstanceOf(m)], m.UUID)
				m.Ack()
			}
			if want := []string{"a#0", "a#1", "a#2", "a#3", "a#4", "a#5"}; !slices.Equal(got["a"], want) || len(got["other"]) != 1 {
				t.failf("got %v, want %v of a and one of other", got, want)
			}
			t.quiet(c)
		},
	},
	{
		"what a former instance of the name has published counts for nothing",
		"the new owner of a name must be able to publish whatever ids the old one used",
		func(t *trial) {
			t.needs("Once")
			if t.log.Create == nil {
				t.Skip("the engine keeps no instances")
			}
			b := t.open("n1")
			c := t.broadcast(b)
			for _, change := range []func(bus.Bus, string) error{t.log.Create, t.log.Delete, t.log.Create} {
				if err := change(b, "a"); err != nil {
					t.failf("create or delete: %v", err)
				}
				t.once(b, "a", "a#0")
				t.once(b, "a", "a#0")
			}
			for range 3 {
				t.take(c, "a", 0)
			}
			t.quiet(c)
		},
	},
	{
		"an unknown topic is an error",
		"a wrong topic is a mistake of the caller and must not vanish",
		func(t *trial) {
			b := t.open("n1")
			for _, topic := range []string{"", "other", "events.x", bus.Topic(b.Shards()), bus.All} {
				if err := b.Publisher().Publish(topic, messagesOf("a", 0, 1)...); !errors.Is(err, bus.ErrTopic) {
					t.failf("Publish to %q returned %v, want ErrTopic", topic, err)
				}
				if _, err := b.Group("g").Subscribe(t.ctx, topic); !errors.Is(err, bus.ErrTopic) {
					t.failf("a group's Subscribe to %q returned %v, want ErrTopic", topic, err)
				}
			}
			for _, shard := range []int{-1, b.Shards()} {
				if _, err := b.Append(t.ctx, shard, bus.Entry{Message: messagesOf("a", 0, 1)[0]}); !errors.Is(err, bus.ErrTopic) {
					t.failf("Append to shard %d returned %v, want ErrTopic", shard, err)
				}
			}
			if _, err := b.Broadcast().Subscribe(t.ctx, bus.Topic(0)); !errors.Is(err, bus.ErrTopic) {
				t.failf("a broadcast's Subscribe to one shard returned %v, want ErrTopic", err)
			}
		},
	},
	{
		"a message is the publisher's again after Publish",
		"whoever publishes may change id and metadata of its message afterwards, for example to publish it elsewhere",
		func(t *trial) {
			b := t.open("n1")
			t.begin(b, "g", bus.Shard("a", b.Shards()))
			m := messagesOf("a", 0, 1)[0]
			if err := b.Publisher().Publish(bus.Topic(bus.Shard("a", b.Shards())), m); err != nil {
				t.failf("publish: %v", err)
			}
			m.UUID, m.Metadata["event"] = "changed", "changed"
			got := t.next(t.group(b, "g", bus.Shard("a", b.Shards())))
			defer got.Ack()
			if e, err := bus.Event(got); err != nil || e.ID != "a#0" || e.Name != "messages.upsert" {
				t.failf("got %+v, %v", e, err)
			}
		},
	},
	{
		"closing a publisher closes nothing else",
		"watermill's router closes the publisher of a handler that stops; others still use the bus",
		func(t *trial) {
			b := t.open("n1")
			c := t.broadcast(b)
			if err := b.Publisher().Close(); err != nil {
				t.failf("close publisher: %v", err)
			}
			t.publish(b, "a", 0, 1)
			t.take(c, "a", 0)
		},
	},
}

// once publishes events with these ids in one call, marked so in [bus.Entry].
func (t *trial) once(b bus.Bus, instance string, ids ...string) []bus.Position {
	var entries []bus.Entry
	for _, id := range ids {
		e := newEvent(instance, 0)
		e.ID = id
		entries = append(entries, bus.Entry{Message: bus.Message(e), Once: true})
	}
	positions, err := b.Append(t.ctx, bus.Shard(instance, b.Shards()), entries...)
	if err != nil {
		t.Errorf("publish %v once: %v", ids, err)
	}
	return positions
}

// crowd publishes n events of each of the instances at once, each instance from one goroutine, and returns the
// instances' number times n.
func (t *trial) crowd(n int, instances []string, buses ...bus.Bus) int {
	t.Helper()
	var running sync.WaitGroup
	failed := make(chan error, len(instances))
	for i, instance := range instances {
		running.Go(func() {
			if err := send(buses[i%len(buses)], instance, 0, n); err != nil {
				failed <- err
			}
		})
	}
	running.Wait()
	select {
	case err := <-failed:
		t.failf("%v", err)
	default:
	}
	return n * len(instances)
}

// names returns instance names that spread over the shards.
func names(n int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = fmt.Sprintf("instance-%02d", i)
	}
	return out
}
