package rabbitmq_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/evosink/evosink/core/sink"
	"github.com/evosink/evosink/core/sink/sinktest"
	"github.com/evosink/evosink/sinks/e2e/sinkbench"
	"github.com/evosink/evosink/sinks/rabbitmq"
)

// The floor: the client library's publish loop with the same messages, as many waiting for their confirms at once as
// evosink has workers.
func BenchmarkPublishBare(b *testing.B) {
	p := newPublisher(b)
	var mu sync.Mutex
	share(b, func() {
		mu.Lock()
		confirm := p.publish(b)
		mu.Unlock()
		if !confirm.Wait() {
			b.Error("nack")
		}
	})
	perSecond(b, 1)
}

// The same by one goroutine, a hundred at a time.
func BenchmarkPublishBareBatch(b *testing.B) {
	p := newPublisher(b)
	confirms := make([]*amqp.DeferredConfirmation, 100)
	for b.Loop() {
		for i := range confirms {
			confirms[i] = p.publish(b)
		}
		for _, confirm := range confirms {
			if !confirm.Wait() {
				b.Fatal("nack")
			}
		}
	}
	perSecond(b, len(confirms))
}

// Each worker delivers one event at a time: what the queue does with lanes of their own.
func BenchmarkDeliver(b *testing.B) {
	s, d := benchSink(b)
	share(b, func() {
		if err := s.Deliver(context.Background(), d); err != nil {
			b.Error(err)
		}
	})
	perSecond(b, 1)
}

// A lane with a backlog is delivered in batches.
func BenchmarkDeliverBatch(b *testing.B) {
	s, d := benchSink(b)
	batch := make([]*sink.Delivery, 100)
	for i := range batch {
		batch[i] = d
	}
	for b.Loop() {
		for _, err := range s.DeliverBatch(context.Background(), batch) {
			if err != nil {
				b.Fatal(err)
			}
		}
	}
	perSecond(b, len(batch))
}

const workers = 32

// A publisher publishes what the sink would, by hand.
type publisher struct {
	channel  *amqp.Channel
	exchange string
	message  amqp.Publishing
}

func newPublisher(b *testing.B) publisher {
	br := newBroker(b)
	br.owns(br.name, br.name+".call")
	d := sinktest.NewDelivery(sink.Global, "sales", "call")
	d.Event.Data = benchData()
	sinktest.Deliver(b, start(b, br.config()), d) // declares
	ch, err := br.Channel()
	if err == nil {
		err = ch.Confirm(false)
	}
	if err != nil {
		b.Fatal(err)
	}
	got, _, err := ch.Get(br.name+".call", true)
	if err != nil {
		b.Fatal(err)
	}
	return publisher{ch, br.name, amqp.Publishing{
		Headers: got.Headers, ContentType: got.ContentType, DeliveryMode: got.DeliveryMode, MessageId: got.MessageId,
		Timestamp: got.Timestamp, Type: got.Type, AppId: got.AppId, Body: got.Body,
	}}
}

func (p publisher) publish(b *testing.B) *amqp.DeferredConfirmation {
	confirm, err := p.channel.PublishWithDeferredConfirm(p.exchange, "call", true, false, p.message)
	if err != nil {
		b.Fatal(err)
	}
	return confirm
}

func benchSink(b *testing.B) (*rabbitmq.Sink, *sink.Delivery) {
	br := newBroker(b)
	br.owns(br.name, br.name+".call")
	s := start(b, br.config())
	d := sinktest.NewDelivery(sink.Global, "sales", "call")
	d.Event.Data = benchData()
	sinktest.Deliver(b, s, d)
	return s, d
}

// benchData makes an envelope of about 1 KiB.
func benchData() []byte { return []byte(`"` + strings.Repeat("x", 768) + `"`) }

// share runs f b.N times on workers goroutines.
func share(b *testing.B, f func()) {
	var wg sync.WaitGroup
	left := make(chan struct{}, workers)
	for range workers {
		wg.Go(func() {
			for range left {
				f()
			}
		})
	}
	b.ResetTimer()
	for range b.N {
		left <- struct{}{}
	}
	close(left)
	wg.Wait()
}

func perSecond(b *testing.B, each int) {
	b.ReportMetric(float64(b.N*each)/b.Elapsed().Seconds(), "events/s")
}

// The whole way through the durable queue, beside the bare loop by one goroutine.
func BenchmarkEndToEnd(b *testing.B) {
	p := newPublisher(b)
	br := newBroker(b)
	br.owns(br.name, br.name+"."+sinkbench.Name)
	f := sink.Use(rabbitmq.Spec, func(c *rabbitmq.Config) {
		*c = br.config()
		c.GlobalEnabled, c.GlobalEvents = true, []string{sinkbench.Name}
	})
	sinkbench.Run(b, f, 100, func(n, atOnce int) error {
		for n > 0 {
			confirms := make([]*amqp.DeferredConfirmation, min(n, atOnce))
			for i := range confirms {
				confirms[i] = p.publish(b)
			}
			for _, confirm := range confirms {
				if !confirm.Wait() {
					return errors.New("nack")
				}
			}
			n -= len(confirms)
		}
		return nil
	})
}
