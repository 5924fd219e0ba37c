package httpapi

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"github.com/evosink/evosink/core"
	"github.com/evosink/evosink/core/event"
	"github.com/evosink/evosink/core/instances"
	"github.com/evosink/evosink/core/queue"
	"github.com/evosink/evosink/core/sink"
	"github.com/evosink/evosink/core/sink/remote"
	"github.com/evosink/evosink/core/uses"
)

// An Emitter takes events; the hub is one. Emit checks all before it publishes any, fills in the ID and Time of
// those that lack them, and returns nil when all are durable. Its errors wrap [event.ErrInvalid],
// [instances.ErrUnknown], [bus.ErrTooLarge], [bus.ErrOverloaded], or say why the engine failed.
type Emitter interface {
	Emit(ctx context.Context, events ...*event.Event) error
}

// A Decoder reads the body of a webhook of another product. Its errors wrap [event.ErrInvalid]. An event without an
// instance has nowhere to go; it is dropped.
type Decoder func(body []byte) (*event.Event, error)

// Options are what an [API] is made of. Emitter and Registry are required.
type Options struct {
	Config   Config
	Emitter  Emitter
	Registry *instances.Registry
	Sinks    []*sink.Factory    // all of the build, also those that are switched off; those with settings get routes
	Ingest   map[string]Decoder // webhooks taken under /ingest/<name>, by package evolution for example
	Version  string
	Logger   zerolog.Logger

	// Ready returns nil when events are accepted and delivered, else why not, a line per reason, in words for
	// an operator and without secrets. nil is always ready.
	Ready func(context.Context) error
	// SinkHealth returns, by name, nil or why a sink could not deliver now. It is shown, and makes nothing unready. nil
	// shows nothing.
	SinkHealth func(context.Context) map[string]error
	// Settle returns when every sink has looked up what it needs to know of the events emitted so far for an instance and
	// live sinks have handed them out, or ctx ends. It is called before the instance is removed. nil does not wait.
	Settle func(ctx context.Context, instance string) error
	// Erase removes what is stored of an instance that was deleted, until ctx ends, see [core.Hub.Erase]. nil answers 409.
	Erase func(ctx context.Context, instance, id string) (core.Erased, error)

	// Queue is what the admin routes show and steer: the hub's. nil if it has none; they then answer 409.
	Queue *queue.Queue
	// Stats returns the hub's figures, for metrics and for GET /admin/sinks. nil shows none.
	Stats func() core.Stats
	// Nearest returns the known word closest to a mistyped one, or "". nil suggests nothing.
	Nearest func(word string, known []string) string
	// Metrics is what GET /metrics shows, see [NewMetrics]. The API adds the figures of hub and queue; others can
	// be registered too. nil means that there is no such route.
	Metrics *prometheus.Registry
}

// An API is the handler of all routes. Any number of goroutines may use it at once.
type API struct {
	opts      Options
	mux       *http.ServeMux
	sinks     []*settings
	create    *schema
	changes   zerolog.Logger // of the component "audit"
	replays   replays
	bodies    *budget
	proxies   remote.Networks
	wrongKeys *wrongKeys
	keyless   chan struct{} // a place for each webhook of a sender without a key that is decoded
	draining  chan struct{} // closed by Drain
	drain     sync.Once
	inflight  uses.Counter // requests, and jobs that they have begun
	rates     *rates
}

// maxKeyless bounds the webhooks of senders without a key that are decoded at once. Others wait; their bodies are in
// memory, and counted, already.
const maxKeyless = 8

