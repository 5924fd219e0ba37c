package cli_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
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
		Queue: r.Queue(), Stats: r.Hub.Stats, SinkHealth: r.SinkHealth, Erase: r.Erase,
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
	n, err := r.Queue().CountDeadLetters(t.Context(), queue.DeadLetterFilter{})
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
	r.run(t, "queue pause --all").is(t, 0, "paused: everything; it holds 0 deliveries in 0 lanes\n", "")
	r.emit(t, "sales", "well-1")
	r.waits(t, "sales", 1)
	r.run(t, "queue resume --sink hook").is(t, 1, "", "evosink: nothing is paused by exactly that selection\nstill paused: everything (since 2")
	r.run(t, "queue resume --all").is(t, 0, "resumed\n", "")
	r.waits(t, "sales", 0)
	r.run(t, "queue pause --sink hok").is(t, 1, "", `evosink: No sink is called "hok"; there are: hook`+"\n")
}

func TestAPurgeNeedsASelectionOrAll(t *testing.T) {
	r := newRig(t, 1000)
	r.emit(t, "sales", "busy-1", "busy-2")
	r.waits(t, "sales", 2)
	r.run(t, "queue purge").is(t, 2, "", "evosink: say what to remove with --sink, --target or --instance, or give --all for everything\nUsage: evosink queue purge ([--sink NAME]")
	r.run(t, "queue purge --instance sales").is(t, 2, "", "evosink: say of which sink with --sink, or give --all for the deliveries of all sinks\n")
	ask(t.Context(), cli.Server{URL: r.url, Key: key}, "queue", "purge", "--sink", "hook", "--instance", "").is(t, 2, "", "evosink: --instance is empty\n")
	r.run(t, "queue purge --sink hook --target global --instance other").is(t, 0, "removed 0 deliveries\n", "")
	r.run(t, "queue purge --instance sales --all --yes --json").is(t, 0, `{"purged":2}`+"\n", "")
}

func TestAttemptsAreListedByEvent(t *testing.T) {
	r := newRig(t, 1000)
	r.emit(t, "sales", "bad/1")
	r.waitFor(t, "a dead letter", func() bool { return r.letters(t) == 1 })
	r.run(t, "attempts bad/1").golden(t, "attempts")
	r.run(t, "attempts nobody").is(t, 0, "no attempt is known: none was made yet, or it was long ago, or went well at once some time ago, or there is no such event\n", "")
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
	r.run(t, "dead").is(t, 2, "", "evosink: dead needs one of: dead list, dead show, dead replay, dead purge, dead replays, dead watch, dead cancel")
}

func TestAReplayShowsItsProgress(t *testing.T) {
	r := newRig(t, 400)
	r.bury(t, 120)
	r.hook.well.Store(true)
	r.run(t, "dead replay").is(t, 2, "", "evosink: say which dead letters to replay: ids, or --sink,")
	r.run(t, "dead replay 1 --sink hook").is(t, 2, "", "evosink: give ids or a selection, not both")
	r.run(t, "dead replay 1 2 999").is(t, 1, "replayed 2 dead letters\n", "evosink: no dead letter has these ids (any more): 999\n")
	r.run(t, "dead replay --event bad-002 --json --yes").is(t, 0, `{"done":1,"total":1,"finished":false}`+"\n"+`{"done":1,"total":1,"finished":true}`+"\n", "")
	r.run(t, "dead replay --all --yes").is(t, 0, "replayed 117 dead letters\n", "50 of 117\n")
	r.run(t, "dead replay --sink hook").is(t, 0, "replayed 0 dead letters\n", "")
}

