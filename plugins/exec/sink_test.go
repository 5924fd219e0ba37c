//go:build unix

package exec_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	osexec "os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/evosink/evosink/core/sink"
	"github.com/evosink/evosink/core/sink/sinktest"
	"github.com/evosink/evosink/plugins/exec"
)

// arrived reads what the mode record has recorded.
func arrived(t testing.TB, path string) []string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	return strings.Fields(string(b))
}

func TestAPluginKeepsTheContractOfASink(t *testing.T) {
	for _, mode := range []string{"queued", "live"} {
		t.Run(mode, func(t *testing.T) {
			var path string
			sinktest.Run(t, sinktest.Subject{
				New: func(t *testing.T, h sink.Host) sink.Sink {
					path = filepath.Join(t.TempDir(), "events")
					p := plugin(t, "record", path)
					p.Mode = mode
					f, err := exec.Factory("probe", p)
					if err != nil {
						t.Fatal(err)
					}
					s, err := f.New(h)
					if err != nil {
						t.Fatal(err)
					}
					return s
				},
				Listen: func(t *testing.T, s sink.Sink) func() []string {
					health(t, s, "") // the suite has no queue that would wait for the plugin
					at := path
					return func() []string { return arrived(t, at) }
				},
				Scope: sink.Global, Target: "global", Live: mode == "live",
			})
		})
	}
}

func TestAnswersBecomeTheMarksOfTheContract(t *testing.T) {
	s, _ := start(t, plugin(t, "picky"))
	health(t, s, "")
	ctx, answer := sink.WithReports(t.Context())
	err := s.Deliver(ctx, delivery("sales", "1", `"plain"`))
	if err == nil || err.Error() != "plain" || sink.IsPermanent(err) || sink.IsUnavailable(err) {
		t.Errorf("plain: %v", err)
	}
	if a := answer(); a == nil || a.Status != "nack" || string(a.Head) != "plain" {
		t.Errorf("reported %+v", a)
	}
	if err := s.Deliver(t.Context(), delivery("sales", "2", `"permanent"`)); !sink.IsPermanent(err) {
		t.Errorf("permanent: %v", err)
	}
	if d, ok := sink.AfterOf(s.Deliver(t.Context(), delivery("sales", "3", `"later"`))); !ok || d != 3*time.Second {
		t.Errorf("later: %v %v", d, ok)
	}
	if err := s.Deliver(t.Context(), delivery("sales", "4", `"down"`)); !sink.IsUnavailable(err) {
		t.Errorf("down: %v", err)
	}
}

// strict acknowledges what Perl's JSON decoder reads, which is as strict as those of jq, PHP and Ruby, and says what it
// does not.
const strict = `
use JSON::PP; $| = 1;
while (<STDIN>) {
	my $line = eval { decode_json($_) };
	if (!defined $line) { my ($id) = /"id":"(d-\d+)"/; print encode_json({type => "nack", id => $id, permanent => JSON::PP::true, error => $@}), "\n"; next }
	my $type = $line->{type};
	print encode_json({type => "ready", protocol => 1}), "\n" if $type eq "init";
	print encode_json({type => "ack", id => $line->{id}}), "\n" if $type eq "event";
	print encode_json({type => "pong"}), "\n" if $type eq "ping";
	if ($type eq "drain") { print encode_json({type => "drained"}), "\n"; exit }
}`

func TestHalfOfASurrogatePairDoesNotStopAPluginInPerl(t *testing.T) {
	perl, err := osexec.LookPath("perl")
	if err != nil || osexec.Command(perl, "-MJSON::PP", "-e", "1").Run() != nil {
		t.Skip("needs perl")
	}
	p := plugin(t, "")
	p.Command, p.Args = perl, []string{"-e", strict}
	s, _ := start(t, p)
	health(t, s, "")
	for i, data := range []string{`{"a":1}`, `{"text":"\ud800"}`, `["\uDC00\uD83D","\ud83d\ude00","\\ud800"]`, `{"\udfff":null}`} {
		d := delivery("sales", fmt.Sprint(i), data)
		d.Event.Extras = json.RawMessage(`{"progress":"\ud83d"}`)
		if err := deliver(t, s, d); err != nil {
			t.Errorf("%s: %v", data, err)
		}
	}
}

func TestVariablesBecomeWhatTheSchemaSays(t *testing.T) {
	p := plugin(t, "picky")
	p.Config = map[string]any{"port": "8080", "tags": "a, b", "on": "yes"} // as variables give it
	s, _ := start(t, p)
	health(t, s, "")
	err := s.Deliver(t.Context(), delivery("sales", "1", `"config"`))
	if err == nil || err.Error() != "{Port:8080 Tags:[a b] On:true}" {
		t.Errorf("the plugin got %v", err)
	}
}

func TestAConfigurationThatThePluginRefusesIsTheSinksHealth(t *testing.T) {
	p := plugin(t, "picky")
	p.Config = map[string]any{"port": 0}
	s, _ := start(t, p)
	health(t, s, `config.port does not meet "minimum" of the plugin's schema`)
}

func TestAPluginSeesOnlyTheVariablesOfTheAllowList(t *testing.T) {
	t.Setenv("AUTHENTICATION_API_KEY", "hidden")
	t.Setenv("SHOWN", "shown")
	p := plugin(t, "picky")
	p.Env = append(p.Env, "SHOWN")
	s, _ := start(t, p)
	health(t, s, "")
	err := s.Deliver(t.Context(), delivery("sales", "1", `"environment"`))
	if err == nil || strings.Contains(err.Error(), "hidden") || !strings.Contains(err.Error(), "SHOWN=shown") {
		t.Errorf("the plugin sees %v", err)
	}
}

