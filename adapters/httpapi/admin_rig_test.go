package httpapi_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/evosink/evosink/adapters/httpapi"
	"github.com/evosink/evosink/adapters/memory"
	"github.com/evosink/evosink/core"
	"github.com/evosink/evosink/core/event"
	"github.com/evosink/evosink/core/instances"
	"github.com/evosink/evosink/core/queue"
	"github.com/evosink/evosink/core/sink"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// hook is a queued sink whose target is as well as the id of an event says: "bad...", "busy...", "down...", or well.
type hook struct {
	well  atomic.Bool // whatever the id says
	since time.Time
	got   chan string // ids delivered
}

func (h *hook) Start(context.Context) error { return nil }
func (h *hook) Close(context.Context) error { return nil }
func (h *hook) Check(context.Context) error {
	if h.well.Load() {
		return nil
	}
	return errors.New("some receivers are down")
}
func (h *hook) Connection() (time.Time, error) { return h.since, errors.New("was refused once") }

func (h *hook) Deliver(ctx context.Context, d *sink.Delivery) error {
	kind, _, _ := strings.Cut(d.Event.ID, "-")
	if h.well.Load() {
		kind = "well"
	}
	switch kind {
	case "bad":
		sink.Report(ctx, sink.Answer{Status: "410 Gone", Head: []byte("<html>\xff gone")})
		return sink.Permanent(errors.New("the receiver answered 410 Gone"))
	case "busy":
		return sink.RetryAfter(errors.New("the receiver answered 503"), 30*time.Minute)
	case "down":
		return sink.Unavailable(errors.New("connection refused"))
	}
	h.got <- d.Event.ID
	return nil
}

// Measures has a malformed one, which must not hide the others.
func (h *hook) Measures() []sink.Measure {
	return []sink.Measure{
		{Name: "bro ken\xff"}, {Name: "receivers", Help: "Receivers that are known.", Value: 3},
		{Name: "answers_total", Help: "Answers by class.", Kind: sink.Counter, Label: "class", LabelValue: "2xx", Value: 7},
		{Name: "answer_seconds", Help: "Time to answer.", Kind: sink.Histogram, Value: 1.5, Count: 2, Buckets: map[float64]uint64{1: 1, 2: 2}},
	}
}

// rig is a server before a real hub, with the sinks "hook" (queued), "live" and "off".
type rig struct {
	*server
	*core.Hub
	hook *hook
}

func newRig(t *testing.T, change ...func(*core.Options, *httpapi.Options)) *rig {
	t.Helper()
	r := &rig{hook: &hook{got: make(chan string, 1000), since: time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)}}
	r.server = newServer(t, func(o *httpapi.Options) { r.wire(t, o, change) })
	r.allow("sales")
	return r
}

// wire makes the hub that the API stands before.
func (r *rig) wire(t *testing.T, o *httpapi.Options, change []func(*core.Options, *httpapi.Options)) {
	engine, err := memory.New(memory.DefaultConfig())
	if err != nil {
		t.Fatal(err)
	}
	config := queue.DefaultConfig()
	config.ReplayRate, config.BreakerWait, config.BreakerMax = 1_000_000, time.Hour, time.Hour
	b := engine.Bus()
	o.Sinks = []*sink.Factory{r.factory("hook", sink.Queued, true), r.factory("live", sink.Live, true), r.factory("off", sink.Queued, false)}
	c := core.Options{Bus: b, Instances: o.Registry, Queue: engine.Queue(), Delivery: &config, Sinks: o.Sinks, Logger: zerolog.Nop()}
	for _, f := range change {
		f(&c, o)
	}
	if r.Hub, err = core.New(c); err != nil {
		t.Fatal(err)
	}
	o.Emitter, o.Queue, o.Stats, o.SinkHealth, o.Ready, o.Erase = r.Hub, r.Queue(), r.Hub.Stats, r.SinkHealth, r.Check, r.Erase
	ended := make(chan error, 1)
	go func() { ended <- r.Run(context.Background()) }()
	<-r.Started()
	t.Cleanup(func() {
		if err := errors.Join(r.Hub.Close(context.Background()), <-ended, b.Close(context.Background())); err != nil {
			t.Error(err)
		}
	})
}

func (r *rig) factory(name string, mode sink.Mode, on bool) *sink.Factory {
	return sink.Use(sink.Spec[switches]{
		Name: name, Mode: mode, Settings: sink.PlainSettings(),
		Defaults: func() switches { return switches{On: on} },
		Enabled:  func(c *switches) bool { return c.On },
		Rule:     func(*switches) sink.Rule { return sink.Rule{} },
		New: func(switches, sink.Host) (sink.Sink, error) {
			if mode == sink.Live {
				return &sinkThatTakesAll{}, nil
			}
			return r.hook, nil
		},
	})
}

