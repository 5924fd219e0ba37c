// Command api is a main API process with evosink inside, in the shape of Evolution Go: it owns the instances and their connections to
// WhatsApp (made up here), emits their events, does what clients ask for over their sockets, and runs a handler of its own beside the sinks.
//
//	go run ./plugins/examples/api -listen 127.0.0.1:8090 -key secret
//	curl -X POST localhost:8090/instance/connect/sales -H 'apikey: secret'
//
// The events appear in a socket.io client on / (global key) or /sales (token sales-token), and such a client
// sends by socket.emit("send.message", {number: "5511…", text: "hello"}, console.log).
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/rs/zerolog"

	"github.com/evosink/evosink/adapters/memory"
	"github.com/evosink/evosink/core"
	"github.com/evosink/evosink/core/bus"
	"github.com/evosink/evosink/core/event"
	"github.com/evosink/evosink/core/instances"
	"github.com/evosink/evosink/core/sink"
	"github.com/evosink/evosink/sinks/websocket"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:8090", "address to listen on")
	key := flag.String("key", "secret", "global key")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	log := zerolog.New(os.Stderr).With().Timestamp().Logger()
	if err := run(ctx, *listen, *key, log); err != nil {
		log.Fatal().Err(err).Msg("api ended")
	}
}

func run(ctx context.Context, listen, key string, log zerolog.Logger) error {
	engine, err := memory.New(memory.DefaultConfig()) // sqlite.Open(...) keeps events over a restart
	if err != nil {
		return err
	}
	node := engine.Bus()
	defer node.Close(context.Background())
	registry, err := instances.Open(ctx, engine, instances.Sum(key))
	if err != nil {
		return err
	}
	hub, err := core.New(core.Options{
		Bus: node, Instances: registry, Log: engine, Logger: log, Name: "api",
		Sinks: []*sink.Factory{sink.Use(websocket.Spec, func(c *websocket.Config) { c.Enabled, c.GlobalEvents = true, true })},
	})
	if err != nil {
		return err
	}
	a := &api{hub: hub, registry: registry, key: instances.Sum(key), counts: map[string]int{}}
	hub.Handle("send.message", a.sendMessage)
	hub.Router().AddConsumerHandler("count", bus.All, hub.Subscriber("count"), a.count)

	mux := http.NewServeMux()
	mux.HandleFunc("POST /instance/connect/{instance}", a.connect)
	mux.HandleFunc("GET /counts", a.showCounts)
	for _, m := range hub.Mounts() {
		mux.Handle(m.Pattern(), m)
	}
	server := &http.Server{Addr: listen, Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	context.AfterFunc(ctx, func() { _ = server.Close() })
	ran := make(chan error, 1)
	go func() { ran <- hub.Run(ctx) }()
	<-hub.Started()
	log.Info().Str("address", listen).Msg("api is ready")
	if err := server.ListenAndServe(); ctx.Err() == nil {
		return err
	}
	return <-ran
}

// api is the part of a main API that matters here.
type api struct {
	hub      *core.Hub
	registry *instances.Registry
	key      instances.Digest

	mu sync.Mutex
	// mu guards the field below.
	counts map[string]int // events by name, counted by the API's own handler
}

// connect makes an instance and lets its connection to WhatsApp come up: a QR code, then the connection, then a first message.
func (a *api) connect(w http.ResponseWriter, r *http.Request) {
	if instances.Sum(r.Header.Get("apikey")) != a.key {
		http.Error(w, `{"error":"not authorized"}`, http.StatusUnauthorized)
		return
	}
	name := r.PathValue("instance")
	if _, err := a.registry.Create(r.Context(), instances.Instance{Name: name}, name+"-token"); err == nil {
		_, err = a.registry.Set(r.Context(), name, websocket.Name, json.RawMessage(`{"enabled":true}`))
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
	}
	for _, e := range []event.Event{
		{Name: "QRCode", Data: json.RawMessage(`{"qrcode":"data:image/png;base64,iVBORw0KGgo=","code":"2@x","count":1,"maxCount":5}`)},
		{Name: "Connected", Data: json.RawMessage(`{"status":"open","jid":"5511999990000:12@s.whatsapp.net","pushName":"ACME"}`)},
		{Name: "Message", Data: json.RawMessage(`{"Info":{"Chat":"5511988887777@s.whatsapp.net","IsFromMe":false},"Message":{"conversation":"Oi"}}`)},
	} {
		e.Instance = name
		if err := a.hub.Emit(r.Context(), &e); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
	}
	fmt.Fprintln(w, `{"message":"success"}`)
}

// sendMessage is what a client asks for by socket.emit("send.message", {number, text}).
func (a *api) sendMessage(ctx context.Context, c core.Command) (any, error) {
	var m struct{ Number, Text string }
	if err := json.Unmarshal(c.Data, &m); err != nil || m.Number == "" || m.Text == "" {
		return nil, sink.CommandErrorf(sink.CodeInvalid, `expected {"number": "5511…", "text": "…"}`)
	}
	id := "3EB0" + event.NewID()
	data, err := json.Marshal(map[string]any{
		"Info":    map[string]any{"Chat": m.Number + "@s.whatsapp.net", "IsFromMe": true, "ID": id},
		"Message": map[string]any{"conversation": m.Text},
	})
	if err != nil {
		return nil, err
	}
	if err := a.hub.Emit(ctx, &event.Event{Name: "SendMessage", Instance: c.Instance, Data: data}); err != nil {
		return nil, err
	}
	return map[string]string{"id": id, "status": "PENDING"}, nil
}

// count is a handler of the API's own, on the hub's events.
func (a *api) count(m *message.Message) error {
	e, err := bus.Event(m)
	if err != nil {
		return nil // nothing that could ever be counted
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.counts[e.Name]++
	return nil
}

func (a *api) showCounts(w http.ResponseWriter, _ *http.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	_ = json.NewEncoder(w).Encode(a.counts)
}
