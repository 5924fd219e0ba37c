package httpapi

import (
	"context"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/evosink/evosink/core"
	"github.com/evosink/evosink/core/queue"
	"github.com/evosink/evosink/core/sink"
)

// A collector turns a snapshot of hub and queue into metrics, each time it is asked. It counts nothing itself.
type collector struct{ api *API }

// What is said of every sink; the label is its name.
var (
	buildInfo = prometheus.NewDesc("evosink_build_info", "The version that runs; the value is always 1.", []string{"version"}, nil)
	emitted   = prometheus.NewDesc("evosink_events_emitted_total", "Events that the engine has taken for good.", nil, nil)

	up        = ofSink("up", "1 while deliveries could go out, 0 while they could not.")
	delivered = ofSink("delivered_total", "Deliveries that succeeded.")
	failed    = ofSink("failed_total", "Attempts that failed.")
	retried   = ofSink("retried_total", "Failed attempts that are followed by another.")
	dead      = ofSink("dead_total", "Deliveries that became dead letters.")
	dropped   = ofSink("dropped_total", "Deliveries that were dropped to make room.")
	queued    = ofSink("queued_total", "Deliveries that were put into the queue.")
	absorbed  = ofSink("absorbed_total", "Deliveries that were in the queue before, and not put again.")
	panics    = ofSink("panics_total", "Panics of the sink.")
	restarts  = ofSink("restarts_total", "Restarts of the sink after a panic.")
	waiting   = ofSink("waiting", "Deliveries that wait.")
	oldest    = ofSink("oldest_age_seconds", "How long the oldest delivery that waits has waited.")
	lined     = ofSink("lanes", "Lanes in which deliveries wait.")
	parked    = ofSink("lanes_parked", "Lanes that wait for a pause to end, for settings, or for their sink.")
	tripped   = ofSink("breakers_open", "Addresses whose circuit breaker is not closed.")
	running   = ofSink("attempts_running", "Attempts that run now.")
)

func ofSink(name, help string) *prometheus.Desc {
	return prometheus.NewDesc("evosink_sink_"+name, help, []string{"sink"}, nil)
}

// Describe sends nothing: which figures there are depends on the sinks.
func (c *collector) Describe(chan<- *prometheus.Desc) {}

// Collect implements [prometheus.Collector].
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), readyTimeout)
	defer cancel()
	now, out := c.api.look(ctx), figures(ch)
	out.gauge(buildInfo, 1, c.api.opts.Version)
	out.counter(emitted, float64(now.hub.Emitted))
	for name, err := range now.health {
		out.gauge(up, truth(err == nil), name)
	}
	live := map[string]bool{}
	for _, f := range c.api.opts.Sinks {
		live[f.Name] = f.Mode == sink.Live
	}
	for _, s := range now.hub.Sinks {
		out.hub(s, live[s.Name])
	}
	for _, s := range now.queues {
		out.queue(s)
	}
	out.measures("engine", now.hub.Engine)
}

// figures is where metrics go.
type figures chan<- prometheus.Metric

// hub tells of a sink what the hub knows: how deliveries went if the queue does not count them, and what the sink says itself.
func (f figures) hub(s core.SinkStats, live bool) {
	if live {
		f.counter(delivered, float64(s.Delivered), s.Name)
		f.counter(failed, float64(s.Failed), s.Name)
	}
	f.measures(s.Name, s.Measures)
}

// queue tells of a sink what the queue knows.
func (f figures) queue(s queue.Stats) {
	f.counter(delivered, float64(s.Delivered), s.Sink)
	f.counter(failed, float64(s.Failed), s.Sink)
	f.counter(retried, float64(s.Retried), s.Sink)
	f.counter(dead, float64(s.DeadLettered+s.Refused), s.Sink)
	f.counter(dropped, float64(s.Dropped), s.Sink)
	f.counter(queued, float64(s.Put), s.Sink)
	f.counter(absorbed, float64(s.Deduplicated), s.Sink)
	f.counter(panics, float64(s.Panics), s.Sink)
	f.counter(restarts, float64(s.Restarts), s.Sink)
	f.gauge(waiting, float64(s.Waiting), s.Sink)
	f.gauge(oldest, s.Lag.Seconds(), s.Sink)
	f.gauge(lined, float64(s.Lanes), s.Sink)
	f.gauge(parked, float64(s.Parked), s.Sink)
	f.gauge(tripped, float64(s.Open), s.Sink)
	f.gauge(running, float64(s.Busy), s.Sink)
}

// measures tells what a sink or the engine says of itself, under its own name.
func (f figures) measures(owner string, all []sink.Measure) {
	for _, m := range all {
		var labels, values []string
		if m.Label != "" {
			labels, values = []string{m.Label}, []string{m.LabelValue}
		}
		desc := prometheus.NewDesc("evosink_"+plain(owner)+"_"+m.Name, m.Help, labels, nil)
		switch m.Kind {
		case sink.Histogram:
			f.send(prometheus.NewConstHistogram(desc, m.Count, m.Value, m.Buckets, values...))
		case sink.Counter:
			f.counter(desc, m.Value, values...)
		default:
			f.gauge(desc, m.Value, values...)
		}
	}
}

func (f figures) counter(d *prometheus.Desc, v float64, labels ...string) {
	f.send(prometheus.NewConstMetric(d, prometheus.CounterValue, v, labels...))
}

func (f figures) gauge(d *prometheus.Desc, v float64, labels ...string) {
	f.send(prometheus.NewConstMetric(d, prometheus.GaugeValue, v, labels...))
}

// send leaves out what is no metric: a figure of a plugin with a malformed name must not hide the others.
func (f figures) send(m prometheus.Metric, err error) {
	if err == nil {
		f <- m
	}
}

// plain makes a sink's name part of a metric's.
func plain(name string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			return r
		}
		return '_'
	}, name)
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