func TestSettingsAreCheckedByThePluginsSchemaOnceItIsKnown(t *testing.T) {
	f, err := exec.Factory("probe", plugin(t, "picky"))
	if err != nil {
		t.Fatal(err)
	}
	set := func(block, previous string) (string, error) {
		out, err := f.Normalize(json.RawMessage(block), json.RawMessage(previous))
		return string(out), err
	}
	if _, err := set(`{"enabled":true,"room":7}`, ""); err != nil {
		t.Errorf("before the plugin is ready: %v", err)
	}
	s, _ := startOf(t, f)
	health(t, s, "")
	for block, want := range map[string]string{
		`{"enabled":true,"room":7}`:             "settings.room must be string, not number",
		`{"enabled":true,"room":"SECRET"}`:      `settings.room does not meet "pattern"`,
		`{"enabled":true}`:                      "settings lacks room",
		`{"enabled":true,"room":"a","other":1}`: "settings must not have other",
	} {
		if _, err := set(block, ""); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "SECRET") {
			t.Errorf("%s: got %v, want %q", block, err, want)
		}
	}
	got, err := set(`{"enabled":true,"room":"a","events":["CALL"]}`, "")
	if want := `{"enabled":true,"events":["CALL"],"room":"a"}`; err != nil || got != want {
		t.Errorf("stored %s, %v, want %s", got, err, want)
	}
	got, err = set(`{"enabled":false,"room":"b"}`, got)
	if want := `{"enabled":false,"events":["CALL"],"room":"b"}`; err != nil || got != want {
		t.Errorf("stored %s, %v, want %s", got, err, want)
	}
}

func TestALivePluginNeverBlocksAndLosesWhatItIsTooSlowFor(t *testing.T) {
	p := plugin(t, "picky")
	p.Mode = "live"
	s, _ := start(t, p)
	health(t, s, "")
	var lost int
	begin := time.Now()
	for range 2000 {
		if s.Deliver(t.Context(), delivery("sales", "1", `"sleep"`)) != nil {
			lost++
		}
	}
	if lost == 0 || time.Since(begin) > patience {
		t.Errorf("%d of 2000 were lost, in %v", lost, time.Since(begin))
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if err := s.Close(ctx); err != nil {
		t.Error(err)
	}
}

// TestNothingIsLostWhenThePluginIsKilledUnderLoad delivers lanes as the queue does: only the head of each, again until
// it is acknowledged.
func TestNothingIsLostWhenThePluginIsKilledUnderLoad(t *testing.T) {
	const laneCount, each, kills = 16, 150, 12
	path := filepath.Join(t.TempDir(), "events")
	p := plugin(t, "record", path)
	p.Restart.Limit = 1000
	s, log := start(t, p)
	health(t, s, "")
	var lanes sync.WaitGroup
	for lane := range laneCount {
		lanes.Go(func() {
			for i := range each {
				d := delivery("lane-"+strconv.Itoa(lane), strconv.Itoa(lane)+":"+strconv.Itoa(i), `{"text":"hello"}`)
				for s.Deliver(context.Background(), d) != nil {
					time.Sleep(time.Millisecond)
				}
				time.Sleep(2 * time.Millisecond) // so that the load lasts as long as the kills
			}
		})
	}
	for n := range kills {
		eventually(t, "another process", func() (string, bool) { return log.String(), len(pids(log.String())) > n })
		before := len(arrived(t, path))
		eventually(t, "load", func() (string, bool) {
			return "", len(arrived(t, path)) > before+10 || len(arrived(t, path)) >= laneCount*each
		})
		_ = syscall.Kill(pids(log.String())[n], syscall.SIGKILL)
	}
	lanes.Wait()
	last := make([]int, laneCount)
	for i := range last {
		last[i] = -1
	}
	twice := 0
	for _, id := range arrived(t, path) {
		lane, number, _ := strings.Cut(id, ":")
		l, _ := strconv.Atoi(lane)
		n, _ := strconv.Atoi(number)
		switch {
		case n == last[l]:
			twice++
		case n != last[l]+1:
			t.Fatalf("lane %d: %d came after %d", l, n, last[l])
		}
		last[l] = n
	}
	for l, n := range last {
		if n != each-1 {
			t.Errorf("lane %d ended with %d: the rest is lost", l, n)
		}
	}
	t.Logf("%d events, %d kills, %d delivered twice", laneCount*each, kills, twice)
}

// pids finds the processes in a log, in order.
func pids(log string) (out []int) {
	for line := range strings.Lines(log) {
		var entry struct {
			PID     int
			Message string
		}
		if json.Unmarshal([]byte(line), &entry) == nil && entry.Message == "the plugin is ready" {
			out = append(out, entry.PID)
		}
	}
	return out
}

func TestNoProcessIsLeftAfterClose(t *testing.T) {
	s, log := start(t, plugin(t, "good"))
	health(t, s, "")
	stop(t, s)
	for _, pid := range pids(log.String()) {
		if err := syscall.Kill(pid, 0); !errors.Is(err, syscall.ESRCH) {
			t.Errorf("process %d is still there, perhaps as a zombie: %v", pid, err)
		}
	}
	if err := s.Deliver(t.Context(), delivery("sales", "1", "{}")); !sink.IsUnavailable(err) {
		t.Errorf("Deliver after Close: %v", err)
	}
}

func TestAPluginEndsWithTheLifeOfItsSink(t *testing.T) {
	f, err := exec.Factory("probe", plugin(t, "good"))
	if err != nil {
		t.Fatal(err)
	}
	s, err := f.New(sink.Host{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	if err := s.Start(ctx); err != nil {
		t.Fatal(err)
	}
	health(t, s, "")
	cancel()
	health(t, s, "closed")
	stop(t, s)
}
