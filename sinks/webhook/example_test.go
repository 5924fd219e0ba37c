package webhook_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/evosink/evosink/core/event"
	"github.com/evosink/evosink/core/sink"
	"github.com/evosink/evosink/sinks/webhook"
)

// A receiver that tells deliveries apart, and an instance whose settings name it. In a program the core does all of this.
func Example() {
	seen := map[string]bool{}
	receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if key := r.Header.Get("Idempotency-Key"); seen[key] {
			return // 200: it was here before
		} else {
			seen[key] = true
		}
		body, _ := io.ReadAll(r.Body)
		var envelope struct{ Event, Instance string }
		if err := json.Unmarshal(body, &envelope); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest) // never tried again
			return
		}
		fmt.Println(r.URL.Path, envelope.Event, "of", envelope.Instance)
	}))
	defer receiver.Close()

	factory := sink.Use(webhook.Spec, func(c *webhook.Config) {
		c.RequestTimeout = 10 * time.Second
		c.Server.Host = "127.0.0.1" // listens on loopback only, so the receiver may be there too
	})
	s, err := factory.New(sink.Host{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer s.Close(context.Background())

	// What a client posts to /webhook/set/sales.
	settings, err := factory.Normalize(json.RawMessage(`{"enabled":true,"url":"`+receiver.URL+`/hook","byEvents":true,"events":["MESSAGES_UPSERT"]}`), nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	e := &event.Event{ID: event.NewID(), Name: "messages.upsert", Instance: "sales", Time: time.Now(), Data: json.RawMessage(`{}`)}
	for _, to := range s.(sink.Targeter).Targets(e, []sink.Scope{sink.Instance}, settings) {
		d := &sink.Delivery{Event: e, Scope: to.Scope, Target: to.Target, Settings: settings, Attempt: 1, Key: e.ID + "/" + string(to.Target)}
		fmt.Println(s.Deliver(context.Background(), d))
		fmt.Println(s.Deliver(context.Background(), d)) // after a crash, say
	}
	// Output:
	// /hook/messages-upsert messages.upsert of sales
	// <nil>
	// <nil>
}
