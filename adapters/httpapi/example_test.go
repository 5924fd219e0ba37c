package httpapi_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/rs/zerolog"

	"github.com/evosink/evosink/adapters/evolution"
	"github.com/evosink/evosink/adapters/httpapi"
	"github.com/evosink/evosink/adapters/memory"
	"github.com/evosink/evosink/core"
	"github.com/evosink/evosink/core/instances"
)

// An API stands before a hub: here one without sinks, on the engine that keeps nothing.
func Example() {
	ctx := context.Background()
	engine, err := memory.New(memory.DefaultConfig())
	if err != nil {
		panic(err)
	}
	bus := engine.Bus()
	defer bus.Close(ctx)
	registry, err := instances.Open(ctx, engine, instances.Sum("my-global-key"))
	if err != nil {
		panic(err)
	}
	hub, err := core.New(core.Options{Bus: bus, Instances: registry, Logger: zerolog.Nop()})
	if err != nil {
		panic(err)
	}
	defer hub.Close(ctx)
	api, err := httpapi.New(httpapi.Options{
		Config: httpapi.Default(), Emitter: hub, Registry: registry, Logger: zerolog.Nop(),
		Ready: hub.Check, SinkHealth: hub.SinkHealth, Settle: hub.Settle,
		Ingest: map[string]httpapi.Decoder{"evolution": evolution.DecodeAPI, "evolution-go": evolution.DecodeGo},
	})
	if err != nil {
		panic(err)
	}
	server := httptest.NewServer(api) // for a public one: httpapi.NewServer
	defer server.Close()

	r, _ := http.NewRequest(http.MethodPost, server.URL+"/events/sales", strings.NewReader(`{"id":"my-id","event":"messages.upsert","data":{"text":"hello"}}`))
	r.Header.Set("apikey", "my-global-key")
	answer, err := server.Client().Do(r)
	if err != nil {
		panic(err)
	}
	defer answer.Body.Close()
	body, _ := io.ReadAll(answer.Body)
	fmt.Println(answer.StatusCode, string(body))
	// Output: 201 {"id":"my-id","ids":["my-id"]}
}
