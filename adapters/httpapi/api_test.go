package httpapi_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"github.com/evosink/evosink/adapters/evolution"
	"github.com/evosink/evosink/adapters/httpapi"
	"github.com/evosink/evosink/adapters/memory"
	"github.com/evosink/evosink/core/event"
	"github.com/evosink/evosink/core/instances"
	"github.com/evosink/evosink/core/sink"
)

const (
	globalKey = "GLOBAL-KEY-0123456789"
	salesKey  = "SALES-TOKEN-0123456789"
	otherKey  = "OTHER-TOKEN-0123456789"
)

// hub records what is emitted, in place of the real one.
type hub struct {
	mu     sync.Mutex
	events []*event.Event
	err    error // returned instead of recording
	before func(...*event.Event)
}

func (h *hub) Emit(_ context.Context, events ...*event.Event) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.before != nil {
		h.before(events...)
	}
	if h.err != nil {
		return h.err
	}
	for _, e := range events {
		if err := e.Validate(); err != nil {
			return err
		}
		if e.ID == "" {
			e.ID = event.NewID()
		}
		h.events = append(h.events, e)
	}
	return nil
}

func (h *hub) names() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	var names []string
	for _, e := range h.events {
		names = append(names, e.Name)
	}
	return strings.Join(names, " ")
}

// switches configure a test sink.
type switches struct{ On, Global bool }

const plainSchema = `{"type":"object","required":["enabled"],"properties":{
	"enabled":{"type":"boolean"},"events":{"$ref":"#/$defs/events"}},
	"$defs":{"events":{"type":"array","items":{"type":"string"}}}}`

const hookSchema = `{"type":"object","required":["enabled","url"],"properties":{
	"enabled":{"type":"boolean"},"url":{"type":"string","minLength":1},"events":{"type":"array","items":{"type":"string"}}}}`

func use(name, schema string, c switches, normalize ...func(block, previous json.RawMessage) (json.RawMessage, error)) *sink.Factory {
	settings := &sink.Settings{Schema: json.RawMessage(schema)}
	if len(normalize) > 0 {
		settings.Normalize = normalize[0]
	}
	return sink.Use(sink.Spec[switches]{
		Name: name, Mode: sink.Queued, Settings: settings,
		Defaults: func() switches { return c },
		Enabled:  func(c *switches) bool { return c.On },
		Rule:     func(c *switches) sink.Rule { return sink.Rule{Global: c.Global, Exclusive: name == "sqs"} },
	})
}

// server is an API on a real registry, with the instances "sales" and "other".
type server struct {
	*httpapi.API
	hub      *hub
	registry *instances.Registry
	log      *strings.Builder
}

func newServer(t testing.TB, change ...func(*httpapi.Options)) *server {
	t.Helper()
	store, err := memory.New(memory.DefaultConfig())
	if err != nil {
		t.Fatal(err)
	}
	registry, err := instances.Open(t.Context(), store, instances.Sum(globalKey), instances.Sum(previousKey))
	if err != nil {
		t.Fatal(err)
	}
	for name, key := range map[string]string{"sales": salesKey, "other": otherKey} {
		if _, err := registry.Create(t.Context(), instances.Instance{Name: name}, key); err != nil {
			t.Fatal(err)
		}
	}
	s := &server{hub: &hub{}, registry: registry, log: &strings.Builder{}}
	o := httpapi.Options{
		Config: httpapi.Default(), Emitter: s.hub, Registry: registry, Version: "1.2.3",
		Logger:  zerolog.New(zerolog.SyncWriter(s.log)).Level(zerolog.WarnLevel),
		Metrics: prometheus.NewRegistry(),
		Ingest:  map[string]httpapi.Decoder{"evolution": evolution.DecodeAPI, "evolution-go": evolution.DecodeGo},
		Sinks: []*sink.Factory{
			use("websocket", plainSchema, switches{On: true}),
			use("webhook", hookSchema, switches{On: true}, keep),
			use("rabbitmq", plainSchema, switches{}),
			use("sqs", plainSchema, switches{On: true, Global: true}),
		},
	}
	for _, f := range change {
		f(&o)
	}
	if s.API, err = httpapi.New(o); err != nil {
		t.Fatal(err)
	}
	return s
}

