package kafka_test

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/evosink/evosink/core/event"
	"github.com/evosink/evosink/core/sink"
	"github.com/evosink/evosink/sinks/kafka"
)

// A consumer of an instance's topic. In a program the core makes the sink and its deliveries.
func Example() {
	broker := kfake.MustCluster(kfake.NumBrokers(1)) // stands in for Kafka
	defer broker.Close()
	ctx := context.Background()

	factory := sink.Use(kafka.Spec, func(c *kafka.Config) {
		c.Enabled, c.Brokers, c.AutoCreateTopics = true, broker.ListenAddrs(), true
	})
	s, err := factory.New(sink.Host{})
	if err != nil {
		fmt.Println(err)
		return
	}
	if err := s.Start(ctx); err != nil {
		fmt.Println(err)
		return
	}
	defer s.Close(ctx)

	e := &event.Event{ID: event.NewID(), Name: "messages.upsert", Instance: "sales", Time: time.Now(), Data: json.RawMessage(`{"text":"hello"}`)}
	fmt.Println(s.Deliver(ctx, &sink.Delivery{Event: e, Scope: sink.Instance, Target: "instance", Attempt: 1, Key: sink.Key(e, "instance")}))

	consumer, err := kgo.NewClient(kgo.SeedBrokers(broker.ListenAddrs()...), kgo.ConsumeTopics("evolution.sales.messages.upsert"))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer consumer.Close()
	for _, r := range consumer.PollFetches(ctx).Records() {
		var envelope struct {
			Event, Instance string
			Data            json.RawMessage
		}
		fmt.Println(json.Unmarshal(r.Value, &envelope), envelope.Event, "of", envelope.Instance, string(envelope.Data))
	}
	// Output:
	// <nil>
	// <nil> messages.upsert of sales {"text":"hello"}
}
