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
			name, attrs := a.name+"_bare", map[string]string{}
			if bc.fifo {
				name, attrs = name+".fifo", map[string]string{"FifoQueue": "true"}
			}
			made, err := a.sqs.CreateQueue(context.Background(), &awssqs.CreateQueueInput{QueueName: &name, Attributes: attrs})
			if err != nil {
				b.Fatal(err)
			}
			body := string(event.Codec{}.Append(nil, delivery(sink.Global, "shop", "call").Event))
			per := 10
			if bc.fifo {
				per = min(per, bc.groups)
			}
			n := 0
			for b.Loop() {
				in := &awssqs.SendMessageBatchInput{QueueUrl: made.QueueUrl}
				for i := range per {
					e := types.SendMessageBatchRequestEntry{Id: aws.String(fmt.Sprint(i)), MessageBody: &body}
					if bc.fifo {
						e.MessageGroupId, e.MessageDeduplicationId = aws.String(fmt.Sprint(i)), aws.String(event.NewID())
					}
					in.Entries = append(in.Entries, e)
				}
				if out, err := a.sqs.SendMessageBatch(context.Background(), in); err != nil || len(out.Failed) > 0 {
					b.Fatal(err)
				}
				n += per
			}
			b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "events/s")
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
					batch[i] = delivery(sink.Global, fmt.Sprintf("shop%d", i%bc.groups), "call")
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
