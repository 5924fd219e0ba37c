package cli_test

import (
	"bytes"
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

	"github.com/evosink/evosink/adapters/cli"
	"github.com/evosink/evosink/adapters/httpapi"
	"github.com/evosink/evosink/adapters/memory"
	"github.com/evosink/evosink/core"
	"github.com/evosink/evosink/core/event"
	"github.com/evosink/evosink/core/instances"
	"github.com/evosink/evosink/core/queue"
	"github.com/evosink/evosink/core/sink"
)

var update = flag.Bool("update", false, "rewrite the golden files")

const key = "GLOBAL-KEY"

// hook is a queued sink whose receivers refuse events with an id like "bad-1", and are busy for those like "busy-1".
type hook struct{ well atomic.Bool }

func (h *hook) Start(context.Context) error { return nil }
func (h *hook) Close(context.Context) error { return nil }

func (h *hook) Deliver(ctx context.Context, d *sink.Delivery) error {
	switch {
	case h.well.Load():
		return nil
	case strings.HasPrefix(d.Event.ID, "bad"):
		sink.Report(ctx, sink.Answer{Status: "410 Gone", Head: []byte("\x1b[2J<html>\tgone")})
		return sink.Permanent(errors.New("410 Gone"))
	case strings.HasPrefix(d.Event.ID, "busy"):
		return sink.RetryAfter(errors.New("503\x1b[31m"), 30*time.Minute)
	}
	return nil
}

// rig is a server with a real hub, and the command line.
type rig struct {
	*core.Hub
	api  *httpapi.API
	hook *hook
	url  string
}

