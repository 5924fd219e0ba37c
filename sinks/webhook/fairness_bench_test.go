package webhook_test

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/evosink/evosink/adapters/sqlite"
	"github.com/evosink/evosink/core"
	"github.com/evosink/evosink/core/event"
	"github.com/evosink/evosink/core/instances"
	"github.com/evosink/evosink/core/sink"
	"github.com/evosink/evosink/sinks/webhook"
)

// BenchmarkBesideSilentTargets measures from Emit to the arrival at the healthy webhook of each of 20 instances: first
// alone, then while a silent webhook stands beside each of them and one more instance has 32 silent ones, as many as it
// may, and an event a second. The metrics are of the instance that fares worst; x-p99 says how many times the p99
// without silent targets that is.
func BenchmarkBesideSilentTargets(b *testing.B) {
	const tenants, perSecond, warm = 20, 20, 20
	release := make(chan struct{})
	type arrival struct {
		instance string
		n        int
		at       time.Time
	}
	arrivals := make(chan arrival, 1<<16)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/silent") {
			<-release
			return
		}
		body, _ := io.ReadAll(r.Body)
		var e struct {
			Instance string
			Data     int
		}
		if err := json.Unmarshal(body, &e); err != nil {
			b.Error(err)
		}
		arrivals <- arrival{e.Instance, e.Data, time.Now()}
	}))
	defer server.Close()

	c := sqlite.DefaultConfig()
	c.Path = filepath.Join(b.TempDir(), "evosink.db")
	store, err := sqlite.Open(b.Context(), c, zerolog.Nop())
	if err != nil {
		b.Fatal(err)
	}
	defer store.Close(context.Background())
	registry, err := instances.Open(b.Context(), store, "")
	if err != nil {
		b.Fatal(err)
	}
	hub, err := core.New(core.Options{
		Bus: store, Instances: registry, Queue: store.Queue(), Logger: zerolog.Nop(),
		Sinks: []*sink.Factory{sink.Use(webhook.Spec, func(c *webhook.Config) { c.Guard.DenyPrivate = webhook.Off })},
	})
	if err != nil {
		b.Fatal(err)
	}
	var running sync.WaitGroup
	running.Go(func() { _ = hub.Run(context.Background()) })
	<-hub.Started()
	defer func() {
		close(release)
		_ = hub.Close(context.Background())
		running.Wait()
	}()

	subscribe := func(instance string, paths ...string) {
		var hooks []string
		for i, path := range paths {
			hooks = append(hooks, fmt.Sprintf(`{"name":"h%d","enabled":true,"url":"%s/%s"}`, i, server.URL, path))
		}
		settings := `{"enabled":true,"events":["ALL"],"webhooks":[` + strings.Join(hooks, ",") + `]}`
		if _, err := registry.Set(b.Context(), instance, webhook.Spec.Name, []byte(settings)); err != nil {
			b.Fatal(err)
		}
	}
	names := []string{"hog"}
	for i := range tenants {
		names = append(names, fmt.Sprint("tenant", i))
	}
	for _, name := range names {
		if _, err := registry.Create(b.Context(), instances.Instance{Name: name}, ""); err != nil {
			b.Fatal(err)
		}
	}
	// measure emits n events for each instance, at a steady rate, and returns the p99 of the instance that fares worst.
	measure := func(n int) (p50, p99 time.Duration) {
		sent := map[string][]time.Time{}
		took := map[string][]time.Duration{}
		tick := time.NewTicker(time.Second / (perSecond * time.Duration(len(names))))
		defer tick.Stop()
		for i := range n {
			for _, name := range names {
				<-tick.C
				if name == "hog" && i%perSecond > 0 {
					continue
				}
				sent[name] = append(sent[name], time.Now())
				e := &event.Event{Name: "messages.upsert", Instance: name, Data: json.RawMessage(fmt.Sprint(i))}
				if err := hub.Emit(b.Context(), e); err != nil {
					b.Fatal(err)
				}
			}
		}
		for range n * tenants {
			select {
			case a := <-arrivals:
				took[a.instance] = append(took[a.instance], a.at.Sub(sent[a.instance][a.n]))
			case <-time.After(time.Minute):
				b.Fatal("events for healthy targets do not arrive")
			}
		}
		for _, times := range took {
			slices.SortFunc(times, cmp.Compare)
			p50, p99 = max(p50, times[len(times)/2]), max(p99, times[len(times)*99/100])
		}
		return p50, p99
	}

	for _, name := range names[1:] {
		subscribe(name, "healthy")
	}
	measure(warm)
	n := max(b.N, 100)
	p50, p99 := measure(n)
	silent := make([]string, 32)
	for i := range silent {
		silent[i] = fmt.Sprint("silent", i)
	}
	subscribe("hog", silent...)
	for _, name := range names[1:] {
		subscribe(name, "silent", "healthy")
	}
	measure(warm)
	b.ResetTimer()
	p50beside, p99beside := measure(n)
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(p50.Seconds()*1000, "alone-p50-ms")
	b.ReportMetric(p99.Seconds()*1000, "alone-p99-ms")
	b.ReportMetric(p50beside.Seconds()*1000, "beside-p50-ms")
	b.ReportMetric(p99beside.Seconds()*1000, "beside-p99-ms")
	b.ReportMetric(p99beside.Seconds()/p99.Seconds(), "x-p99")
}
