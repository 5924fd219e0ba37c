package nats_test

import (
	"strings"
	"testing"
	"time"

	natsgo "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/evosink/evosink/adapters/memory"
	"github.com/evosink/evosink/core/event"
	"github.com/evosink/evosink/core/queue"
	"github.com/evosink/evosink/core/queue/queuetest"
	"github.com/evosink/evosink/core/sink"
	"github.com/evosink/evosink/core/sink/sinktest"
	"github.com/evosink/evosink/sinks/nats"
)

// A stream that is full for one subject refuses its message and takes the next one of another; and it does not take
// again, within its duplicate window, what it has taken before, unless it has another id.
func TestAConsumerOfAFullStreamIsLeftWithTheRightOrder(t *testing.T) {
	t.Run("the server of the machine", func(t *testing.T) {
		uri, conn := service(t)
		testOrder(t, uri, conn, false)
	})
	t.Run("the newest server", func(t *testing.T) {
		uri := local(t, stored(t)).ClientURL()
		testOrder(t, uri, connect(t, uri), false)
	})
	t.Run("with a restart in the middle", func(t *testing.T) {
		uri := local(t, stored(t)).ClientURL()
		testOrder(t, uri, connect(t, uri), true)
	})
}

func testOrder(t *testing.T, uri string, conn *natsgo.Conn, restart bool) {
	c := config(uri)
	c.PrefixKey = "evosink-test." + event.NewID()
	name := strings.ReplaceAll(c.PrefixKey, ".", "-")
	js := stream(t, conn, name)
	_, err := js.CreateStream(t.Context(), jetstream.StreamConfig{
		Name: name, Subjects: []string{c.PrefixKey + ".>"}, Retention: jetstream.WorkQueuePolicy,
		Discard: jetstream.DiscardNew, MaxMsgsPerSubject: 5, DiscardNewPerSubject: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	consumer, err := js.CreateOrUpdateConsumer(t.Context(), name, jetstream.ConsumerConfig{
		Durable: "reader", AckPolicy: jetstream.AckExplicitPolicy,
	})
	if err != nil {
		t.Fatal(err)
	}
	held := func() uint64 {
		s, err := js.Stream(t.Context(), name)
		if err != nil {
			t.Error(err)
			return 0
		}
		return s.CachedInfo().State.Msgs
	}
	var ids []string
	reading := make(chan jetstream.ConsumeContext, 1)
	restarted := make(chan struct{})
	if !restart {
		close(restarted)
	}
	go func() {
		<-restarted
		// Of a first batch five are taken, the next ones refused, and those of the other subject taken again: then the
		// reader comes.
		for held() <= 5 && t.Context().Err() == nil {
			time.Sleep(time.Millisecond)
		}
		reader, err := consumer.Consume(func(m jetstream.Msg) {
			e, err := event.Decode(m.Data())
			if err != nil {
				t.Error(err)
				return
			}
			ids = append(ids, e.ID)
			m.Ack()
		})
		if err != nil {
			t.Error(err)
		}
		reading <- reader
	}()
	c.JetStream = nats.JetStream{Enabled: true, Replicas: 1}
	engine, err := memory.New(memory.DefaultConfig())
	if err != nil {
		t.Fatal(err)
	}
	const all = 1000
	names := [2]string{"messages.upsert", "call"}
	o := queuetest.Order{
		Store: engine.Queue(), Sink: start(t, c), N: all,
		To: queue.Destination{
			Lane: queue.LaneKey{Sink: "nats", Target: "global", Instance: "sales"}, Scope: sink.Global,
		},
		Name: func(n int) string { return names[n%10/9] },
		Arrived: func() []string {
			sinktest.Eventually(t, "the stream is empty", func() bool { return held() == 0 })
			reader := <-reading
			reader.Stop()
			<-reader.Closed()
			return ids
		},
	}
	if restart {
		o.Again = func() sink.Sink {
			close(restarted)
			return start(t, c)
		}
	}
	if got := o.Run(t); got.Overtook == 0 {
		t.Error("the stream refused nothing: this test shows nothing")
	}
}
