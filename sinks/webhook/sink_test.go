package webhook_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"go.uber.org/goleak"

	"github.com/evosink/evosink/core/event"
	"github.com/evosink/evosink/core/sink"
	"github.com/evosink/evosink/core/sink/sinktest"
	"github.com/evosink/evosink/sinks/webhook"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestContract(t *testing.T) {
	r := newReceiver(t, nil)
	sinktest.Run(t, sinktest.Subject{
		New: func(t *testing.T, h sink.Host) sink.Sink {
			c := webhook.Defaults()
			c.Server.Host = "127.0.0.1"
			s, err := webhook.Spec.New(c, h)
			if err != nil {
				t.Fatal(err)
			}
			return s
		},
		Listen: func(*testing.T, sink.Sink) func() []string {
			r.forget()
			return r.ids
		},
		Scope: sink.Instance, Target: "instance", Settings: settingsFor(r.URL, ""),
	})
}

// receiver is a server that keeps what it receives.
type receiver struct {
	*httptest.Server
	mu   sync.Mutex
	seen []received
}

type received struct {
	*http.Request
	body string
}

// newReceiver answers with answer after it has kept the request, or with 200 when answer is nil.
func newReceiver(t testing.TB, answer http.HandlerFunc) *receiver {
	r := unstarted(answer)
	r.Start()
	t.Cleanup(r.Close)
	return r
}

func unstarted(answer http.HandlerFunc) *receiver {
	r := &receiver{}
	r.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, err := io.ReadAll(req.Body)
		if err != nil {
			return
		}
		r.mu.Lock()
		r.seen = append(r.seen, received{req, string(body)})
		r.mu.Unlock()
		if answer != nil {
			answer(w, req)
		}
	}))
	return r
}

func (r *receiver) requests() []received {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]received(nil), r.seen...)
}

func (r *receiver) ids() (ids []string) {
	for _, req := range r.requests() {
		ids = append(ids, req.Header.Get("X-Event-Id"))
	}
	return ids
}

func (r *receiver) forget() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.seen = nil
}

// settingsFor are stored settings of the single form; more is further JSON members, ",\"gzip\":true".
func settingsFor(url, more string) json.RawMessage {
	return json.RawMessage(fmt.Sprintf(`{"url":%q,"enabled":true,"events":[]%s}`, url, more))
}

// at is the time at which tests stand.
var at = time.Date(2025, 10, 21, 14, 0, 39, 512e6, time.UTC)

func message(id string) *event.Event {
	return &event.Event{
		ID: id, Name: "messages.upsert", Instance: "sales", InstanceID: "0191bb", Time: at,
		Sender: "5511999990000@s.whatsapp.net", ServerURL: "https://api.example", APIKey: "TOKEN",
		Data: json.RawMessage(`{"key":{"remoteJid":"5511988887777@s.whatsapp.net","fromMe":false},"message":{"conversation":"Oi <ü>","base64":"AAAA"}}`),
	}
}

func delivery(target sink.Target, settings json.RawMessage) *sink.Delivery {
	scope := sink.Instance
	if target == "global" || target == "errors" {
		scope = sink.Global
	}
	return &sink.Delivery{
		Event: message("0192aa"), Scope: scope, Target: target, Settings: settings, Attempt: 1, Key: "0192aa/0191bb/" + string(target),
	}
}

// open makes and starts a sink that the test closes.
func open(t testing.TB, configure ...func(*webhook.Config)) *webhook.Sink {
	t.Helper()
	return openIn(t, sink.Host{Logger: zerolog.Nop()}, configure...)
}

// openIn is open with a host.
func openIn(t testing.TB, h sink.Host, configure ...func(*webhook.Config)) *webhook.Sink {
	t.Helper()
	c := webhook.Defaults()
	c.UserAgent, c.Server.Host = "evosink/test", "127.0.0.1"
	for _, f := range configure {
		f(&c)
	}
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
	s, err := webhook.New(c, h)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start(context.Background()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	s.SetClock(at)
	return s
}

// wantText fails unless err says all parts.
func wantText(t *testing.T, err error, parts ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error, want one that says %q", parts)
	}
	for _, p := range parts {
		if !strings.Contains(err.Error(), p) {
			t.Errorf("error %q does not say %q", err, p)
		}
	}
}