func TestAnInterruptedReplayGoesOnAndIsWatchedAndCancelled(t *testing.T) {
	r := newRig(t, 1)
	r.bury(t, 60)
	r.hook.well.Store(true)
	ctx, interrupt := context.WithCancel(t.Context())
	go func() {
		r.waitFor(t, "a step", func() bool { return r.letters(t) < 59 }) // the second, so that the first was answered
		interrupt()
	}()
	got := ask(ctx, cli.Server{URL: r.url, Key: key}, "dead", "replay", "--all", "--yes")
	id := regexp.MustCompile(`goes on in the server. evosink dead watch ([0-9a-f]{8}) follows it, evosink dead cancel ([0-9a-f]{8}) ends it`).FindStringSubmatch(got.errout)
	if got.code != 1 || id == nil || id[1] != id[2] || !strings.Contains(got.errout, "evosink: interrupted: ") {
		t.Fatalf("%+v", got)
	}
	left := r.letters(t)
	r.waitFor(t, "it to go on", func() bool { return r.letters(t) < left })
	if got := r.run(t, "dead replays"); got.code != 0 || !strings.Contains(got.out, id[1]) || !strings.Contains(got.out, "running") || !strings.Contains(got.out, "everything") {
		t.Errorf("%+v", got)
	}
	watched := make(chan result)
	go func() { watched <- r.run(t, "dead watch "+id[1]) }()
	if got := r.run(t, "dead cancel "+id[1]); got.code != 0 || !regexp.MustCompile(`^cancelled: \d+ of 60 dead letters were replayed\n$`).MatchString(got.out) {
		t.Errorf("%+v", got)
	}
	if got := <-watched; got.code != 1 || !strings.Contains(got.errout, "of 60 dead letters were replayed: It was cancelled; replay again for the rest\n") {
		t.Errorf("%+v", got)
	}
	r.run(t, "dead watch 0123").is(t, 1, "", "evosink: There is no replay 0123 (any more)")
	r.run(t, "dead watch X").is(t, 2, "", "evosink: give the id of one replay; evosink dead replays lists them\n")
}

func TestAReplayThatTheServerEndsIsAFailure(t *testing.T) {
	r := newRig(t, 1)
	r.bury(t, 60)
	r.hook.well.Store(true)
	go func() {
		r.waitFor(t, "a step", func() bool { return r.letters(t) < 60 })
		r.api.Drain(context.Background())
	}()
	got := r.run(t, "dead replay --all --yes")
	if got.code != 1 || !regexp.MustCompile(`evosink: \d+ of 60 dead letters were replayed: The server is shutting down; replay again for the rest\n`).MatchString(got.errout) {
		t.Errorf("%+v", got)
	}
}

func TestAReplayHasItsRateAndDrawsABarOnATerminalOnly(t *testing.T) {
	r := newRig(t, 1)
	r.bury(t, 60)
	r.hook.well.Store(true)
	var out, bar bytes.Buffer
	env := &cli.Env{Stdout: &out, Stderr: &bar, Terminal: true, Args: strings.Fields("dead replay --all --yes --rate 20")}
	if code := cli.Main(t.Context(), env, cli.ServerCommands(cli.Server{URL: r.url, Key: key})); code != 0 || out.String() != "replayed 60 dead letters\n" {
		t.Fatalf("code %d, %q, %q", code, out.String(), bar.String())
	}
	if !regexp.MustCompile(`\r\[#+\.+\] 40 of 60, \d+/s, \S+ left\x1b\[K`).MatchString(bar.String()) || strings.Contains(bar.String(), "\n") || !strings.HasSuffix(bar.String(), "\r\x1b[K") {
		t.Errorf("the bar is %q", bar.String())
	}
	r.run(t, "dead replay --all --yes --rate x").is(t, 2, "", `evosink: --rate must be a number of dead letters per second, not "x"`)
}

func TestWithoutAYesNothingIsChanged(t *testing.T) {
	r := newRig(t, 1000)
	r.bury(t, 2)
	r.emit(t, "sales", "busy-1")
	r.waits(t, "sales", 1)
	says := func(answer, line string) result {
		var out, errout bytes.Buffer
		env := &cli.Env{Stdin: strings.NewReader(answer), Stdout: &out, Stderr: &errout, Args: strings.Fields(line)}
		code := cli.Main(t.Context(), env, cli.ServerCommands(cli.Server{URL: r.url, Key: key}))
		return result{code, out.String(), errout.String()}
	}
	for line, question := range map[string]string{
		"queue purge --sink hook":          "Remove 1 delivery for good (sink hook)? [y/N] ",
		"queue purge --all":                "Remove 1 delivery for good (all there are)? [y/N] ",
		"dead purge --instance sales":      "Remove 2 dead letters for good (instance sales)? [y/N] ",
		"dead purge 1 2":                   "Remove 2 dead letters for good (1 2)? [y/N] ",
		"dead replay --all":                "Deliver 2 dead letters again (all there are)? [y/N] ",
		"dead replay --sink hook --rate 9": "Deliver 2 dead letters again (sink hook)? [y/N] ",
	} {
		for _, answer := range []string{"n\n", "", "\n", "yes please\n", "no\ny\n"} {
			says(answer, line).is(t, 1, "", question+"evosink: nothing was changed: the answer was not yes (--yes answers the question)\n")
		}
	}
	for _, line := range []string{"queue purge --yes", "dead purge --yes", "dead replay --yes", "queue pause --yes", "queue resume --yes"} {
		if got := says("y\n", line); got.code != 2 || !strings.Contains(got.errout, "--all for") {
			t.Errorf("%s: %+v", line, got)
		}
	}
	if r.letters(t) != 2 {
		t.Errorf("%d dead letters are left", r.letters(t))
	}
	says("y\n", "queue purge --sink hook").is(t, 0, "removed 1 delivery\n", "Remove 1 delivery")
	says("YES", "dead purge --all").is(t, 0, "removed 2 dead letters\n", "Remove 2 dead letters")
	says("", "dead purge --all").is(t, 0, "removed 0 dead letters\n", "")
}

