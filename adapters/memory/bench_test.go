package memory_test

import (
	"context"
	"testing"

	"github.com/evosink/evosink/core/bus"
)

// BenchmarkPublishToBroadcast publishes events to one broadcast subscriber that acks at once.
func BenchmarkPublishToBroadcast(b *testing.B) {
	engine := newEngine(b)
	node := engine.Bus()
	defer node.Close(context.Background())
	c, err := node.Broadcast().Subscribe(b.Context(), bus.All)
	if err != nil {
		b.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range b.N {
			(<-c).Ack()
		}
	}()
	e := numbered(0)
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		if err := node.Publisher().Publish(bus.Topic(0), bus.Message(e)); err != nil {
			b.Fatal(err)
		}
	}
	<-done
}