// keep stores a block as it comes.
func keep(block, _ json.RawMessage) (json.RawMessage, error) { return block, nil }

// answer is a response with its body read.
type answer struct {
	*httptest.ResponseRecorder
	text string
}

// do sends a request with pairs of header name and value.
func (s *server) do(method, path, body string, header ...string) answer {
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	for i := 0; i < len(header); i += 2 {
		r.Header.Add(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return answer{w, w.Body.String()}
}

// admin sends a request with the global key.
func (s *server) admin(method, path, body string) answer {
	return s.do(method, path, body, "apikey", globalKey)
}

// is checks status and, unless it is empty, the whole body.
func (a answer) is(t testing.TB, status int, body string) {
	t.Helper()
	if a.Code != status || body != "" && a.text != body {
		t.Errorf("answered %d %s\n    want %d %s", a.Code, a.text, status, body)
	}
}

// says checks status and that the body contains each of parts.
func (a answer) says(t testing.TB, status int, parts ...string) {
	t.Helper()
	if a.Code != status {
		t.Errorf("answered %d %s, want %d", a.Code, a.text, status)
	}
	for _, part := range parts {
		if !strings.Contains(a.text, part) {
			t.Errorf("answered %d %s\n    which lacks %s", a.Code, a.text, part)
		}
	}
	if a.Code >= 400 {
		a.hasErrorShape(t)
	}
}

func (a answer) hasErrorShape(t testing.TB) {
	t.Helper()
	var e struct {
		Status   int
		Error    string
		Response struct{ Message any }
	}
	if err := json.Unmarshal([]byte(a.text), &e); err != nil || e.Status != a.Code || e.Error == "" || e.Response.Message == nil {
		t.Errorf("%s has not the shape of an error", a.text)
	}
	if got := a.Header().Get("Content-Type"); got != "application/json; charset=utf-8" {
		t.Errorf("Content-Type = %q", got)
	}
}

const unauthorized = `{"status":401,"error":"Unauthorized","response":{"message":"Unauthorized"}}`

func TestWithoutAKeyEveryRouteAnswersAlikeWhetherTheInstanceExistsOrNot(t *testing.T) {
	s := newServer(t)
	for _, name := range []string{"sales", "nobody"} {
		for _, route := range []string{
			"POST /events/", "DELETE /instance/delete/", "POST /instance/token/", "POST /websocket/set/", "GET /websocket/find/",
		} {
			method, path, _ := strings.Cut(route, " ")
			for _, header := range [][]string{
				nil, {"apikey", ""}, {"apikey", "wrong"}, {"apikey", otherKey}, {"Authorization", "Bearer wrong"},
				{"Authorization", "Basic " + globalKey}, {"Authorization", globalKey},
			} {
				s.do(method, path+name, "{", header...).is(t, 401, unauthorized)
			}
		}
	}
	s.do("POST", "/instance/create", `{"instanceName":"sales"}`).is(t, 401, unauthorized)
	s.do("POST", "/instance/create", `{"instanceName":"sales"}`, "apikey", salesKey).is(t, 401, unauthorized)
	s.do("GET", "/instance/fetchInstances", "").is(t, 401, unauthorized)
	s.do("POST", "/ingest/evolution", `{"event":"call","instance":"sales"}`).is(t, 401, unauthorized)
	if s.hub.names() != "" {
		t.Errorf("emitted %s", s.hub.names())
	}
}

func TestTheInstanceInThePathIsTheOnlyOneThatCounts(t *testing.T) {
	s := newServer(t)
	s.do("POST", "/websocket/set/sales?instanceName=other&instance=other", `{"websocket":{"enabled":true}}`, "apikey", salesKey).says(t, 201)
	if in, _ := s.registry.Get("other"); in.Settings != nil {
		t.Error("the query parameter overrode the path")
	}
	s.do("POST", "/websocket/set/other", `{"websocket":{"enabled":true}}`, "apikey", salesKey).is(t, 401, unauthorized)
}

func TestAKeyComesInEitherHeader(t *testing.T) {
	s := newServer(t)
	for _, header := range [][]string{
		{"apikey", globalKey}, {"APIKEY", salesKey}, {"Authorization", "Bearer " + globalKey}, {"authorization", "bearer " + salesKey},
		{"apikey", "wrong", "Authorization", "Bearer " + salesKey},
	} {
		s.do("GET", "/websocket/find/sales", "", header...).is(t, 200, "null")
	}
}

func TestAnUnknownInstanceIs404(t *testing.T) {
	s := newServer(t)
	want := `{"status":404,"error":"Not Found","response":{"message":["The \"nobody\" instance does not exist"]}}`
	s.admin("POST", "/websocket/set/nobody", `{"websocket":{"enabled":true}}`).is(t, 404, want)
	s.admin("GET", "/websocket/find/nobody", "").is(t, 404, want)
	s.admin("DELETE", "/instance/delete/nobody", "").is(t, 404, want)
	s.admin("POST", "/instance/token/nobody", "").is(t, 404, want)
}

func TestAnUnknownRouteIs404(t *testing.T) {
	s := newServer(t)
	s.admin("POST", "/x", "").is(t, 404, `{"status":404,"error":"Not Found","response":{"message":["Cannot POST /x"]}}`)
	for _, route := range []string{
		"GET /events/sales", "POST /events/", "POST /events", "POST /kafka/set/sales", "PUT /websocket/set/sales", "POST /websocket/set/a/b", "TRACE /",
	} {
		method, path, _ := strings.Cut(route, " ")
		s.admin(method, path, "{}").says(t, 404, "Cannot "+route)
	}
}

func TestATrailingSlashAndDoubledOnesDoNotMatter(t *testing.T) {
	s := newServer(t)
	s.admin("GET", "/websocket/find/sales/", "").is(t, 200, "null")
	s.admin("GET", "//websocket//find/sales", "").is(t, 200, "null")
	s.admin("POST", "//ingest/evolution//messages-upsert", `{"event":"messages.upsert","instance":"in%20x"}`).says(t, 201)
}

func TestMountedHandlersStandOutsideOfKeysAndCORS(t *testing.T) {
	s := newServer(t)
	s.Mount("/socket.io/", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) }))
	a := s.do("OPTIONS", "/socket.io/?EIO=4", "", "Origin", "https://app.example")
	if a.Code != http.StatusTeapot || len(a.Header()) != 0 {
		t.Errorf("answered %d with %v", a.Code, a.Header())
	}
}

func TestNewSaysWhatIsMissing(t *testing.T) {
	for want, change := range map[string]func(*httpapi.Options){
		"required":              func(o *httpapi.Options) { o.Emitter = nil },
		"server.port":           func(o *httpapi.Options) { o.Config.Server.Port = 70000 },
		"schema of sink broken": func(o *httpapi.Options) { o.Sinks = []*sink.Factory{use("broken", `{"type":7}`, switches{})} },
		"schema of sink outside": func(o *httpapi.Options) {
			o.Sinks = []*sink.Factory{use("outside", `{"$ref":"file:///etc/passwd"}`, switches{})}
		},
	} {
		o := httpapi.Options{Config: httpapi.Default(), Emitter: &hub{}, Registry: &instances.Registry{}}
		change(&o)
		if _, err := httpapi.New(o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("err = %v, want %q", err, want)
		}
	}
}
