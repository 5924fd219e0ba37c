package kafka_test

import (
	"fmt"
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/evosink/evosink/core/event"
	"github.com/evosink/evosink/core/sink"
)

const benchTopic = "evolution.sales.messages.upsert"

// The bare client: the same bytes, the same guarantees.
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
			for b.Loop() {
				records := make([]*kgo.Record, n)
				for i := range records {
					records[i] = &kgo.Record{Topic: benchTopic, Key: []byte("sales"), Value: value}
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
