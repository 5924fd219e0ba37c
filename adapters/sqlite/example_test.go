package sqlite_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/rs/zerolog"

	"github.com/evosink/evosink/adapters/sqlite"
	"github.com/evosink/evosink/core/bus"
	"github.com/evosink/evosink/core/event"
)

// One file is the bus, its log and the store of instances.
func Example() {
	dir, _ := os.MkdirTemp("", "evosink")
	defer os.RemoveAll(dir)
	ctx := context.Background()

	c := sqlite.DefaultConfig()
	c.Path = filepath.Join(dir, "evosink.db")
	db, err := sqlite.Open(ctx, c, zerolog.New(os.Stderr))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer db.Close(ctx)

	e := &event.Event{ID: event.NewID(), Name: "call", Instance: "demo", Time: time.Now(), Data: []byte(`{"from":"5511"}`)}
	topic := bus.Topic(bus.Shard(e.Instance, db.Shards()))
	if err := db.Publisher().Publish(topic, bus.Message(e)); err != nil {
		fmt.Println(err)
		return
	}
	// The event is on the disk. A group that begins now is given it, and so it is after a crash.
	messages, err := db.Group("dispatch").Subscribe(ctx, topic)
	if err != nil {
		fmt.Println(err)
		return
	}
	m := <-messages
	got, _ := bus.Event(m)
	fmt.Printf("%s of %s: %s\n", got.Name, got.Instance, got.Data)
	m.Ack()
	// Output: call of demo: {"from":"5511"}
}