type sinkThatTakesAll struct{}

func (*sinkThatTakesAll) Start(context.Context) error                   { return nil }
func (*sinkThatTakesAll) Close(context.Context) error                   { return nil }
func (*sinkThatTakesAll) Deliver(context.Context, *sink.Delivery) error { return nil }

// allow has an instance want everything of the sinks hook and live.
func (r *rig) allow(names ...string) {
	for _, name := range names {
		r.registry.Create(context.Background(), instances.Instance{Name: name}, "")
		for _, sink := range []string{"hook", "live"} {
			r.admin("POST", "/"+sink+"/set/"+name, `{"enabled":true,"events":["MESSAGES_UPSERT"]}`)
		}
	}
}

// emit hands in one event per id.
func (r *rig) emit(t *testing.T, instance string, ids ...string) {
	t.Helper()
	for _, id := range ids {
		e := &event.Event{ID: id, Name: "messages.upsert", Instance: instance, APIKey: "SECRET", Data: json.RawMessage(`{"text": "<hi> & bye"}`),
			Time: time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)}
		if err := r.Emit(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
}

// bury hands in n events that become dead letters, and waits for that.
func (r *rig) bury(t *testing.T, n int) {
	t.Helper()
	for i := range n {
		r.emit(t, "sales", fmt.Sprintf("bad-%03d", i))
	}
	r.hasLetters(t, n)
}

func (r *rig) hasLetters(t *testing.T, n int) {
	t.Helper()
	eventually(t, fmt.Sprint(n, " dead letters"), func() bool {
		got, err := r.Queue().CountDeadLetters(t.Context(), queue.DeadLetterFilter{})
		return err == nil && got == n && len(r.Queue().Backlog(queue.Selector{Instance: "sales"})) == 0
	})
}

// line is a lane of the backlog; nil if nothing waits there.
func (r *rig) line(instance string) *queue.LaneStatus {
	for _, l := range r.Queue().Backlog(queue.Selector{Instance: instance}) {
		return &l
	}
	return nil
}

// stands waits until the first delivery of an instance was tried and its lane is in a state.
func (r *rig) stands(t *testing.T, instance, state string) {
	t.Helper()
	eventually(t, instance+" to be "+state, func() bool {
		l := r.line(instance)
		return l != nil && l.State == state && !l.Head.Last.IsZero()
	})
}

func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !condition(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

// golden compares a body, with what differs from run to run made alike, to a file.
func (a answer) golden(t *testing.T, name string) {
	t.Helper()
	if a.Code != http.StatusOK {
		t.Fatalf("answered %d %s", a.Code, a.text)
	}
	var pretty strings.Builder
	enc := json.NewEncoder(&pretty)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(json.RawMessage(a.text)); err != nil {
		t.Fatalf("%s: %v", a.text, err)
	}
	got := changing.ReplaceAllString(pretty.String(), `"${1}": "VARIES"`)
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if want, err := os.ReadFile(file); err != nil || got != string(want) {
		t.Errorf("answered %s\nwant %s (%v)", got, want, err)
	}
}

var changing = regexp.MustCompile(`"(oldest|age|lastAttempt|lastErrorAt|until|at|took|first|last|died)": ("[0-9T:.-]+Z"|[0-9.]+)`)

// replay posts a body and hands on each line of the answer.
func (r *rig) replay(t *testing.T, ctx context.Context, body string, line func(progress)) error {
	t.Helper()
	server := httptest.NewServer(r.API)
	defer server.Close()
	defer server.Client().CloseIdleConnections()
	q, _ := http.NewRequestWithContext(ctx, http.MethodPost, server.URL+"/admin/dead/replay", strings.NewReader(body))
	q.Header.Set("apikey", globalKey)
	answer, err := server.Client().Do(q)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK || answer.Header.Get("Content-Type") != "application/x-ndjson" {
		t.Errorf("answered %d %s", answer.StatusCode, answer.Header)
	}
	lines := bufio.NewScanner(answer.Body)
	for lines.Scan() {
		var p progress
		if err := json.Unmarshal(lines.Bytes(), &p); err != nil {
			t.Errorf("%s: %v", lines.Bytes(), err)
		}
		line(p)
	}
	return lines.Err()
}

// progress is a line of a replay.
type progress struct {
	Done, Total int
	Finished    bool
	Missing     []int64
	Error       string
}
