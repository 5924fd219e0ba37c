package httpapi_test

import (
	"regexp"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"github.com/evosink/evosink/adapters/httpapi"
	"github.com/evosink/evosink/core"
)

func TestMetricsTellWhatHubQueueAndSinksCount(t *testing.T) {
	r := newRig(t)
	r.bury(t, 2)
	r.emit(t, "sales", "well-1", "busy-1", "busy-2")
	r.stands(t, "sales", "waiting")
	eventually(t, "two to wait", func() bool { return r.line("sales").Waiting == 2 })
	eventually(t, "the live sink to have all", func() bool { return r.Hub.Stats().Sinks[1].Delivered == 5 })
	eventually(t, "application.startup", func() bool { return r.Hub.Stats().Emitted == 6 })
	a := r.do("GET", "/metrics", "", "Authorization", "Bearer "+globalKey)
	for _, line := range []string{
		`evosink_build_info{version="1.2.3"} 1`,
		`evosink_events_emitted_total 6`,
		`evosink_sink_up{sink="hook"} 0`, `evosink_sink_up{sink="live"} 1`,
		`evosink_sink_queued_total{sink="hook"} 5`, `evosink_sink_delivered_total{sink="hook"} 1`, `evosink_sink_delivered_total{sink="live"} 5`,
		`evosink_sink_failed_total{sink="hook"} 3`, `evosink_sink_retried_total{sink="hook"} 1`, `evosink_sink_dead_total{sink="hook"} 2`,
		`evosink_sink_waiting{sink="hook"} 2`, `evosink_sink_lanes{sink="hook"} 1`, `evosink_sink_breakers_open{sink="hook"} 1`,
		`evosink_hook_receivers 3`, `evosink_hook_answers_total{class="2xx"} 7`, `evosink_hook_answer_seconds_bucket{le="1"} 1`,
		`evosink_hook_answer_seconds_sum 1.5`, `evosink_hook_answer_seconds_count 2`,
	} {
		if !strings.Contains(a.text, line+"\n") {
			t.Errorf("%s is missing", line)
		}
	}
	age := regexp.MustCompile(`evosink_sink_oldest_age_seconds\{sink="hook"\} [0.]*[1-9]`)
	if a.Code != 200 || !age.MatchString(a.text) || strings.Contains(a.text, "sales") || strings.Contains(a.text, "bro") {
		t.Errorf("answered %d %s", a.Code, a.text)
	}
}

func TestMetricsHaveTheNamesThatPrometheusAsksFor(t *testing.T) {
	registry := prometheus.NewRegistry()
	newRig(t, func(_ *core.Options, o *httpapi.Options) { o.Metrics = registry })
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	problems, err := promlint.NewWithMetricFamilies(families).Lint()
	if err != nil || len(problems) > 0 {
		t.Errorf("%v, %v", problems, err)
	}
}

func TestMetricsAreOpenOnlyBySwitch(t *testing.T) {
	s := newServer(t, func(o *httpapi.Options) { o.Config.Metrics.Open = true })
	s.do("GET", "/metrics", "").says(t, 200, "evosink_build_info")
	newServer(t, func(o *httpapi.Options) { o.Metrics = httpapi.NewMetrics() }).admin("GET", "/metrics", "").says(t, 200, "go_goroutines ", "evosink_build_info")
	newServer(t, func(o *httpapi.Options) { o.Metrics = nil }).admin("GET", "/metrics", "").says(t, 404, "Cannot GET /metrics")
}
