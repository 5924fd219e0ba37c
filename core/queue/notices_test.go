package queue_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/evosink/evosink/core/queue"
	"github.com/evosink/evosink/core/sink"
)

// A logbook holds the lines of a log.
type logbook struct {
	mu    sync.Mutex
	lines []line
}

// A line is one of a log, with the fields that notices have.
type line struct {
	Level, Message, Sink, Target, Instance, ID, Reason, Error, Down, About string
	Count, Waiting, Lines                                                  int

	at time.Time
}

// Write implements [io.Writer].
func (b *logbook) Write(text []byte) (int, error) {
	l := line{at: time.Now()}
	if err := json.Unmarshal(text, &l); err != nil {
		return 0, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.lines = append(b.lines, l)
	return len(text), nil
}

// with returns the lines whose message begins so.
func (b *logbook) with(message string) (out []line) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, l := range b.lines {
		if strings.HasPrefix(l.Message, message) {
			out = append(out, l)
		}
	}
	return out
}

func (b *logbook) all() []line { return b.with("") }

// startLogged is start with a log at level info.
func startLogged(t *testing.T, c queue.Config, outlets ...queue.Sink) (*rig, *logbook) {
	t.Helper()
	b := &logbook{}
	store := newStore(t)
	q, err := queue.New(queue.Options{Store: store, Config: c, Sinks: outlets,
		Logger: zerolog.New(b).Level(zerolog.InfoLevel)})
	if err != nil {
		t.Fatal(err)
	}
	begin(t, q, store)
	r := &rig{Queue: q, t: t}
	t.Cleanup(r.close)
	return r, b
}

func TestTheLogTellsWhenATargetGoesDownAndComesBack(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var up atomic.Bool
		up.Store(true)
		s := &target{policy: &sink.Policy{Base: 10 * time.Second, Max: 10 * time.Second, Factor: 1}}
		s.deliver = func(context.Context, *sink.Delivery) error {
			if up.Load() {
				return nil
			}
			return errors.New("post to hook.example: 503")
		}
		r, log := startLogged(t, queue.DefaultConfig(), outlet("hook", s))
		r.fill(to("a"), 3)
		after(time.Second)
		want(t, "lines in good weather", len(log.all()), 0)
		up.Store(false)
		r.fill(to("b"), 5)
		after(time.Second)
		first := log.all()
		if len(first) != 1 || first[0].Level != "info" || !strings.HasPrefix(first[0].Message, "delivery failed") ||
			first[0].Sink != "hook" ||
			first[0].Target != "global" || first[0].Instance != "b" || first[0].ID != "0000" ||
			first[0].Error != "post to hook.example: 503" {
			t.Fatalf("at the first failure the log has %+v", first)
		}
		after(10 * time.Minute)
		down := log.with("target down")
		if len(down) != 1 || len(log.all()) != 2 || down[0].Level != "warn" || down[0].Waiting != 5 ||
			down[0].Instance != "" || down[0].Error == "" {
			t.Fatalf("while the target is down the log has %+v", log.all())
		}
		after(5 * time.Hour)
		if still := log.with("target still down"); len(still) < 3 || len(still) > 5 || still[0].Waiting != 5 {
			t.Fatalf("in five hours the log has %+v", log.all())
		}
		up.Store(true)
		after(2 * time.Minute)
		back := log.with("target back")
		if len(back) != 1 || len(log.with("delivery failed")) != 1 || back[0].Level != "info" || back[0].Waiting != 5 {
			t.Fatalf("when it is back the log has %+v", log.all())
		}
		if d, err := time.ParseDuration(back[0].Down); err != nil || d < 5*time.Hour || d > 6*time.Hour {
			t.Errorf("it was down for %q", back[0].Down)
		}
	})
}

func TestTheLogCountsDeadLettersOncePerTargetAndMinute(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := &target{}
		s.deliver = func(ctx context.Context, d *sink.Delivery) error {
			if d.Event.Instance == "full" {
				<-ctx.Done()
				return ctx.Err()
			}
			return sink.Permanent(errors.New("410 Gone"))
		}
		c := queue.DefaultConfig()
		c.LaneLimit = 10
		r, log := startLogged(t, c, outlet("hook", s))
		const each, minutes = 7, 10
		for minute := range minutes {
			for i := range each {
				r.put(newEvent("a", fmt.Sprint(minute, i)), own("a"))
				r.put(newEvent(fmt.Sprint("i", minute), fmt.Sprint(minute, i)), to(fmt.Sprint("i", minute)))
				after(time.Second)
			}
			after(time.Minute - each*time.Second)
		}
		r.fill(own("full"), 25)
		after(2 * time.Minute)
		got, lines := map[string]int{}, map[string]int{}
		for _, l := range log.with("dead letters") {
			if l.Level != "warn" || l.Sink != "hook" || l.Reason == "permanent" && l.Error != "410 Gone" {
				t.Errorf("a line is %+v", l)
			}
			key := l.Target + " " + l.Instance + " " + l.Reason
			got[key] += l.Count
			lines[key]++
		}
		want(t, "dead letters", got, map[string]int{"instance a permanent": each * minutes,
			"global  permanent": each * minutes, "instance full full": 15})
		for key, n := range lines {
			if n > minutes+2 {
				t.Errorf("in %d minutes there are %d lines about %s", minutes+2, n, key)
			}
		}
	})
}

