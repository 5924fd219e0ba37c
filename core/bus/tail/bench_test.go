package tail_test

import (
	"fmt"
	"testing"

	"github.com/evosink/evosink/core/bus"
	"github.com/evosink/evosink/core/bus/tail"
	"github.com/evosink/evosink/core/event"
)

// BenchmarkBatches is what an event costs on its way through the tail to a subscription of batches that acks at once,
// when so many of 64 instances have come meanwhile. One operation is an event.
func BenchmarkBatches(b *testing.B) {
	for _, group := range []string{"", "g"} {
		for _, waiting := range []int{1, 16, 256} {
			b.Run(fmt.Sprintf("group=%s/waiting=%d", group, waiting), func(b *testing.B) { carry(b, group, waiting) })
		}
	}
}

func carry(b *testing.B, group string, waiting int) {
	log := &tail.Log{Tail: tail.New(1, 0), Readers: tail.NewReaders()}
	node := tail.NewNode(log)
	defer node.Close()
	topic := bus.All
	if group != "" {
		topic = bus.Topic(0)
	}
	c, err := node.Batches(group).Subscribe(b.Context(), topic)
	if err != nil {
		b.Fatal(err)
	}
	entries := make([]tail.Entry, waiting)
	for i := range entries {
		e := &event.Event{ID: event.NewID(), Name: "call", Instance: fmt.Sprint("instance-", i%64)}
		entries[i] = tail.Entry{Message: bus.Message(e)}
	}
	b.ReportAllocs()
	b.ResetTimer()
	var position int64
	for n := 0; n < b.N; n += waiting {
		for i := range entries {
			position++
			entries[i].Position = position
		}
		log.Append(entries...)
		log.Trim(0, 0, log.Need)
		for taken := 0; taken < waiting; {
			some := <-c
			taken += len(some.Messages)
			some.Ack()
		}
	}
}
