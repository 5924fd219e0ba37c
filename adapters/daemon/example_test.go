package daemon_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"

	"github.com/rs/zerolog"

	"github.com/evosink/evosink/adapters/daemon"
	"github.com/evosink/evosink/adapters/memory"
	"github.com/evosink/evosink/core"
	"github.com/evosink/evosink/core/sink"
	"github.com/evosink/evosink/sinks/websocket"
)

// A host process that wants evosink's whole HTTP side, its variables and its files of configuration mounts the API beside
// its own routes. Its engine and its sinks are its choice.
func Example() {
	ctx, stop := context.WithCancel(context.Background())
	engine, err := memory.New(memory.DefaultConfig())
	if err != nil {
		panic(err)
	}
	node := engine.Bus()
	d := daemon.New("", daemon.Engine{}, sink.Use(websocket.Spec))
	if err := d.Load(nil, []string{"AUTHENTICATION_API_KEY=short", "SERVER_HOST=0.0.0.0", "WEBSOCKET_GLOBAL_EVENTS=true"}); err != nil {
		panic(err)
	}
	for _, w := range d.Warnings() {
		fmt.Println(w)
	}
	registry, err := d.HTTP.Auth.OpenRegistry(ctx, engine, os.Stderr)
	if err != nil {
		panic(err)
	}
	hub, api, err := d.Build(core.Options{Bus: node, Instances: registry, Log: engine, Queue: engine.Queue(), Logger: zerolog.Nop()})
	if err != nil {
		panic(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- hub.Run(ctx) }()
	<-hub.Started()

	r := httptest.NewRequest("POST", "/events/sales", strings.NewReader(`{"event":"messages.upsert"}`))
	r.Header.Set("apikey", "short")
	answer := httptest.NewRecorder()
	api.ServeHTTP(answer, r)
	fmt.Println(answer.Code == http.StatusCreated)

	stop()
	fmt.Println(<-ended, node.Close(context.Background()))
	// Output:
	// auth.api_key has 5 characters and can be guessed by whatever reaches 0.0.0.0:8080: take 16 or more, for example from: openssl rand -hex 16
	// sinks.websocket.global_events delivers nothing (environment WEBSOCKET_GLOBAL_EVENTS): sinks.websocket.enabled is off
	// true
	// <nil> <nil>
}