func TestAnUnknownSinkInASelectionIsAnError(t *testing.T) {
	r := newRig(t, 1000)
	for _, line := range []string{"queue --sink hok", "queue pause --sink hok", "queue resume --sink hok", "queue purge --sink hok --yes", "dead list --sink hok", "dead purge --sink hok --yes", "dead replay --sink hok --yes"} {
		r.run(t, line).is(t, 1, "", `evosink: No sink is called "hok"; there are: hook`+"\n")
	}
}

func TestDeadLettersArePurged(t *testing.T) {
	r := newRig(t, 1000)
	r.bury(t, 4)
	r.run(t, "dead purge").is(t, 2, "", "evosink: say which dead letters to remove")
	r.run(t, "dead purge 1 99 --yes").is(t, 1, "removed 1 dead letter\n", "evosink: dead letter 99: There is no such dead letter")
	r.run(t, "dead purge --event bad-001 --yes").is(t, 0, "removed 1 dead letter\n", "")
	r.run(t, "dead purge --all --yes").is(t, 0, "removed 2 dead letters\n", "")
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
	ask(t.Context(), cli.Server{URL: broken, Key: key}, "dead", "replay", "--all", "--yes").is(t, 1, "", "50 of 60\nevosink: the answer is not understood")
	short := answers(200, "application/x-ndjson", `{"done":50,"total":60}`+"\n")
	ask(t.Context(), cli.Server{URL: short, Key: key}, "dead", "replay", "--all", "--yes").is(t, 1, "", "50 of 60\nevosink: the answer broke off; what was replayed stays so")
}

func TestFlagsNameAnotherServerAndKey(t *testing.T) {
	r := newRig(t, 1000)
	nowhere := cli.Server{URL: "http://127.0.0.1:1"}
	got := ask(t.Context(), nowhere, "queue", "--url", r.url+"/", "--key", key)
	got.is(t, 0, "0 deliveries wait in 0 lanes\n", "")
}

func TestTheKeyIsNotSentToAHostThatOnlyTheDirectoryNames(t *testing.T) {
	var asked atomic.Int32
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		w.Write([]byte(`{"sinks":[]}`))
	}))
	defer s.Close()
	evil := strings.Replace(s.URL, "127.0.0.1", "0.0.0.0", 1) // leads here, but is no loopback address
	typed, here := cli.Origin{Text: "environment AUTHENTICATION_API_KEY"}, cli.Origin{Text: ".env", Found: true}
	link := cli.Origin{Text: ".env", Found: true, Outside: true}
	for name, c := range map[string]struct {
		server cli.Server
		args   []string
		sent   bool
	}{
		"the user's key, the directory's host":         {server: cli.Server{URL: evil, URLFrom: here, KeyFrom: typed}},
		"a key that the directory only points to":      {server: cli.Server{URL: evil, URLFrom: here, KeyFrom: link}},
		"a key that is typed, the directory's host":    {server: cli.Server{URL: evil, URLFrom: here, KeyFrom: here}, args: []string{"--key", "typed"}},
		"both are the directory's":                     {server: cli.Server{URL: evil, URLFrom: here, KeyFrom: here}, sent: true},
		"both are the user's":                          {server: cli.Server{URL: evil, URLFrom: typed, KeyFrom: typed}, sent: true},
		"the user says which host":                     {server: cli.Server{URL: evil, URLFrom: here, KeyFrom: typed}, args: []string{"--url", evil}, sent: true},
		"the user's key, the directory's local server": {server: cli.Server{URL: s.URL, URLFrom: here, KeyFrom: typed}, sent: true},
	} {
		t.Run(name, func(t *testing.T) {
			before := asked.Load()
			c.server.Key = key
			got := ask(t.Context(), c.server, append([]string{"sinks"}, c.args...)...)
			if sent := asked.Load() > before; sent != c.sent || (got.code == 0) != c.sent || !c.sent && !strings.Contains(got.errout, "so it is not sent there. If that is your server: --url "+evil) {
				t.Errorf("sent %t, %+v", sent, got)
			}
		})
	}
}

