//go:build unix

package examples_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	osexec "os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"go.uber.org/goleak"

	"github.com/evosink/evosink/core/event"
	"github.com/evosink/evosink/core/sink"
	"github.com/evosink/evosink/plugins/exec"
	"github.com/evosink/evosink/plugins/exec/plugintest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds every wait; only a failure uses it up.
const patience = 60 * time.Second

// need skips when a language is not there, unless the gate says that it must be.
func need(t *testing.T, program string) {
	t.Helper()
	if _, err := osexec.LookPath(program); err != nil {
		if os.Getenv("EVOSINK_REQUIRE_CLIENTS") != "" {
			t.Fatalf("%s is required here: %v", program, err)
		}
		t.Skipf("needs %s", program)
	}
}

// install copies an example's folder, so that what a test leaves behind is not in the tree.
func install(t *testing.T, language string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(language)); err != nil {
		t.Fatal(err)
	}
	return dir
}

// site is one example as evosink runs it: dropped into a folder, configured by variables, which are texts.
type site struct {
	t    *testing.T
	sink sink.Sink
	mu   sync.Mutex
	pids []int
}

// Write takes the log, for the process ids in it.
func (s *site) Write(line []byte) (int, error) {
	var entry struct{ PID int }
	if json.Unmarshal(line, &entry) == nil && entry.PID > 0 {
		s.mu.Lock()
		s.pids = append(s.pids, entry.PID)
		s.mu.Unlock()
	} else if testing.Verbose() {
		s.t.Logf("%s", line)
	}
	return len(line), nil
}

func run(t *testing.T, dir, name string, config map[string]any) *site {
	t.Helper()
	p := exec.DefaultPlugin()
	p.Config = config
	p.Restart = exec.Restart{Min: time.Millisecond, Max: 20 * time.Millisecond, Limit: 1000, Window: time.Minute}
	section := exec.Config{Dir: dir, Plugins: map[string]exec.Plugin{name: p}}
	factories, err := section.Factories()
	if err != nil || len(factories) != 1 || !factories[0].Rule().Global {
		t.Fatalf("%d factories, %v", len(factories), err)
	}
	s := &site{t: t}
	if s.sink, err = factories[0].New(sink.Host{Logger: zerolog.New(s)}); err != nil {
		t.Fatal(err)
	}
	if err := s.sink.Start(context.Background()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := s.sink.Close(ctx); err != nil || ctx.Err() != nil {
			t.Errorf("close: %v", err)
		}
	})
	s.until("ready", func() bool { return s.sink.(sink.Checker).Check(context.Background()) == nil })
	return s
}

// keepsTheRules holds an example to the protocol; what it delivers to must be there.
func keepsTheRules(t *testing.T, path string, config map[string]any) {
	t.Helper()
	err := plugintest.Run(t.Context(), plugintest.Subject{Path: path, Config: config, Accept: true, Timeout: patience}, func(r plugintest.Result) {
		if r.Err != nil {
			t.Errorf("%s: %v", r.Rule, r.Err)
		}
	})
	if err != nil {
		t.Error(err)
	}
}

func (s *site) until(what string, f func() bool) {
	s.t.Helper()
	for end := time.Now().Add(patience); !f(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			s.t.Fatalf("not %s: %v", what, s.sink.(sink.Checker).Check(context.Background()))
		}
	}
}

// deliver makes one attempt.
func (s *site) deliver(instance, id string) error {
	return s.sink.Deliver(context.Background(), &sink.Delivery{
		Event: &event.Event{ID: id, Name: "messages.upsert", Instance: instance, Time: time.Now(), Data: json.RawMessage(fmt.Sprintf("{\n\"id\":%q,\"text\":\"ol\u00e1 \u2028\"}", id))},
		Scope: sink.Global, Target: "global", Attempt: 1, Key: id + "/global",
	})
}

const (
	instances = 8
	each      = 50
	kills     = 4
)

// load delivers as the queue does, only the head of each lane and again until it is acknowledged, while the plugin is killed.
func (s *site) load() {
	var done sync.WaitGroup
	for lane := range instances {
		done.Go(func() {
			for i := range each {
				for s.deliver(fmt.Sprint("i", lane), fmt.Sprintf("%d:%03d", lane, i)) != nil {
					time.Sleep(time.Millisecond)
				}
				time.Sleep(2 * time.Millisecond)
			}
		})
	}
	for n := range kills {
		s.until("started again", func() bool { s.mu.Lock(); defer s.mu.Unlock(); return len(s.pids) > n })
		time.Sleep(10 * time.Millisecond) // of load; any other time would do as well
		s.mu.Lock()
		_ = syscall.Kill(s.pids[n], syscall.SIGKILL)
		s.mu.Unlock()
	}
	done.Wait()
}