// New makes an API. It starts nothing.
func New(o Options) (*API, error) {
	if o.Emitter == nil || o.Registry == nil {
		return nil, errors.New("httpapi: Options.Emitter and Options.Registry are required")
	}
	if err := o.Config.Validate(); err != nil {
		return nil, err
	}
	proxies, _ := remote.ParseNetworks(o.Config.Server.TrustedProxies) // checked by Validate
	a := &API{
		opts: o, mux: http.NewServeMux(), bodies: newBudget(o.Config), proxies: proxies, wrongKeys: newWrongKeys(o.Logger),
		rates: newRates(o.Config.Events), keyless: make(chan struct{}, maxKeyless), draining: make(chan struct{}), changes: o.Logger.With().Str("component", "audit").Logger(),
	}
	if err := errors.Join(a.compile(), a.register()); err != nil {
		return nil, err
	}
	for _, r := range a.routes() {
		a.mux.Handle(r.method+" "+r.path, a.serve(r.handle))
		if !strings.HasSuffix(r.path, "$}") && !strings.HasSuffix(r.path, "...}") {
			a.mux.Handle(r.method+" "+r.path+"/{$}", a.serve(r.handle)) // as express does
		}
	}
	a.mux.Handle("/", a.serve(a.notFound))
	return a, nil
}

// compile makes the settings of every sink that has any, and the schema of POST /instance/create.
func (a *API) compile() error {
	for _, f := range a.opts.Sinks {
		if f.Settings == nil {
			continue
		}
		s, err := newSettings(f)
		if err != nil {
			return fmt.Errorf("schema of sink %s: %w", f.Name, err)
		}
		a.sinks = append(a.sinks, s)
	}
	var err error
	if a.create, err = createSchema(a.sinks); err != nil {
		return fmt.Errorf("schema of instances: %w", err)
	}
	return nil
}

type route struct {
	method, path string
	handle       handler
}

func (a *API) routes() []route {
	routes := []route{
		{"POST", "/events/{instance}", a.postEvents},
		{"POST", "/instance/create", a.createInstance},
		{"DELETE", "/instance/delete/{instance}", a.deleteInstance},
		{"GET", "/instance/fetchInstances", a.fetchInstances},
		{"POST", "/instance/token/{instance}", a.newToken},
		{"GET", "/healthz", a.healthz},
		{"GET", "/readyz", a.readyz},
		{"GET", "/openapi.yaml", a.openAPI},
		{"GET", "/{$}", a.welcome},
	}
	routes = append(append(routes, a.adminRoutes()...), a.metricsRoutes()...)
	for name, decode := range a.opts.Ingest {
		routes = append(routes,
			route{"POST", "/ingest/" + name, a.ingest(decode)},
			route{"POST", "/ingest/" + name + "/{suffix...}", a.ingest(decode)},
		)
	}
	for _, s := range a.sinks {
		routes = append(routes,
			route{"POST", "/" + s.Name + "/set/{instance}", a.set(s)},
			route{"GET", "/" + s.Name + "/find/{instance}", a.find(s)},
		)
	}
	return routes
}

// Mount serves h under a pattern of [http.ServeMux], beside the routes: without their keys, their CORS headers and
// their log. Call it before serving. It panics, as ServeMux does, when the pattern is malformed or taken.
func (a *API) Mount(pattern string, h http.Handler) { a.mux.Handle(pattern, h) }

// Drain makes /readyz answer 503 from now on, so that no new work is sent here, ends replays of dead letters after
// their present step, and waits until no request to one of the routes is under way, or ctx ends. What is mounted beside
// them is not waited for. Stop the listener first.
func (a *API) Drain(ctx context.Context) error {
	a.drain.Do(func() { close(a.draining) })
	if err := a.inflight.Wait(ctx); err != nil {
		return fmt.Errorf("requests are still under way: %w", err)
	}
	return nil
}

// ServeHTTP implements [http.Handler].
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.mux.ServeHTTP(w, withoutDoubleSlashes(r))
}

// withoutDoubleSlashes spares webhooks with a URL that ends in a slash ("https://x/ingest/evolution/" +
// "/messages-upsert") a redirect: many senders turn the POST into a GET on the way.
func withoutDoubleSlashes(r *http.Request) *http.Request {
	if !strings.Contains(r.URL.Path, "//") {
		return r
	}
	clone := *r
	u := *r.URL
	u.Path, u.RawPath = squeeze(u.Path), squeeze(u.RawPath)
	clone.URL = &u
	return &clone
}

func squeeze(path string) string {
	for strings.Contains(path, "//") {
		path = strings.ReplaceAll(path, "//", "/")
	}
	return path
}
