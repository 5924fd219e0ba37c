package webhook_test

import (
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/evosink/evosink/core/queue"
	"github.com/evosink/evosink/core/sink"
	"github.com/evosink/evosink/sinks/e2e/hubtest"
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

	subscribe, emit, _ := tenantsOf(t, server)
	defer close(release)
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

// A server that several instances share is down for a while. The attempt that probes it then is one that it does not
// answer: that it took the connection must do for the others.
func TestAProbeThatIsNotAnsweredHoldsUpNoOthers(t *testing.T) {
	release, served := make(chan struct{}), make(chan struct{})
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/silent") {
			<-release
			return
		}
		close(served)
	}))
	down := &refusing{Listener: server.Listener}
	down.refuses.Store(true)
	server.Listener = down
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	defer server.Close()

	subscribe, emit, hub := tenantsOf(t, server)
	defer close(release)
	subscribe("hog", "silent")
	subscribe("tenant", "healthy")
	until := func(reached func(queue.Stats) bool) {
		for end := time.Now().Add(20 * time.Second); !reached(hub.Queue().Stats()[0]); time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("the queue stays at %+v", hub.Queue().Stats()[0])
			}
		}
	}
	emit("hog")
	until(func(s queue.Stats) bool { return s.Failed > 0 && s.Open > 0 })
	emit("tenant") // behind the hog
	until(func(s queue.Stats) bool { return s.Put == 2 })
	down.refuses.Store(false)
	select {
	case <-served:
	case <-time.After(20 * time.Second): // shorter than the 30 s after which the probe fails
		t.Error("the event of an instance waits for the answer to another's")
	}
}

// A refusing listener closes connections before TLS, so that none comes about.
type refusing struct {
	net.Listener
	refuses atomic.Bool
}

func (l *refusing) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err == nil && l.refuses.Load() {
		_ = c.Close()
	}
	return c, err
}

// tenantsOf runs a hub until the test ends. subscribe makes an instance with a webhook for each path of the server, and
// emit sends an event of it.
func tenantsOf(
	t *testing.T, server *httptest.Server,
) (subscribe func(instance string, paths ...string), emit func(instance string), _ *hubtest.Hub) {
	t.Helper()
	hub := hubtest.Run(t, sink.Use(webhook.Spec, func(c *webhook.Config) {
		c.Guard.DenyPrivate, c.TLS.Insecure = webhook.Off, true
	}))
	subscribe = func(instance string, paths ...string) {
		var hooks []string
		for i, path := range paths {
			hooks = append(hooks, fmt.Sprintf(`{"name":"h%d","enabled":true,"url":"%s/%s"}`, i, server.URL, path))
		}
		hub.Create(instance, webhook.Spec.Name)
		settings := `{"enabled":true,"events":["ALL"],"webhooks":[` + strings.Join(hooks, ",") + `]}`
		if _, err := hub.Registry.Set(t.Context(), instance, webhook.Spec.Name, []byte(settings)); err != nil {
			t.Fatal(err)
		}
	}
	return subscribe, func(instance string) { hub.Emit(instance, "messages.upsert", "") }, hub
}
