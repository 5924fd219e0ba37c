package nats_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/evosink/evosink/adapters/memory"
	"github.com/evosink/evosink/core/event"
	"github.com/evosink/evosink/core/queue"
	"github.com/evosink/evosink/core/queue/queuetest"
	"github.com/evosink/evosink/core/sink"
	"github.com/evosink/evosink/core/sink/sinktest"
	"github.com/evosink/evosink/sinks/nats"
)

// A stream that is full refuses one message and takes the next as soon as a consumer has made room; and it does not take again, within its
// duplicate window, what it has taken before, unless it has another id.
func TestAConsumerOfAFullStreamIsLeftWithTheRightOrder(t *testing.T) {
	uri, conn := service(t)
	c := config(uri)
	c.PrefixKey = "evosink-test." + event.NewID()
	name := strings.ReplaceAll(c.PrefixKey, ".", "-")
	js := stream(t, conn, name)
	_, err := js.CreateStream(t.Context(), jetstream.StreamConfig{
		Name: name, Subjects: []string{c.PrefixKey + ".>"}, Retention: jetstream.WorkQueuePolicy, MaxMsgs: 50, Discard: jetstream.DiscardNew,
	})
	if err != nil {
		t.Fatal(err)
	}
	consumer, err := js.CreateOrUpdateConsumer(t.Context(), name, jetstream.ConsumerConfig{Durable: "reader", AckPolicy: jetstream.AckExplicitPolicy})
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	reading, err := consumer.Consume(func(m jetstream.Msg) {
		e, err := event.Decode(m.Data())
		if err != nil {
			t.Error(err)
			return
		}
		ids = append(ids, e.ID)
		m.Ack()
	})
	if err != nil {
		t.Fatal(err)
	}
	c.JetStream = nats.JetStream{Enabled: true, Replicas: 1}
	engine, err := memory.New(memory.DefaultConfig())
	if err != nil {
		t.Fatal(err)
	}
	const all = 3000
	overtook, repeats := queuetest.Order{
		Store: engine.Queue(), Sink: start(t, c), N: all,
		To:   queue.Destination{Lane: queue.Lane{Sink: "nats", Target: "global", Instance: "sales"}, Scope: sink.Global},
		Name: func(n int) string { return fmt.Sprint("event", n%3) }, // several subjects
		Arrived: func() []string {
			sinktest.Eventually(t, "the stream is empty", func() bool {
				s, err := js.Stream(t.Context(), name)
				return err == nil && s.CachedInfo().State.Msgs == 0
			})
			reading.Stop()
			<-reading.Closed()
			return ids
		},
	}.Run(t)
	t.Logf("of %d events %d overtook another, %d arrived again", all, overtook, repeats)
	if overtook == 0 {
		t.Error("the stream refused nothing: this test shows nothing")
	}
}
