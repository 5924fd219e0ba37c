package core_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/evosink/evosink/adapters/memory"
	"github.com/evosink/evosink/core"
	"github.com/evosink/evosink/core/event"
	"github.com/evosink/evosink/core/instances"
	"github.com/evosink/evosink/core/queue"
	"github.com/evosink/evosink/core/sink"
)

// A journal is a log that a test reads while it is written.
type journal struct {
	mu   sync.Mutex
	text strings.Builder
}

// Write implements [io.Writer].
func (j *journal) Write(b []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(b)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.String()
}

// await returns the line with that message, once it is there.
func (j *journal) await(t *testing.T, message string) (line map[string]any) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		for text := range strings.Lines(j.String()) {
			if err := json.Unmarshal([]byte(text), &line); err == nil &&
				strings.HasPrefix(line["message"].(string), message) {
				return line
			}
		}
	}
	t.Fatalf("the log does not tell of %q: %s", message, j)
	return nil
}

// An operator who reads nothing but the log learns that a target is down, that it is back, and of every dead letter.
// The breaker stays open for an hour: it is the sink that says when its target is back.
func TestTheLogTellsHowTargetsFare(t *testing.T) {
	engine, err := memory.New(memory.DefaultConfig())
	if err != nil {
		t.Fatal(err)
	}
	registry, err := instances.Open(t.Context(), engine, "")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"sales", "support"} {
		if _, err := registry.Create(t.Context(), instances.Instance{Name: name}, ""); err != nil {
			t.Fatal(err)
		}
		if _, err := registry.Set(t.Context(), name, "hook", []byte(`{"enabled":true,"events":["ALL"]}`)); err != nil {
			t.Fatal(err)
		}
	}
	var down atomic.Bool
	down.Store(true)
	var host sink.Host
	hook := sink.Use(sink.Spec[switches]{
		Name: "hook", Mode: sink.Queued, Defaults: func() switches { return switches{} },
		Enabled: func(*switches) bool { return true }, Rule: func(*switches) sink.Rule { return sink.Rule{} },
		New: func(_ switches, h sink.Host) (sink.Sink, error) {
			host = h
			return each(func(d *sink.Delivery) error {
				switch {
				case d.Event.Instance == "support":
					return sink.Permanent(errors.New("410 Gone"))
				case down.Load():
					return sink.Unavailable(errors.New("dial tcp 192.0.2.1:443: connection refused"))
				}
				return nil
			}), nil
		},
	})
	var log journal
	delivery := queue.DefaultConfig()
	delivery.BreakerWait, delivery.BreakerMax = time.Hour, time.Hour
	hub, err := core.New(core.Options{
		Bus: engine.Bus(), Instances: registry, Queue: engine.Queue(), Sinks: []*sink.Factory{hook},
		Delivery: &delivery, Logger: zerolog.New(&log).Level(zerolog.InfoLevel),
	})
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- hub.Run(context.Background()) }()
	<-hub.Started()
	t.Cleanup(func() {
		hub.Close(context.Background())
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	emit := func(instance string) {
		t.Helper()
		e := &event.Event{
			Name: "messages.upsert", Instance: instance, APIKey: "s3cret-key", Data: []byte(`{"text":"s3cret-text"}`),
		}
		if err := hub.Emit(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
	emit("sales")
	emit("sales")
	line := log.await(t, "target down")
	if line["level"] != "warn" || line["sink"] != "hook" || line["instance"] != "sales" ||
		line["target"] != "instance" ||
		!strings.Contains(line["error"].(string), "connection refused") {
		t.Errorf("down: %v", line)
	}
	down.Store(false)
	host.Available()
	if line := log.await(t, "target back"); line["level"] != "info" || line["instance"] != "sales" ||
		line["waiting"].(float64) < 1 || line["down"] == "" {
		t.Errorf("back: %v", line)
	}
	emit("support")
	line = log.await(t, "dead letters")
	if line["level"] != "warn" || line["instance"] != "support" || line["count"] != 1.0 ||
		line["reason"] != "permanent" || line["error"] != "410 Gone" {
		t.Errorf("dead letter: %v", line)
	}
	if strings.Contains(log.String(), "s3cret") {
		t.Errorf("payloads or keys are in the log: %s", &log)
	}
}
