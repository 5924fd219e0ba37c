package httpapi

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/rs/zerolog"
)

// Metrics is the section of GET /metrics.
type Metrics struct {
	Open bool `koanf:"open" env:"METRICS_OPEN" help:"Whether GET /metrics answers without the global key. Its figures name sinks, never instances or targets."`
}

// NewMetrics returns a registry for [Options].Metrics that shows the process: memory, goroutines, files, the time of its start.
func NewMetrics() *prometheus.Registry {
	r := prometheus.NewRegistry()
	r.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{})) // a new registry has room for both
	return r
}

// register adds the figures of hub and queue to the registry that the API was given.
func (a *API) register() error {
	if a.opts.Metrics == nil {
		return nil
	}
	if err := a.opts.Metrics.Register(&collector{a}); err != nil {
		return fmt.Errorf("httpapi: Options.Metrics: %w", err)
	}
	return nil
}

// metricsRoutes are GET /metrics, if there is a registry.
func (a *API) metricsRoutes() []route {
	if a.opts.Metrics == nil {
		return nil
	}
	h := promhttp.HandlerFor(a.opts.Metrics, promhttp.HandlerOpts{
		ErrorLog: metricsLog{a.opts.Logger}, ErrorHandling: promhttp.ContinueOnError, // one bad figure hides no others
	})
	show := func(w http.ResponseWriter, r *http.Request) error {
		h.ServeHTTP(w, r)
		return nil
	}
	if !a.opts.Config.Metrics.Open {
		show = a.admin(show)
	}
	return []route{{"GET", "/metrics", show}}
}

// metricsLog takes what promhttp cannot show.
type metricsLog struct{ zerolog.Logger }

// Println implements promhttp.Logger.
func (l metricsLog) Println(v ...any) {
	l.Warn().Err(errors.New(fmt.Sprint(v...))).Msg("a figure cannot be shown in /metrics")
}