// complete checks that each lane has arrived in order, with repetitions at most.
func complete(t *testing.T, ids []string) {
	t.Helper()
	next := map[string]int{}
	for _, id := range ids {
		lane, number, _ := strings.Cut(id, ":")
		var n int
		_, _ = fmt.Sscanf(number, "%d", &n)
		switch {
		case n == next[lane]:
			next[lane]++
		case n > next[lane]:
			t.Fatalf("lane %s: %d came instead of %d", lane, n, next[lane])
		}
	}
	for lane := range instances {
		if n := next[fmt.Sprint(lane)]; n != each {
			t.Errorf("lane %d: %d of %d events", lane, n, each)
		}
	}
}

func TestGoPostsToAnIncomingWebhookAndLosesNothingWhenKilled(t *testing.T) {
	dir := install(t, "go")
	build := osexec.Command("go", "build", "-o", filepath.Join(dir, "slack"), ".")
	build.Dir = "go"
	build.Env = append(os.Environ(), "GOFLAGS=-mod=mod", "GOPROXY=off")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	var mu sync.Mutex
	var got []string
	status := http.StatusOK
	receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		body, _ := io.ReadAll(r.Body)
		if status == http.StatusOK {
			got = append(got, string(body))
		}
		w.Header().Set("Retry-After", map[int]string{429: "7"}[status])
		w.WriteHeader(status)
	}))
	defer receiver.Close()
	keepsTheRules(t, filepath.Join(dir, "slack"), map[string]any{"url": receiver.URL})
	got = nil
	s := run(t, dir, "slack", map[string]any{"url": receiver.URL})
	for i := range each {
		if err := s.deliver("sales", fmt.Sprint(i)); err != nil {
			t.Fatal(err)
		}
	}
	if len(got) != each || got[0] != "{\"text\":\"*sales* messages.upsert\\n```{ \\\"id\\\":\\\"0\\\",\\\"text\\\":\\\"ol\u00e1 \\\\u2028\\\"}```\"}" {
		t.Errorf("%d arrived, the first is %s", len(got), got[0])
	}
	answer := func(code int) error {
		mu.Lock()
		status = code
		mu.Unlock()
		return s.deliver("sales", "x")
	}
	if err := answer(404); !sink.IsPermanent(err) || err.Error() != "HTTP 404 Not Found" {
		t.Errorf("404: %v", err)
	}
	if d, ok := sink.AfterOf(answer(429)); !ok || d != 7*time.Second {
		t.Errorf("429: %v", d)
	}
	if err := answer(503); !sink.IsUnavailable(err) {
		t.Errorf("503: %v", err)
	}
	_ = answer(200)
	got = nil
	s.load()
	var ids []string
	for _, body := range got {
		_, rest, _ := strings.Cut(body, `\"id\":\"`)
		id, _, _ := strings.Cut(rest, `\"`)
		ids = append(ids, id)
	}
	complete(t, ids)
}

func TestNodeAppendsToAFileThatRotatesAndLosesNothingWhenKilled(t *testing.T) {
	need(t, "node")
	path := filepath.Join(t.TempDir(), "events.ndjson")
	dir := install(t, "node")
	keepsTheRules(t, filepath.Join(dir, "files.js"), map[string]any{"path": path + ".rules"})
	s := run(t, dir, "files", map[string]any{"path": path, "max_bytes": "20000", "keep": "9"})
	s.load()
	var ids []string
	for i := 9; i >= 0; i-- {
		name := path
		if i > 0 {
			name += fmt.Sprint(".", i)
		}
		f, err := os.Open(name)
		if err != nil {
			continue
		}
		for lines := bufio.NewScanner(f); lines.Scan(); {
			var e struct {
				ID, Event string
				Data      struct{ Text string }
			}
			if err := json.Unmarshal(lines.Bytes(), &e); err != nil || e.Event != "messages.upsert" || e.Data.Text != "ol\u00e1 \u2028" {
				t.Errorf("%s: %s %v", name, lines.Bytes(), err)
			}
			ids = append(ids, e.ID)
		}
		f.Close()
	}
	complete(t, ids)
	if _, err := os.Stat(path + ".1"); err != nil {
		t.Errorf("the file was not rotated: %v", err)
	}
}

func TestPythonInsertsIntoATableAndLosesNothingWhenKilled(t *testing.T) {
	need(t, "python3")
	path := filepath.Join(t.TempDir(), "events.db")
	dir := install(t, "python")
	keepsTheRules(t, filepath.Join(dir, "sql.py"), map[string]any{"database": path + ".rules"})
	s := run(t, dir, "sql", map[string]any{"database": path})
	s.load()
	query := "import sqlite3, sys\nfor row in sqlite3.connect(sys.argv[1]).execute('SELECT key, data FROM events ORDER BY rowid'): print(*row)"
	out, err := osexec.Command("python3", "-c", query, path).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	var ids []string
	for line := range strings.Lines(string(out)) {
		id, data, _ := strings.Cut(strings.TrimSpace(line), "/global ")
		if data != `{"id": "`+id+`", "text": "ol\u00e1 \u2028"}` {
			t.Errorf("%s has %s", id, data)
		}
		ids = append(ids, id)
	}
	complete(t, ids)
	if len(ids) != instances*each {
		t.Errorf("%d rows for %d events", len(ids), instances*each)
	}
}
