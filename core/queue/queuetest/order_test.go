package queuetest_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/evosink/evosink/adapters/memory"
	"github.com/evosink/evosink/core/queue"
	"github.com/evosink/evosink/core/queue/queuetest"
	"github.com/evosink/evosink/core/sink"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var errFull = errors.New("full")

// A target takes batches and refuses one event of each, the first time. What a fault does with what comes again is its
// own affair.
type target struct {
	again func(taken bool) bool // whether it takes an event, given whether it has taken it before

	mu      sync.Mutex
	refused map[string]bool
	taken   map[string]bool
	arrived []string
	sent    int
}

func newTarget(again func(taken bool) bool) *target {
	return &target{again: again, refused: map[string]bool{}, taken: map[string]bool{}}
}

func (s *target) Start(context.Context) error { return nil }
func (s *target) Close(context.Context) error { return nil }

func (s *target) Deliver(ctx context.Context, d *sink.Delivery) error {
	return s.DeliverBatch(ctx, []*sink.Delivery{d})[0]
}

func (s *target) DeliverBatch(_ context.Context, batch []*sink.Delivery) []error {
	s.mu.Lock()
	defer s.mu.Unlock()
	errs := make([]error, len(batch))
	for i, d := range batch {
		s.sent++
		if id := d.Event.ID; strings.HasSuffix(id, "7") && !s.refused[id] {
			s.refused[id], errs[i] = true, errFull
		} else if s.again(s.taken[id]) {
			s.taken[id], s.arrived = true, append(s.arrived, id)
		}
	}
	return errs
}

func (s *target) order(t testing.TB, n int) queuetest.Order {
	engine, err := memory.New(memory.DefaultConfig())
	if err != nil {
		t.Fatal(err)
	}
	return queuetest.Order{
		Store: engine.Queue(), Sink: s, N: n, Arrived: func() []string { return s.arrived },
		To: queue.Destination{Lane: queue.LaneKey{Sink: "x", Target: "global", Instance: "sales"}, Scope: sink.Global},
	}
}

func always(bool) bool { return true }

// once is a fault: a target that drops what it has taken before, as one with deduplication ids does.
func once(taken bool) bool { return !taken }

func TestALaneIsLeftInOrderAndFewOfItsEventsComeTwice(t *testing.T) {
	s := newTarget(always)
	got := s.order(t, 300).Run(t)
	if got.Overtook == 0 {
		t.Error("nothing was refused in the middle of a batch: this test shows nothing")
	}
	// After a refusal the lane's batches are of one event, of two, of four: of the thirty refusals each has few behind
	// it.
	if got.Repeats > 300 {
		t.Errorf("%d of 300 events came again: what is behind a refused one is sent too eagerly", got.Repeats)
	}
}

// What stands behind a delivery that fails is not sent with every attempt of it.
func TestNothingIsSentBehindADeliveryThatGoesOnFailing(t *testing.T) {
	s := newTarget(always)
	fails := 0
	stubborn := &stubborn{target: s, fails: &fails}
	o := s.order(t, 100)
	o.Sink = stubborn
	o.Run(t)
	if fails < 4 || stubborn.behind > 64 {
		t.Errorf("in %d failed attempts %d deliveries were sent behind the one that failed, want those of the first batch only",
			fails, stubborn.behind)
	}
}

// stubborn refuses its first event four times, too few for a breaker.
type stubborn struct {
	*target
	fails  *int
	behind int
}

func (s *stubborn) DeliverBatch(ctx context.Context, batch []*sink.Delivery) []error {
	if batch[0].Event.ID != "000000" || *s.fails == 4 {
		return s.target.DeliverBatch(ctx, batch)
	}
	*s.fails++
	s.behind += len(batch) - 1
	errs := s.target.DeliverBatch(ctx, batch)
	errs[0] = errFull
	return errs
}

// TestFaulty is what TestAFaultIsFound runs in a process of its own.
func TestFaulty(t *testing.T) {
	if os.Getenv("EVOSINK_FAULTY") == "" {
		t.Skip("runs in a process of its own, see TestAFaultIsFound")
	}
	newTarget(once).order(t, 100).Run(t)
}

func TestAFaultIsFound(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, "-test.run=^TestFaulty$", "-test.timeout=120s")
	cmd.Env = append(os.Environ(), "EVOSINK_FAULTY=1")
	out, err := cmd.CombinedOutput()
	if want := "not again behind it"; err == nil || !strings.Contains(string(out), want) {
		t.Errorf("a target that drops what it has taken before passes: %v\n%s", err, out)
	}
}
