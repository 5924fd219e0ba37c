package sinktest_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"github.com/evosink/evosink/core/sink"
	"github.com/evosink/evosink/core/sink/sinktest"
)

// A shelf is a sink that takes batches and keeps ids; change is its fault.
type shelf struct {
	change func(batch []*sink.Delivery, errs []error) ([]*sink.Delivery, []error)

	mu  sync.Mutex
	ids []string
}

func (s *shelf) Start(context.Context) error { return nil }
func (s *shelf) Close(context.Context) error { return nil }

func (s *shelf) Deliver(ctx context.Context, d *sink.Delivery) error { return s.take(d) }

func (s *shelf) take(d *sink.Delivery) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ids = append(s.ids, d.Event.ID)
	return nil
}

func (s *shelf) DeliverBatch(_ context.Context, batch []*sink.Delivery) []error {
	batch, errs := s.change(batch, make([]error, len(batch)))
	for _, d := range batch {
		s.take(d)
	}
	return errs
}

func (s *shelf) arrived() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.ids...)
}

func run(t *testing.T, change func([]*sink.Delivery, []error) ([]*sink.Delivery, []error)) {
	sinktest.Run(t, sinktest.Subject{
		Scope: sink.Instance, Target: "instance",
		New: func(*testing.T, sink.Host) sink.Sink { return &shelf{change: change} },
		Listen: func(_ *testing.T, s sink.Sink) func() []string {
			return s.(*shelf).arrived
		},
	})
}

func TestASoundSinkPasses(t *testing.T) {
	run(t, func(batch []*sink.Delivery, errs []error) ([]*sink.Delivery, []error) { return batch, errs })
}

var faults = map[string]func([]*sink.Delivery, []error) ([]*sink.Delivery, []error){
	"answers once for all": func(batch []*sink.Delivery, errs []error) ([]*sink.Delivery, []error) {
		return batch, errs[:min(1, len(errs))]
	},
	"reorders": func(batch []*sink.Delivery, errs []error) ([]*sink.Delivery, []error) {
		batch = append([]*sink.Delivery(nil), batch...)
		if len(batch) > 10 {
			batch[3], batch[7] = batch[7], batch[3]
		}
		return batch, errs
	},
	"refuses what it has taken": func() func([]*sink.Delivery, []error) ([]*sink.Delivery, []error) {
		taken := map[string]bool{}
		return func(batch []*sink.Delivery, errs []error) ([]*sink.Delivery, []error) {
			for i, d := range batch {
				if taken[d.Key] {
					errs[i] = errors.New("duplicate key")
				}
				taken[d.Key] = true
			}
			return batch, errs
		}
	}(),
}

const faultVariable = "SINKTEST_FAULT"

// TestFaulty is what TestEveryFaultIsFound runs in a process of its own.
func TestFaulty(t *testing.T) {
	change, ok := faults[os.Getenv(faultVariable)]
	if !ok {
		t.Skip("runs as a child of TestEveryFaultIsFound")
	}
	run(t, change)
}

func TestEveryFaultIsFound(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for name := range faults {
		t.Run(name, func(t *testing.T) {
			cmd := exec.Command(self, "-test.run=^TestFaulty$", "-test.timeout=60s")
			cmd.Env = append(os.Environ(), faultVariable+"="+name)
			out, err := cmd.CombinedOutput()
			if err == nil ||
				!strings.Contains(string(out), "--- FAIL: TestFaulty/a_batch_has_an_answer_for_each_delivery_and_keeps_their_order") {
				t.Errorf("a sink that %s passes: %v\n%s", name, err, out)
			}
		})
	}
}
