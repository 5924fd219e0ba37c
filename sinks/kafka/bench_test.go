package kafka_test

import (
	"fmt"
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/evosink/evosink/core/event"
	"github.com/evosink/evosink/core/sink"
	"github.com/evosink/evosink/sinks/e2e/sinkbench"
	"github.com/evosink/evosink/sinks/kafka"
)

const benchTopic = "evolution.sales.messages.upsert"

func benchHeaders(d *sink.Delivery) []kgo.RecordHeader {
	return []kgo.RecordHeader{
		{Key: "event", Value: []byte(d.Event.Name)}, {Key: "instance", Value: []byte("sales")}, {Key: "origin", Value: []byte(d.Event.Origin)},
		{Key: "timestamp", Value: []byte("2025-10-21T14:00:39.512Z")}, {Key: "id", Value: []byte(d.Event.ID)}, {Key: "key", Value: []byte(d.Key)},
	}
}

// The bare client: the same bytes, made beforehand, and the same guarantees.
func BenchmarkClient(b *testing.B) {
	for _, n := range []int{1, 100} {
		b.Run(fmt.Sprintf("batch=%d", n), func(b *testing.B) {
			c := cluster(b, kfake.SeedTopics(1, benchTopic), kfake.BrokerConfigs(map[string]string{"retention.bytes": "1048576"}))
			client, err := kgo.NewClient(kgo.SeedBrokers(c.ListenAddrs()...), kgo.ProducerLinger(0), kgo.ProducerBatchCompression(kgo.NoCompression()))
			if err != nil {
				b.Fatal(err)
			}
			defer client.Close()
			d := delivery(sink.Instance, "sales", "messages.upsert")
			value := event.Codec{}.Append(nil, d.Event)
			headers := benchHeaders(d)
			for b.Loop() {
				records := make([]*kgo.Record, n)
				for i := range records {
					records[i] = &kgo.Record{Topic: benchTopic, Key: []byte("sales"), Value: value, Headers: headers}
				}
				if err := client.ProduceSync(b.Context(), records...).FirstErr(); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.N*n)/b.Elapsed().Seconds(), "events/s")
		})
	}
}

func BenchmarkDeliverBatch(b *testing.B) {
	for _, n := range []int{1, 100} {
		b.Run(fmt.Sprintf("batch=%d", n), func(b *testing.B) {
			c := cluster(b, kfake.SeedTopics(1, benchTopic), kfake.BrokerConfigs(map[string]string{"retention.bytes": "1048576"}))
			s := start(b, config(c))
			batch := make([]*sink.Delivery, n)
			for i := range batch {
				batch[i] = delivery(sink.Instance, "sales", "messages.upsert")
			}
			for b.Loop() {
				for _, err := range s.DeliverBatch(b.Context(), batch) {
					if err != nil {
						b.Fatal(err)
					}
				}
			}
			b.ReportMetric(float64(b.N*n)/b.Elapsed().Seconds(), "events/s")
		})
	}
}

// BenchmarkEndToEnd is the whole way through the durable queue, beside the bare client by one goroutine. The cluster is in this process.
func BenchmarkEndToEnd(b *testing.B) {
	c := cluster(b, kfake.BrokerConfigs(map[string]string{"retention.bytes": "1048576"}))
	client, err := kgo.NewClient(kgo.SeedBrokers(c.ListenAddrs()...), kgo.AllowAutoTopicCreation(), kgo.ProducerLinger(0), kgo.ProducerBatchCompression(kgo.NoCompression()))
	if err != nil {
		b.Fatal(err)
	}
	defer client.Close()
	d := delivery(sink.Global, "sales", sinkbench.Name)
	d.Event.Data = sinkbench.Data
	value := event.Codec{}.Append(nil, d.Event)
	f := sink.Use(kafka.Spec, func(k *kafka.Config) {
		*k = config(c)
		k.GlobalEnabled, k.Events = true, sink.Switches{"CALL": true}
	})
	sinkbench.Run(b, f, 100, func(n, atOnce int) error {
		for n > 0 {
			records := make([]*kgo.Record, min(n, atOnce))
			for i := range records {
				records[i] = &kgo.Record{Topic: "bare", Key: []byte("sales"), Value: value, Headers: benchHeaders(d)}
			}
			if err := client.ProduceSync(b.Context(), records...).FirstErr(); err != nil {
				return err
			}
			n -= len(records)
		}
		return nil
	})
}