func TestOverHTTPSTheServersOwnCertificateIsTrustedAndNoOther(t *testing.T) {
	pemOf := func(s *httptest.Server) string {
		file := filepath.Join(t.TempDir(), "cert.pem")
		if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	answer := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte(`{"sinks":[]}`)) })
	mine := httptest.NewTLSServer(answer)
	defer mine.Close()
	mine.Config.ErrorLog = log.New(io.Discard, "", 0)
	own, other := pemOf(mine), writeCertificate(t)
	u, _ := url.Parse(mine.URL)
	named := "https://localhost:" + u.Port() // the certificate has no such name
	for name, c := range map[string]struct {
		server cli.Server
		args   []string
		want   string // "" is success
	}{
		"its own":                         {server: cli.Server{URL: mine.URL, Certificate: own}},
		"its own, by another name":        {server: cli.Server{URL: named, Certificate: own}},
		"another one":                     {server: cli.Server{URL: mine.URL, Certificate: other}, want: "it shows another certificate than " + other + " holds"},
		"none":                            {server: cli.Server{URL: mine.URL}, want: "shows a certificate that is not trusted here: "},
		"its own for another server":      {server: cli.Server{URL: "https://127.0.0.1:1", Certificate: own}, args: []string{"--url", mine.URL}, want: "--ca names a PEM file"},
		"--ca":                            {server: cli.Server{URL: "https://127.0.0.1:1", Certificate: other}, args: []string{"--url", mine.URL, "--ca", own}},
		"--ca, but another name":          {server: cli.Server{URL: named}, args: []string{"--ca", own}, want: "localhost"},
		"--ca, but another authority":     {server: cli.Server{URL: mine.URL}, args: []string{"--ca", other}, want: "not trusted here"},
		"a file that is not there":        {server: cli.Server{URL: mine.URL, Certificate: "/nowhere"}, want: "read the certificate: open /nowhere"},
		"a file without one":              {server: cli.Server{URL: mine.URL, Certificate: "server_test.go"}, want: "does not begin with a certificate in PEM"},
		"--ca with a file without one":    {server: cli.Server{URL: mine.URL}, args: []string{"--ca", "server_test.go"}, want: "--ca: no certificate is in server_test.go"},
		"its own, but the server is http": {server: cli.Server{URL: "http://" + u.Host, Certificate: own}, want: "400"},
	} {
		t.Run(name, func(t *testing.T) {
			c.server.Key = key
			got := ask(t.Context(), c.server, append([]string{"sinks"}, c.args...)...)
			if (got.code == 0) != (c.want == "") || !strings.Contains(got.errout, c.want) {
				t.Errorf("%+v, want %q", got, c.want)
			}
		})
	}
}

// writeCertificate returns a PEM file with a certificate that no server shows.
func writeCertificate(t *testing.T) string {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	raw, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "other.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestAnInstanceIsErasedByAskingFirst(t *testing.T) {
	r := newRig(t, 1000)
	r.bury(t, 3)
	erase := func(stdin string, args ...string) (code int, out, errs string) {
		var stdout, stderr bytes.Buffer
		env := &cli.Env{
			Stdin: strings.NewReader(stdin), Stdout: &stdout, Stderr: &stderr, Args: append([]string{"instance", "erase"}, args...),
		}
		code = cli.Main(t.Context(), env, cli.ServerCommands(cli.Server{URL: r.url, Key: key}))
		return code, stdout.String(), stderr.String()
	}
	if code, _, errs := erase("n\n", "sales"); code != cli.ExitFail || !strings.Contains(errs, "Delete instance sales") || r.letters(t) != 3 {
		t.Errorf("after a no: %d %s", code, errs)
	}
	if code, _, errs := erase("", "sales", "support", "--yes"); code != cli.ExitUsage || !strings.Contains(errs, "name of one instance") {
		t.Errorf("two names: %d %s", code, errs)
	}
	if code, out, errs := erase("y\n", "sales"); code != cli.ExitOK || !strings.Contains(out, "3 dead letters") || r.letters(t) != 0 {
		t.Errorf("after a yes: %d %s %s", code, out, errs)
	}
	if code, out, errs := erase("", "sales", "--yes"); code != cli.ExitOK || !strings.HasPrefix(out, "removed 0 events, 0 deliveries") {
		t.Errorf("once more: %d %s %s", code, out, errs)
	}
}
