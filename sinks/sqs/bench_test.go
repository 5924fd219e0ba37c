package sqs_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	awssqs "github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/evosink/evosink/core/event"
	"github.com/evosink/evosink/core/sink"
	"github.com/evosink/evosink/core/sink/sinktest"
	"github.com/evosink/evosink/sinks/e2e/sinkbench"
	"github.com/evosink/evosink/sinks/sqs"
)

// Both send to standard queues, so that requests are as large as the protocol has them, and to FIFO queues with ten groups.
var benchCases = []struct {
	name   string
	fifo   bool
	groups int
}{{"standard", false, 1}, {"fifo-10-groups", true, 10}, {"fifo-1-group", true, 1}}

// The bare client: the same messages in the same requests as SQS takes them.
func BenchmarkClient(b *testing.B) {
	for _, bc := range benchCases {
		b.Run(bc.name, func(b *testing.B) {
			a := newAccount(b)
			queue := bareQueue(b, a, bc.fifo)
			body := string(event.Codec{}.Append(nil, sinktest.NewDelivery(sink.Global, "shop", "call").Event))
			per := 10
			if bc.fifo {
				per = min(per, bc.groups)
			}
			n := 0
			for b.Loop() {
				if err := sendBare(a, queue, body, per, bc.fifo); err != nil {
					b.Fatal(err)
				}
				n += per
			}
			b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "events/s")
		})
	}
}

func bareQueue(b *testing.B, a *account, fifo bool) (url string) {
	b.Helper()
	name, attrs := a.name+"_bare", map[string]string{}
	if fifo {
		name, attrs = name+".fifo", map[string]string{"FifoQueue": "true"}
	}
	made, err := a.sqs.CreateQueue(context.Background(), &awssqs.CreateQueueInput{QueueName: &name, Attributes: attrs})
	if err != nil {
		b.Fatal(err)
	}
	return *made.QueueUrl
}

// sendBare sends one request of n messages, at most ten, each of a group of its own on a FIFO queue.
func sendBare(a *account, queue, body string, n int, fifo bool) error {
	in := &awssqs.SendMessageBatchInput{QueueUrl: &queue}
	for i := range n {
		e := types.SendMessageBatchRequestEntry{Id: aws.String(fmt.Sprint(i)), MessageBody: &body}
		if fifo {
			e.MessageGroupId, e.MessageDeduplicationId = aws.String(fmt.Sprint(i)), aws.String(event.NewID())
		}
		in.Entries = append(in.Entries, e)
	}
	out, err := a.sqs.SendMessageBatch(context.Background(), in)
	if err == nil && len(out.Failed) > 0 {
		err = fmt.Errorf("%d of %d messages were not taken", len(out.Failed), n)
	}
	return err
}

// BenchmarkEndToEnd is the whole way through the durable queue, beside the bare client by one goroutine.
func BenchmarkEndToEnd(b *testing.B) {
	for _, bc := range benchCases[:2] {
		b.Run(bc.name, func(b *testing.B) {
			a := newAccount(b)
			queue := bareQueue(b, a, bc.fifo)
			d := sinktest.NewDelivery(sink.Global, "shop", sinkbench.Name)
			d.Event.Data = sinkbench.Data
			body := string(event.Codec{}.Append(nil, d.Event))
			f := sink.Use(sqs.Spec, func(c *sqs.Config) {
				*c = a.config()
				c.GlobalEnabled, c.Events, c.FIFO = true, sink.Switches{"CALL": true}, bc.fifo
			})
			sinkbench.Run(b, f, 10, func(n, atOnce int) error {
				for ; n > 0; n -= atOnce {
					if err := sendBare(a, queue, body, min(n, atOnce), bc.fifo); err != nil {
						return err
					}
				}
				return nil
			})
		})
	}
}

func BenchmarkDeliverBatch(b *testing.B) {
	for _, bc := range benchCases {
		b.Run(bc.name, func(b *testing.B) {
			a := newAccount(b)
			c := a.config()
			c.FIFO = bc.fifo
			s := start(b, c)
			n := 0
			for b.Loop() {
				batch := make([]*sink.Delivery, 100)
				for i := range batch {
					batch[i] = sinktest.NewDelivery(sink.Global, fmt.Sprintf("shop%d", i%bc.groups), "call")
				}
				for _, err := range s.DeliverBatch(b.Context(), batch) {
					if err != nil {
						b.Fatal(err)
					}
				}
				n += len(batch)
			}
			b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "events/s")
		})
	}
}
