package rabbitmq_test

import (
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/evosink/evosink/adapters/memory"
	"github.com/evosink/evosink/core/queue"
	"github.com/evosink/evosink/core/queue/queuetest"
	"github.com/evosink/evosink/core/sink"
	"github.com/evosink/evosink/core/sink/sinktest"
)

// A classic queue that is full refuses one message and takes the next as soon as a consumer has made room.
func TestAConsumerOfAFullQueueIsLeftWithTheRightOrder(t *testing.T) {
	b := newBroker(t)
	name := b.name + ".messages.upsert"
	b.owns(b.name, name)
	b.must(func(ch *amqp.Channel) error {
		_, err := ch.QueueDeclare(name, true, false, false, false, amqp.Table{
			"x-max-length": 20, "x-overflow": "reject-publish",
		})
		return err
	})
	engine, err := memory.New(memory.DefaultConfig())
	if err != nil {
		t.Fatal(err)
	}
	ch, err := b.Channel()
	if err != nil {
		t.Fatal(err)
	}
	defer ch.Close()
	if err := ch.Qos(1, 0, false); err != nil { // slower than the sink
		t.Fatal(err)
	}
	arrivals, err := ch.Consume(name, "reader", false, false, false, false, nil)
	if err != nil {
		t.Fatal(err)
	}
	read := make(chan []string)
	go func() { // ends when the consumer is cancelled
		var ids []string
		for d := range arrivals {
			ids = append(ids, d.MessageId)
			d.Ack(false)
		}
		read <- ids
	}()
	const all = 3000
	got := queuetest.Order{
		Store: engine.Queue(), Sink: start(t, b.config()), N: all,
		To: queue.Destination{
			Lane: queue.LaneKey{Sink: "rabbitmq", Target: "global", Instance: b.name}, Scope: sink.Global,
		},
		Arrived: func() []string {
			sinktest.Eventually(t, "the queue is empty", func() bool { return b.waiting(name) == 0 })
			if err := ch.Cancel("reader", false); err != nil {
				t.Fatal(err)
			}
			return <-read
		},
	}.Run(t)
	if got.Refused == 0 {
		t.Error("the queue refused nothing: this test shows nothing")
	}
}

// waiting returns how many messages a queue holds.
func (b *broker) waiting(queue string) (n int) {
	b.t.Helper()
	b.must(func(ch *amqp.Channel) error {
		q, err := ch.QueueDeclarePassive(queue, true, false, false, false, nil)
		n = q.Messages
		return err
	})
	return n
}
