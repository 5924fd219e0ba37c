package core_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/rs/zerolog"

	"github.com/evosink/evosink/adapters/sqlite"
	"github.com/evosink/evosink/core"
	"github.com/evosink/evosink/core/bus"
	"github.com/evosink/evosink/core/event"
	"github.com/evosink/evosink/core/instances"
	"github.com/evosink/evosink/core/sink"
	"github.com/evosink/evosink/sinks/webhook"
	"github.com/evosink/evosink/sinks/websocket"
)

// An API process with evosink inside. README has the part between the comments, and a test in sinks/e2e that it is the same.
//
//nolint:ineffassign // README leaves checking each err to its reader
func Example() {
	defer elsewhere()() // the database is data/evosink.db in the working directory
	ctx, stop := context.WithCancel(context.Background())
	logger, mux, apiKey, data := zerolog.Nop(), http.NewServeMux(), "change-me-to-a-long-key", json.RawMessage("{}")

	// README begins here.
	engine, err := sqlite.Open(ctx, sqlite.DefaultConfig(), logger)
	registry, err := instances.Open(ctx, engine, instances.Sum(apiKey))
	hub, err := core.New(core.Options{
		Bus: engine, Instances: registry, Log: engine, Queue: engine.Queue(), Logger: logger,
		Sinks: []*sink.Factory{
			sink.Use(websocket.Spec, func(c *websocket.Config) { c.Enabled = true }),
			sink.Use(webhook.Spec),
		},
	})
	hub.Handle("send.message", func(ctx context.Context, c core.Command) (any, error) { return "sent", nil }) // what clients emit
	hub.Router().AddConsumerHandler("audit", bus.All, hub.Subscriber("audit"), func(m *message.Message) error {
		return nil // a watermill handler of your own, beside the hub's
	})
	for _, m := range hub.Mounts() {
		mux.Handle(m.Pattern(), m)
	}
	go hub.Run(ctx)
	err = hub.Emit(ctx, &event.Event{Name: "messages.upsert", Instance: "sales", Data: data})
	// README ends here.

	<-hub.Started()
	in, exists := registry.Get("sales") // the event has made it
	fmt.Println("emitted:", err == nil, in.Name, exists)
	fmt.Println("sinks:", hub.SinkHealth(ctx))
	stop()
	fmt.Println("ended:", hub.Close(context.Background()), engine.Close(context.Background()))
	// Output:
	// emitted: true sales true
	// sinks: map[webhook:<nil> websocket:<nil>]
	// ended: <nil> <nil>
}
