package webhook_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/evosink/evosink/adapters/memory"
	"github.com/evosink/evosink/core"
	"github.com/evosink/evosink/core/event"
	"github.com/evosink/evosink/core/instances"
	"github.com/evosink/evosink/core/sink"
	"github.com/evosink/evosink/sinks/webhook"
)

// A whole hub delivers to a server that answers nothing on some paths until everything on the others has arrived: if what does not
// answer held up what does, the test would wait in vain.
func TestWebhooksThatDoNotAnswerHoldUpNoOthers(t *testing.T) {
	const tenants, events = 20, 5
	release, served := make(chan struct{}), make(chan struct{})
	var arrived atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/silent") {
			<-release
			return
		}
		if arrived.Add(1) == tenants*events {
			close(served)
		}
	}))
	defer server.Close()

	engine, err := memory.New(memory.DefaultConfig())
	if err != nil {
		t.Fatal(err)
	}
	registry, err := instances.Open(t.Context(), engine, "")
	if err != nil {
		t.Fatal(err)
	}
	hub, err := core.New(core.Options{
		Bus: engine.Bus(), Instances: registry, Queue: engine.Queue(), Logger: zerolog.Nop(),
		Sinks: []*sink.Factory{sink.Use(webhook.Spec, func(c *webhook.Config) { c.Guard.DenyPrivate = webhook.Off })},
	})
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = hub.Run(context.Background())
	}()
	<-hub.Started()
	defer func() {
		close(release)
		_ = hub.Close(context.Background())
		<-ended
	}()

	subscribe := func(instance string, paths ...string) {
		var hooks []string
		for i, path := range paths {
			hooks = append(hooks, fmt.Sprintf(`{"name":"h%d","enabled":true,"url":"%s/%s"}`, i, server.URL, path))
		}
		if _, err := registry.Create(t.Context(), instances.Instance{Name: instance}, ""); err != nil {
			t.Fatal(err)
		}
		settings := `{"enabled":true,"events":["ALL"],"webhooks":[` + strings.Join(hooks, ",") + `]}`
		if _, err := registry.Set(t.Context(), instance, webhook.Spec.Name, []byte(settings)); err != nil {
			t.Fatal(err)
		}
	}
	emit := func(instance string) {
		if err := hub.Emit(t.Context(), &event.Event{Name: "messages.upsert", Instance: instance, Data: json.RawMessage(`{}`)}); err != nil {
			t.Fatal(err)
		}
	}
	silent := make([]string, 33)
	for i := range silent {
		silent[i] = fmt.Sprint("silent", i)
	}
	subscribe("hog", silent...)
	emit("hog")
	for i := range tenants {
		subscribe(fmt.Sprint("tenant", i), "silent", "healthy")
	}
	for range events {
		for i := range tenants {
			emit(fmt.Sprint("tenant", i))
		}
	}
	select {
	case <-served:
	case <-time.After(20 * time.Second): // shorter than the 30 s after which a silent one fails
		t.Errorf("%d of %d events arrived while other webhooks did not answer", arrived.Load(), tenants*events)
	}
}
