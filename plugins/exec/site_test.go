//go:build unix

package exec_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/evosink/evosink/core/event"
	"github.com/evosink/evosink/core/sink"
	"github.com/evosink/evosink/plugins/exec"
)

// patience bounds every wait; only a failure uses it up.
const patience = 30 * time.Second

// plugin is the configuration of the test binary as a plugin, with short waits.
func plugin(t testing.TB, mode string, args ...string) exec.Plugin {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p := exec.DefaultPlugin()
	p.Command, p.Args = self, append([]string{asPlugin, mode}, args...)
	p.Env = []string{"GORACE"}
	p.StopTimeout = 300 * time.Millisecond
	p.Restart = exec.Restart{Min: time.Millisecond, Max: 20 * time.Millisecond, Limit: 3, Window: time.Minute}
	return p
}

// log is what evosink logs, for tests that look at it.
type log struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func start(t testing.TB, p exec.Plugin) (sink.Sink, *log) {
	t.Helper()
	f, err := exec.Factory("probe", p)
	if err != nil {
		t.Fatal(err)
	}
	return startOf(t, f)
}

func startOf(t testing.TB, f *sink.Factory) (sink.Sink, *log) {
	t.Helper()
	out := &log{}
	s, err := f.New(sink.Host{Logger: zerolog.New(out)})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start(context.Background()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stop(t, s) })
	return s, out
}

func stop(t testing.TB, s sink.Sink) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := s.Close(ctx); err != nil {
		t.Error(err)
	}
	if ctx.Err() != nil {
		t.Error("the plugin had to be cut off")
	}
}

// health waits until the sink's health has the text; empty means that it is well.
func health(t testing.TB, s sink.Sink, want string) {
	t.Helper()
	eventually(t, fmt.Sprintf("health %q", want), func() (string, bool) {
		err := s.(sink.Checker).Check(context.Background())
		return fmt.Sprint(err), err == nil && want == "" || err != nil && want != "" && strings.Contains(err.Error(), want)
	})
}

func eventually(t testing.TB, what string, f func() (string, bool)) {
	t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		is, ok := f()
		if ok {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%s: it is %s", what, is)
		}
	}
}

func delivery(instance, id, data string) *sink.Delivery {
	return &sink.Delivery{
		Event: &event.Event{ID: id, Name: "messages.upsert", Instance: instance, Time: time.Now(), Data: json.RawMessage(data)},
		Scope: sink.Global, Target: "global", Attempt: 1, Key: id + "/global",
	}
}

// deliver tries until the sink does not say that the plugin is down.
func deliver(t testing.TB, s sink.Sink, d *sink.Delivery) (err error) {
	t.Helper()
	eventually(t, "deliver", func() (string, bool) {
		err = s.Deliver(context.Background(), d)
		return fmt.Sprint(err), !sink.IsUnavailable(err)
	})
	return err
}
