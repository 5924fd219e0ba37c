//go:build unix

package plugintest_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/evosink/evosink/plugins/exec/plugintest"
	"github.com/evosink/evosink/plugins/sdk"
)

const asPlugin = "evosink-test-plugin"

func TestMain(m *testing.M) {
	if len(os.Args) > 2 && os.Args[1] == asPlugin {
		modes[os.Args[2]]()
		return
	}
	_ = os.Setenv("GORACE", "atexit_sleep_ms=0") // or each plugin takes a second longer to end under -race
	goleak.VerifyTestMain(m)
}

// modes are plugins that break one rule each, by what they make of a line.
var modes = map[string]func(){
	"good": func() { sdk.Main(sdk.Plugin{Deliver: func(context.Context, *sdk.Delivery) error { return nil }}) },
	"refuses": func() {
		sdk.Main(sdk.Plugin{Deliver: func(context.Context, *sdk.Delivery) error { return errors.New("no room") }})
	},
	"exits":  func() { fmt.Fprintln(os.Stderr, "config.url is missing"); os.Exit(4) },
	"prints": func() { fmt.Println("hello, I am a plugin"); serve(nil) },
	"twice": func() {
		serve(func(m message) bool { return m.Type == "event" && say("ack", m.ID) && say("ack", m.ID) })
	},
	"no-ping": func() { serve(func(m message) bool { return m.Type == "ping" }) },
	"one": func() {
		n := 0
		serve(func(m message) bool { n++; return m.Type == "event" && n > 30 })
	},
	"strict": func() {
		serve(func(m message) bool {
			if !strings.Contains("init event ping drain", m.Type) {
				panic("unknown type " + m.Type)
			}
			return false
		})
	},
	"needs-text": func() {
		serve(func(m message) bool {
			if m.Type == "event" && !strings.HasPrefix(string(m.Data), "{") {
				panic("data is no object")
			}
			return false
		})
	},
	"forgets-drain": func() { serve(func(m message) bool { return m.Type == "drain" }) },
	"stays":         func() { serve(nil); time.Sleep(time.Hour) },
	"fails":         func() { serve(nil); os.Exit(1) },
}

type message struct {
	Type, ID string
	Data     json.RawMessage
}

func say(kind, id string) bool {
	fmt.Printf(`{"type":%q,"id":%q}`+"\n", kind, id)
	return true
}

// serve does what is right, unless instead has done something else.
func serve(instead func(message) bool) {
	in := bufio.NewReader(os.Stdin)
	for {
		line, err := in.ReadBytes('\n')
		if err != nil {
			return
		}
		var m message
		_ = json.Unmarshal(line, &m)
		switch {
		case instead != nil && instead(m):
		case m.Type == "init":
			fmt.Println(`{"type":"ready","protocol":1,"max_in_flight":50}`)
		case m.Type == "event":
			say("ack", m.ID)
		case m.Type == "ping":
			say("pong", "")
		case m.Type == "drain":
			say("drained", "")
		}
	}
}

func run(t *testing.T, mode string, accept bool) (results []plugintest.Result, err error) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	s := plugintest.Subject{Path: self, Args: []string{asPlugin, mode}, Env: []string{"GORACE"}, Accept: accept, Timeout: 5 * time.Second}
	if mode == "good" {
		s.Timeout = 0
	}
	err = plugintest.Run(t.Context(), s, func(r plugintest.Result) { results = append(results, r) })
	return results, err
}

func TestAGoodPluginKeepsAllRules(t *testing.T) {
	results, err := run(t, "good", true)
	if err != nil || len(results) < 10 {
		t.Errorf("%d rules, %v", len(results), err)
	}
	for _, r := range results {
		if r.Err != nil || r.Why == "" {
			t.Errorf("%s: %v", r.Rule, r.Err)
		}
	}
}

func TestEachViolationIsFoundAndExplained(t *testing.T) {
	for mode, want := range map[string][2]string{
		"exits":         {"init with ready", "it exited with code 4\nits standard error ends with: config.url is missing"},
		"prints":        {"init with ready", `it printed "hello, I am a plugin"`},
		"twice":         {"each event once", "not in flight"},
		"no-ping":       {"answers ping", "says nothing for 5s"},
		"one":           {"at once", "are not answered"},
		"strict":        {"types that it does not know", "panic: unknown type"},
		"needs-text":    {"any shape", "data is no object"},
		"forgets-drain": {"answers drain", "drain is not answered"},
		"stays":         {"when its standard input does", "still runs"},
		"fails":         {"when its standard input does", "it exited with code 1"},
	} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			results, err := run(t, mode, false)
			if !errors.Is(err, plugintest.ErrViolated) {
				t.Fatalf("got %v", err)
			}
			for _, r := range results {
				if r.Err != nil && strings.Contains(r.Rule, want[0]) && strings.Contains(r.Err.Error(), want[1]) {
					return
				}
			}
			t.Errorf("no violation of %q says %q: %+v", want[0], want[1], results)
		})
	}
}

func TestARefusalIsAnAnswerUnlessEventsMustBeAccepted(t *testing.T) {
	results, err := run(t, "refuses", false)
	if err != nil || !strings.Contains(fmt.Sprint(results), "20 events were refused, which is an answer too; the last one: no room") {
		t.Errorf("%v %+v", err, results)
	}
	if _, err := run(t, "refuses", true); !errors.Is(err, plugintest.ErrViolated) {
		t.Errorf("got %v", err)
	}
}
