package kafka_test

import (
	"sync"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/evosink/evosink/adapters/memory"
	"github.com/evosink/evosink/core/queue"
	"github.com/evosink/evosink/core/queue/queuetest"
	"github.com/evosink/evosink/core/sink"
	"github.com/evosink/evosink/core/sink/sinktest"
)

// Brokers that refuse a request in the middle, of several that are under way at once.
func TestAConsumerOfATopicThatRefusesIsLeftWithTheRightOrder(t *testing.T) {
	c := cluster(t, kfake.SeedTopics(1, "evolution.sales.messages.upsert"))
	var mu sync.Mutex
	requests, refused := 0, 0
	c.ControlKey(int16(kmsg.Produce), func(r kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		mu.Lock()
		defer mu.Unlock()
		if requests++; requests%5 != 3 {
			return nil, nil, false
		}
		refused++
		return refuse(r.(*kmsg.ProduceRequest), kerr.TopicAuthorizationFailed), nil, true
	})
	conf := config(c)
	conf.MaxMessageBytes = 16384 // so that a batch is several requests
	engine, err := memory.New(memory.DefaultConfig())
	if err != nil {
		t.Fatal(err)
	}
	const all = 500
	got := consume(t, c, "evolution.sales.messages.upsert")
	o := queuetest.Order{
		Store: engine.Queue(), Sink: start(t, conf), N: all,
		To: queue.Destination{
			Lane: queue.LaneKey{Sink: "kafka", Target: "instance", Instance: "sales"}, Scope: sink.Instance,
		},
	}
	o.Arrived = func() []string {
		sinktest.Eventually(t, "the last event arrives", func() bool {
			ids := got.ids()
			return len(ids) >= all && ids[len(ids)-1] == o.ID(all-1)
		})
		return got.ids()
	}
	if o.Run(t); refused == 0 {
		t.Error("nothing was refused: this test shows nothing")
	}
}