func TestADropTellsTheLog(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var up atomic.Bool
		c := queue.DefaultConfig()
		c.LaneLimit, c.DropOldest = 3, []string{"messages.upsert"}
		r, log := startLogged(t, c, outlet("hook", faulty(&up)))
		r.fill(to("a"), 10)
		after(5 * time.Minute)
		n := 0
		for _, l := range log.with("events dropped") {
			n += l.Count
		}
		want(t, "dropped", n, int(r.Stats()[0].Dropped))
		if n == 0 {
			t.Error("nothing was dropped: this test shows nothing")
		}
	})
}

// However many targets fail at once, lines are few, every target is counted, and tenants' targets do not hide the
// operator's.
func TestAStormOfFailuresIsFewLinesAndCountsEveryTarget(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var up atomic.Bool
		r, log := startLogged(t, queue.DefaultConfig(), outlet("hook", faulty(&up)))
		const targets = 3000
		for i := range targets {
			r.fill(own(fmt.Sprint("tenant-", i)), 1)
		}
		r.fill(to("somebody"), 1)
		after(10 * time.Minute)
		down, global := 0, 0
		for _, l := range log.with("target down") {
			if down++; l.Target == "global" {
				global++
			}
		}
		left := 0
		for _, l := range log.with("more of the same") {
			if strings.HasPrefix(l.About, "target down") {
				left += l.Lines
			}
		}
		want(t, "targets in lines and left out", down+left, targets+1)
		want(t, "lines about the operator's target", global, 1)
		perSecond := map[int64]int{}
		for _, l := range log.all() {
			perSecond[l.at.Unix()]++
		}
		for second, n := range perSecond {
			if n > 30 {
				t.Errorf("%d lines in second %d", n, second)
			}
		}
	})
}

// A target that fails and recovers with every other event has a line of each kind in a minute.
func TestAFlappingTargetHasFewLines(t *testing.T) {
	bubble(t, func(t *testing.T) {
		n := 0
		s := &target{policy: &sink.Policy{Base: time.Second, Factor: 1}}
		s.deliver = func(context.Context, *sink.Delivery) error {
			if n++; n%2 == 1 {
				return errBusy
			}
			return nil
		}
		r, log := startLogged(t, queue.DefaultConfig(), outlet("hook", s))
		r.fill(to("a"), 600) // a second each
		after(10 * time.Minute)
		failed, left := log.with("delivery failed"), 0
		for _, l := range log.with("more of the same") {
			left += l.Lines
		}
		if len(failed) > 11 || len(log.all()) > 80 || len(failed)+left < 590 {
			t.Errorf("600 failures are %d lines and %d left out, of %d lines in all", len(failed), left, len(log.all()))
		}
	})
}

func TestWhatIsLostAtTheEndIsTold(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := &target{}
		s.deliver = func(context.Context, *sink.Delivery) error { return sink.Permanent(errBusy) }
		r, log := startLogged(t, queue.DefaultConfig(), outlet("hook", s))
		r.fill(to("a"), 1)
		after(time.Second)
		r.fill(to("b"), 30)
		after(time.Second)
		r.close()
		n := 0
		for _, l := range log.with("dead letters") {
			n += l.Count
		}
		want(t, "dead letters told", n, 31)
	})
}

func TestNoSecretGetsIntoTheLog(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := &target{}
		s.deliver = func(context.Context, *sink.Delivery) error {
			return errors.New(`Post "https://user:hunter2@hook.example:8443/services/T0/SECRET1?token=SECRET2#SECRET3": 401, Authorization: Bearer SECRET4, ` +
				`api_key=SECRET5 user:SECRET12@host:99 amqp://guest:SECRET6@mq/vhost "apikey":"SECRET7"` + strings.Repeat("x", 5000))
		}
		log := &bytes.Buffer{}
		store := newStore(t)
		q, err := queue.New(queue.Options{Store: store, Config: queue.DefaultConfig(),
			Sinks: []queue.Sink{outlet("hook", s)}, Logger: zerolog.New(log)})
		if err != nil {
			t.Fatal(err)
		}
		begin(t, q, store)
		r := &rig{Queue: q, t: t}
		d := own("a")
		d.Lane.Target = "https://u:SECRET8@hook.example/SECRET9"
		e := newEvent("a", "0000")
		e.Data, e.APIKey = json.RawMessage(`{"text":"SECRET10"}`), "SECRET11"
		r.put(e, d)
		after(time.Minute)
		r.close()
		got := log.String()
		if strings.Contains(got, "SECRET") || strings.Contains(got, "hunter2") ||
			!strings.Contains(got, "https://hook.example:8443") || len(got) > 2000 {
			t.Errorf("the log: %s", got)
		}
	})
}
