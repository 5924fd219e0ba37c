package memory_test

import (
	"context"
	"fmt"
	"time"

	"github.com/evosink/evosink/adapters/memory"
	"github.com/evosink/evosink/core/bus"
	"github.com/evosink/evosink/core/event"
)

// Two nodes on one log: what is published on the one is seen on the other.
func Example() {
	ctx := context.Background()
	engine, err := memory.New(memory.DefaultConfig())
	if err != nil {
		fmt.Println(err)
		return
	}
	one, two := engine.Bus(), engine.Bus()
	defer one.Close(ctx)
	defer two.Close(ctx)

	messages, err := two.Broadcast().Subscribe(ctx, bus.All)
	if err != nil {
		fmt.Println(err)
		return
	}
	e := &event.Event{ID: event.NewID(), Name: "call", Instance: "demo", Time: time.Now(), Data: []byte(`{"from":"5511"}`)}
	if err := one.Publisher().Publish(bus.Topic(bus.Shard(e.Instance, one.Shards())), bus.Message(e)); err != nil {
		fmt.Println(err)
		return
	}
	m := <-messages
	got, _ := bus.Event(m)
	fmt.Printf("%s of %s: %s\n", got.Name, got.Instance, got.Data)
	m.Ack()
	// Output: call of demo: {"from":"5511"}
}