func newRig(t *testing.T, replayRate int) *rig {
	t.Helper()
	engine, err := memory.New(memory.DefaultConfig())
	if err != nil {
		t.Fatal(err)
	}
	registry, err := instances.Open(t.Context(), engine, instances.Sum(key))
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{hook: &hook{}}
	factory := sink.Use(sink.Spec[struct{}]{
		Name: "hook", Mode: sink.Queued, Settings: sink.PlainSettings(),
		Defaults: func() struct{} { return struct{}{} },
		Enabled:  func(*struct{}) bool { return true },
		Rule:     func(*struct{}) sink.Rule { return sink.Rule{Global: true, Events: event.NewFilter("messages.upsert")} },
		New:      func(struct{}, sink.Host) (sink.Sink, error) { return r.hook, nil },
	})
	b, delivery := engine.Bus(), queue.DefaultConfig()
	delivery.ReplayRate = replayRate
	r.Hub, err = core.New(core.Options{Bus: b, Instances: registry, Queue: engine.Queue(), Delivery: &delivery, Sinks: []*sink.Factory{factory}, Logger: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- r.Run(context.Background()) }()
	<-r.Started()
	r.api, err = httpapi.New(httpapi.Options{
		Config: httpapi.Default(), Emitter: r.Hub, Registry: registry, Sinks: []*sink.Factory{factory}, Logger: zerolog.Nop(),
		Queue: r.Queue(), Stats: r.Hub.Stats, SinkHealth: r.SinkHealth,
	})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(r.api)
	r.url = server.URL
	t.Cleanup(func() {
		server.Close()
		if err := errors.Join(r.Close(context.Background()), <-ended, b.Close(context.Background())); err != nil {
			t.Error(err)
		}
	})
	return r
}

func (r *rig) emit(t *testing.T, instance string, ids ...string) {
	t.Helper()
	for _, id := range ids {
		e := &event.Event{ID: id, Name: "messages.upsert", Instance: instance, Data: json.RawMessage(`{"text":"hi\u202e"}`), Time: time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)}
		if err := r.Emit(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
}

// bury makes n dead letters.
func (r *rig) bury(t *testing.T, n int) {
	t.Helper()
	for i := range n {
		r.emit(t, "sales", fmt.Sprintf("bad-%03d", i))
	}
	r.waitFor(t, fmt.Sprint(n, " dead letters"), func() bool { return r.letters(t) == n })
}

func (r *rig) letters(t *testing.T) int {
	t.Helper()
	n, err := r.Queue().CountLetters(t.Context(), queue.LetterFilter{})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// waits returns once n deliveries wait for an instance, the first of which was tried unless it is paused.
func (r *rig) waits(t *testing.T, instance string, n int) {
	t.Helper()
	r.waitFor(t, fmt.Sprint(n, " to wait"), func() bool {
		for _, l := range r.Queue().Backlog(queue.Selector{Instance: instance}) {
			return l.Waiting == n && (l.State == "waiting" || l.State == "parked")
		}
		return n == 0
	})
}

func (r *rig) waitFor(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !condition(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

// ask gives a command line to the commands that talk to a server.
func ask(ctx context.Context, s cli.Server, args ...string) result {
	var out, errout bytes.Buffer
	env := &cli.Env{Stdin: strings.NewReader(""), Stdout: &out, Stderr: &errout, Args: args}
	code := cli.Main(ctx, env, cli.ServerCommands(s))
	return result{code, out.String(), errout.String()}
}

// run is ask for the rig, with a line that is split at spaces.
func (r *rig) run(t *testing.T, line string) result {
	return ask(t.Context(), cli.Server{URL: r.url, Key: key}, strings.Fields(line)...)
}

// is checks the exit code and what was printed.
func (r result) is(t *testing.T, code int, out, errout string) {
	t.Helper()
	if r.code != code || r.out != out || !strings.HasPrefix(r.errout, errout) || errout == "" && r.errout != "" {
		t.Errorf("exit %d, printed %q and %q\nwant %d, %q and %q", r.code, r.out, r.errout, code, out, errout)
	}
}

// golden compares what was printed, with what differs from run to run made alike, to a file.
func (r result) golden(t *testing.T, name string) {
	t.Helper()
	got := r.out
	for _, c := range []struct{ pattern, with string }{
		{`\d{4}-\d\d-\d\dT[0-9:.]+Z`, "TIME"}, {`\b[0-9.]+m?s\b`, "SPAN"}, {`(\S)  +`, "$1  "},
	} {
		got = regexp.MustCompile(c.pattern).ReplaceAllString(got, c.with)
	}
	got = fmt.Sprintf("exit %d\n%s%s", r.code, got, r.errout)
	file := filepath.Join("testdata", name+".txt")
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if want, err := os.ReadFile(file); err != nil || got != string(want) {
		t.Errorf("printed\n%s\nwant\n%s (%v)", got, want, err)
	}
}

func TestQueueListsLanesAndPauses(t *testing.T) {
	r := newRig(t, 1000)
	r.run(t, "queue").is(t, 0, "0 deliveries wait in 0 lanes\n", "")
	r.run(t, "queue pause --sink hook --instance held --reason maintenance").is(t, 0, "paused: sink hook, instance held; it holds 0 deliveries in 0 lanes\n", "")
	r.emit(t, "held", "well-1") // first: what is busy keeps all others of its address waiting
	r.waits(t, "held", 1)
	r.emit(t, "busy", "busy-1", "busy-2")
	r.waits(t, "busy", 2)
	r.run(t, "queue list").golden(t, "queue")
	r.run(t, "queue --limit 1").golden(t, "queue-page")
	for _, line := range []string{"queue list --json --instance held", "queue --instance held --json"} {
		var page struct{ Total int }
		if got := r.run(t, line); json.Unmarshal([]byte(got.out), &page) != nil || page.Total != 1 || got.code != 0 {
			t.Errorf("%s: %+v", line, got)
		}
	}
}

func TestATableShowsAgesForPeopleAndCutsWhatIsLong(t *testing.T) {
	var lanes []string
	for _, age := range []string{"0.04", "42.3", "3600", "93784", "1000000"} {
		lanes = append(lanes, `{"sink":"hook","target":"t","instance":"\u001b[2Jred\tand\nlong","waiting":1,"age":`+age+`,"state":"parked","why":"off","lastError":"`+strings.Repeat("x", 100)+`"}`)
	}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, `{"lanes":[%s],"total":5,"waiting":1}`, strings.Join(lanes, ","))
	}))
	defer s.Close()
	got := ask(t.Context(), cli.Server{URL: s.URL, Key: key}, "queue")
	var want strings.Builder
	want.WriteString("SINK  TARGET  INSTANCE          WAITING  OLDEST  STATE        LAST ERROR\n")
	for _, age := range []string{"0s    ", "42s   ", "1h0m  ", "26h3m ", "11d   "} {
		want.WriteString("hook  t       \ufffd[2Jred and long  1        " + age + "  parked: off  " + strings.Repeat("x", 79) + "…\n")
	}
	got.is(t, 0, want.String()+"1 delivery waits in 5 lanes\n", "")
}

func TestAPauseHoldsDeliveriesUntilItIsResumed(t *testing.T) {
	r := newRig(t, 1000)
	r.run(t, "queue pause --yes").is(t, 0, "paused: everything; it holds 0 deliveries in 0 lanes\n", "")
	r.emit(t, "sales", "well-1")
	r.waits(t, "sales", 1)
	r.run(t, "queue resume --sink hook").is(t, 1, "", "evosink: nothing is paused by exactly that selection\nstill paused: everything (since 2")
	r.run(t, "queue resume --yes").is(t, 0, "resumed\n", "")
	r.waits(t, "sales", 0)
	r.run(t, "queue pause --sink hok").is(t, 1, "", `evosink: No sink is called "hok"; there are: hook`+"\n")
}

func TestAPurgeNeedsASelectionOrAYes(t *testing.T) {
	r := newRig(t, 1000)
	r.emit(t, "sales", "busy-1", "busy-2")
	r.waits(t, "sales", 2)
	r.run(t, "queue purge").is(t, 2, "", "evosink: say what to remove with --sink, --target or --instance, or give --yes for everything\nUsage: evosink queue purge [--sink NAME]")
	r.run(t, "queue purge --instance sales").is(t, 1, "", "evosink: Say whose deliveries to remove for good")
	ask(t.Context(), cli.Server{URL: r.url, Key: key}, "queue", "purge", "--sink", "hook", "--instance", "").is(t, 2, "", "evosink: --instance is empty\n")
	r.run(t, "queue purge --sink hook --target global --instance other").is(t, 0, "removed 0 deliveries\n", "")
	r.run(t, "queue purge --instance sales --yes --json").is(t, 0, `{"purged":2}`+"\n", "")
}

func TestAttemptsAreListedByEvent(t *testing.T) {
	r := newRig(t, 1000)
	r.emit(t, "sales", "bad/1")
	r.waitFor(t, "a dead letter", func() bool { return r.letters(t) == 1 })
	r.run(t, "attempts bad/1").golden(t, "attempts")
	r.run(t, "attempts nobody").is(t, 0, "no attempt is known: none failed, or it was long ago, or there is no such event\n", "")
	r.run(t, "attempts").is(t, 2, "", "evosink: give the id of one event\nUsage: evosink attempts EVENT-ID")
}

func TestDeadLettersAreListedAndShown(t *testing.T) {
	r := newRig(t, 1000)
	r.run(t, "dead list").is(t, 0, "0 dead letters\n", "")
	r.bury(t, 3)
	r.run(t, "dead list --limit 2 --reason permanent").golden(t, "dead")
	r.run(t, "dead list --order oldest --limit 1 --event bad-001").golden(t, "dead-one")
	r.run(t, "dead show 2").golden(t, "letter")
	r.run(t, "dead show 9").is(t, 1, "", "evosink: There is no such dead letter (any more)\n")
	r.run(t, "dead show x").is(t, 2, "", `evosink: "x" is not the id of a dead letter; evosink dead list shows them`)
	r.run(t, "dead list --reason old").is(t, 1, "", `evosink: "reason" must be one of permanent, attempts, age, full, instance deleted, not "old"`)
	r.run(t, "dead").is(t, 2, "", "evosink: dead needs one of: dead list, dead show, dead replay, dead purge")
}

func TestAReplayShowsItsProgress(t *testing.T) {
	r := newRig(t, 400)
	r.bury(t, 120)
	r.hook.well.Store(true)
	r.run(t, "dead replay").is(t, 2, "", "evosink: say which dead letters to replay: ids, or --sink,")
	r.run(t, "dead replay 1 --sink hook").is(t, 2, "", "evosink: give ids or a selection, not both")
	r.run(t, "dead replay 1 2 999").is(t, 1, "replayed 2 dead letters\n", "evosink: no dead letter has these ids (any more): 999\n")
	r.run(t, "dead replay --event bad-002 --json").is(t, 0, `{"done":1,"total":1,"finished":false}`+"\n"+`{"done":1,"total":1,"finished":true}`+"\n", "")
	r.run(t, "dead replay --yes").is(t, 0, "replayed 117 dead letters\n", "50 of 117\n")
	r.run(t, "dead replay --sink hook").is(t, 0, "replayed 0 dead letters\n", "")
}

func TestAnInterruptedReplaySaysHowFarItCame(t *testing.T) {
	r := newRig(t, 1)
	r.bury(t, 60)
	r.hook.well.Store(true)
	ctx, interrupt := context.WithCancel(t.Context())
	go func() {
		r.waitFor(t, "ten to be left", func() bool { return r.letters(t) <= 10 })
		interrupt()
	}()
	got := ask(ctx, cli.Server{URL: r.url, Key: key}, "dead", "replay", "--yes")
	if got.code != 1 || !strings.Contains(got.errout, "evosink: interrupted") {
		t.Errorf("%+v", got)
	}
}

func TestAReplayThatTheServerEndsIsAFailure(t *testing.T) {
	r := newRig(t, 1)
	r.bury(t, 60)
	r.hook.well.Store(true)
	go func() {
		r.waitFor(t, "ten to be left", func() bool { return r.letters(t) <= 10 })
		r.api.Drain(context.Background())
	}()
	got := r.run(t, "dead replay --yes")
	if got.code != 1 || !strings.Contains(got.errout, "evosink: 50 of 60 dead letters were replayed: The server is shutting down; replay again for the rest\n") {
		t.Errorf("%+v", got)
	}
}

func TestDeadLettersArePurged(t *testing.T) {
	r := newRig(t, 1000)
	r.bury(t, 4)
	r.run(t, "dead purge").is(t, 2, "", "evosink: say which dead letters to remove")
	r.run(t, "dead purge 1 99").is(t, 1, "removed 1 dead letter\n", "evosink: dead letter 99: There is no such dead letter")
	r.run(t, "dead purge --event bad-001").is(t, 0, "removed 1 dead letter\n", "")
	r.run(t, "dead purge --yes").is(t, 0, "removed 2 dead letters\n", "")
}

func TestSinksAreListed(t *testing.T) {
	r := newRig(t, 1000)
	r.emit(t, "sales", "busy-1")
	r.waits(t, "sales", 1)
	r.run(t, "queue pause --sink hook --instance other")
	r.run(t, "sinks").golden(t, "sinks")
	r.run(t, "sinks x").is(t, 2, "", `evosink: unexpected argument "x"`)
}

func TestWhatIsWrongWithTheServerIsSaidInWords(t *testing.T) {
	r := newRig(t, 1000)
	answers := func(status int, contentType, body string) string {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", contentType)
			w.Header().Set("Location", "http://elsewhere.example/")
			w.WriteHeader(status)
			w.Write([]byte(body))
		}))
		t.Cleanup(s.Close)
		return s.URL
	}
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	for want, s := range map[string]cli.Server{
		"no evosink answers at " + gone.URL + ": dial tcp":                            {URL: gone.URL, Key: key},
		"does not take the key: it must be the global key":                            {URL: r.url, Key: "wrong"},
		"no key: give the global key as AUTHENTICATION_API_KEY":                       {URL: r.url},
		`--url must be an address like "http://127.0.0.1:8080", not "localhost:8080"`: {URL: "localhost:8080", Key: key},
		"is no evosink: it answers 404 Not Found":                                     {URL: answers(404, "text/html", "<html>"), Key: key},
		"is no evosink: what it answers is not JSON":                                  {URL: answers(200, "text/html", "<html>"), Key: key},
		"is no evosink: its answer is not understood":                                 {URL: answers(200, "application/json", "[]"), Key: key},
		"answers with a redirect to http://elsewhere.example/":                        {URL: answers(302, "text/html", ""), Key: key},
		"evosink: one; two; three\n":                                                  {URL: answers(400, "application/json", `{"response":{"message":["one",["two"],"three"]}}`), Key: key},
		"evosink: 7\n":                                                                {URL: answers(500, "application/json", `{"response":{"message":7}}`), Key: key},
	} {
		got := ask(t.Context(), s, "sinks")
		if got.code == 0 || got.out != "" || !strings.Contains(got.errout, want) {
			t.Errorf("%+v, want %q", got, want)
		}
	}
	broken := answers(200, "application/x-ndjson", `{"done":50,"total":60}`+"\n"+`{"done":`)
	ask(t.Context(), cli.Server{URL: broken, Key: key}, "dead", "replay", "--yes").is(t, 1, "", "50 of 60\nevosink: the answer is not understood")
	short := answers(200, "application/x-ndjson", `{"done":50,"total":60}`+"\n")
	ask(t.Context(), cli.Server{URL: short, Key: key}, "dead", "replay", "--yes").is(t, 1, "", "50 of 60\nevosink: the answer broke off; what was replayed stays so")
}

func TestFlagsNameAnotherServerAndKey(t *testing.T) {
	r := newRig(t, 1000)
	nowhere := cli.Server{URL: "http://127.0.0.1:1"}
	got := ask(t.Context(), nowhere, "queue", "--url", r.url+"/", "--key", key)
	got.is(t, 0, "0 deliveries wait in 0 lanes\n", "")
}