func TestSettingsChangesApplyToWhatWaits(t *testing.T) {
	old, moved := newReceiver(t, nil), newReceiver(t, nil)
	s := open(t)
	if err := s.Deliver(t.Context(), delivery("instance", settingsFor(old.URL, ""))); err != nil {
		t.Fatal(err)
	}
	if err := s.Deliver(t.Context(), delivery("instance", settingsFor(moved.URL, ""))); err != nil {
		t.Fatal(err)
	}
	if len(old.requests()) != 1 || len(moved.requests()) != 1 {
		t.Errorf("%d and %d requests, want one each", len(old.requests()), len(moved.requests()))
	}
}

func TestWhatWaitsForAWebhookThatIsOffIsKept(t *testing.T) {
	s := open(t)
	for name, d := range map[string]*sink.Delivery{
		"all of an instance": delivery("instance", json.RawMessage(`{"url":"http://127.0.0.1:1","enabled":false,"events":[]}`)),
		"one of the list":    delivery("list/a", json.RawMessage(`{"enabled":true,"events":[],"webhooks":[{"name":"a","url":"http://127.0.0.1:1","enabled":false}]}`)),
		"the global one":     delivery("global", nil),
		"the error one":      delivery("errors", nil),
	} {
		err := s.Deliver(t.Context(), d)
		wantText(t, err, "switched off")
		if !sink.IsUnavailable(err) {
			t.Errorf("%s: %v does not keep the delivery", name, err)
		}
	}
}

func TestWhatWaitsForAWebhookThatIsGoneBecomesADeadLetter(t *testing.T) {
	s := open(t)
	for settings, says := range map[string]string{
		``: "webhook list/a is not configured any more",
		`{"enabled":true,"events":[],"webhooks":[{"name":"b","url":"http://127.0.0.1:1","enabled":true}]}`:      "not configured any more",
		`{"enabled":true,"events":[],"webhooks":[{"name":"a","url":"ftp://u:hunter2@h","enabled":true}]}`:       "url must begin with http",
		`{"enabled":true,"events":[],"webhooks":[{"name":"a","url":"http://h","secrets":["whsec_hunter2!!"]}]}`: "secrets[0] begins with whsec_",
		`{"enabled":true,"events":[],"webhooks":7}`:                                                             "webhooks must not be number",
		`{`: "read stored settings",
	} {
		err := s.Deliver(t.Context(), delivery("list/a", json.RawMessage(settings)))
		wantText(t, err, says)
		if !sink.IsPermanent(err) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", settings, err)
		}
	}
}

func TestCloseEndsWhatDoesNotEndByItself(t *testing.T) {
	arrived := make(chan struct{})
	r := newReceiver(t, func(_ http.ResponseWriter, req *http.Request) {
		close(arrived)
		<-req.Context().Done()
	})
	s := open(t)
	result := make(chan error, 1)
	go func() { result <- s.Deliver(context.Background(), delivery("instance", settingsFor(r.URL, ""))) }()
	<-arrived
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Close(ctx); err != nil {
		t.Fatal(err)
	}
	if err := <-result; !errors.Is(err, context.Canceled) || sink.IsUnavailable(err) || sink.IsPermanent(err) {
		t.Errorf("the delivery under way ended with %v, want a plain cancellation", err)
	}
	wantText(t, s.Deliver(t.Context(), delivery("instance", settingsFor(r.URL, ""))), "the sink is closed")
}

func TestCloseLetsWhatIsUnderWayEnd(t *testing.T) {
	arrived, answer := make(chan struct{}), make(chan struct{})
	r := newReceiver(t, func(http.ResponseWriter, *http.Request) {
		close(arrived)
		<-answer
	})
	s := open(t)
	result := make(chan error, 1)
	go func() { result <- s.Deliver(context.Background(), delivery("instance", settingsFor(r.URL, ""))) }()
	<-arrived
	closed := make(chan error, 1)
	go func() { closed <- s.Close(context.Background()) }()
	close(answer)
	if err := <-result; err != nil {
		t.Errorf("the delivery under way failed: %v", err)
	}
	if err := <-closed; err != nil {
		t.Error(err)
	}
}

func TestTheEndOfStartsContextEndsDeliveries(t *testing.T) {
	s := open(t)
	ctx, cancel := context.WithCancel(context.Background())
	if err := s.Start(ctx); err != nil {
		t.Fatal(err)
	}
	arrived := make(chan struct{})
	r := newReceiver(t, func(_ http.ResponseWriter, req *http.Request) {
		close(arrived)
		<-req.Context().Done()
	})
	result := make(chan error, 1)
	go func() { result <- s.Deliver(context.Background(), delivery("instance", settingsFor(r.URL, ""))) }()
	<-arrived
	cancel()
	if err := <-result; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}
