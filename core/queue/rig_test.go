package queue_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"github.com/evosink/evosink/adapters/memory"
	"github.com/evosink/evosink/core/event"
	"github.com/evosink/evosink/core/queue"
	"github.com/evosink/evosink/core/queue/queuetest"
	"github.com/evosink/evosink/core/sink"
)

// target is a sink that answers as a test says and records what it took.
type target struct {
	deliver func(ctx context.Context, d *sink.Delivery) error // nil takes everything
	policy  *sink.Policy

	mu    sync.Mutex
	tries []try
}

// try is one attempt that a target saw.
type try struct {
	at       time.Time
	id       string
	instance string
	attempt  int
	err      error
}

func (s *target) Start(context.Context) error { return nil }
func (s *target) Close(context.Context) error { return nil }

func (s *target) Deliver(ctx context.Context, d *sink.Delivery) (err error) {
	at := time.Now()
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.tries = append(s.tries, try{at, d.Event.ID, d.Event.Instance, d.Attempt, err})
	}()
	if s.deliver == nil {
		return nil
	}
	return s.deliver(ctx, d)
}

func (s *target) Retry(*sink.Delivery) sink.Policy {
	if s.policy != nil {
		return *s.policy
	}
	return sink.DefaultPolicy()
}

func (s *target) seen() []try {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.tries)
}

// took returns the ids of what the target took, of one instance or of all.
func (s *target) took(instance string) (ids []string) {
	for _, t := range s.seen() {
		if t.err == nil && (instance == "" || t.instance == instance) {
			ids = append(ids, t.id)
		}
	}
	return ids
}

// rig is a queue under test with its store and sinks.
type rig struct {
	*queue.Queue
	t     *testing.T
	store queue.Store
}

// start runs a queue on a store until the test ends, or until rig.close.
func start(t *testing.T, store queue.Store, c queue.Config, outlets ...queue.Sink) *rig {
	t.Helper()
	q, err := queue.New(queue.Options{Store: store, Config: c, Sinks: outlets, Logger: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{q, t, store}
	t.Cleanup(r.close)
	begin(t, q, store)
	return r
}

// begin starts a queue, as that of the only node.
func begin(t *testing.T, q *queue.Queue, store queue.Store) {
	t.Helper()
	if err := errors.Join(q.Start(t.Context()), q.Acquire(t.Context(), queuetest.Alone(store)...)); err != nil {
		t.Fatal(err)
	}
}

func (r *rig) close() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := r.Close(ctx); err != nil {
		r.t.Errorf("Close: %v", err)
	}
}

func newStore(t testing.TB) *memory.Queue {
	engine, err := memory.New(memory.DefaultConfig())
	if err != nil {
		t.Fatal(err)
	}
	return engine.Queue()
}

func outlet(name string, s sink.Sink) queue.Sink { return queue.Sink{Name: name, Sink: s} }

func newEvent(instance, id string) *event.Event {
	return &event.Event{ID: id, Name: "messages.upsert", Instance: instance, Time: time.Now(), Data: json.RawMessage(`{}`)}
}

// to returns a destination of the sink "hook": the global target, shared by all instances.
func to(instance string) queue.Destination {
	return queue.Destination{Lane: queue.LaneKey{Sink: "hook", Target: "global", Instance: instance}, Scope: sink.Global}
}

// own returns a destination of the sink "hook": the instance's own target.
func own(instance string) queue.Destination {
	return queue.Destination{Lane: queue.LaneKey{Sink: "hook", Target: "instance", Instance: instance}, Scope: sink.Instance}
}

func (r *rig) put(e *event.Event, to ...queue.Destination) {
	r.t.Helper()
	if err := r.Put(r.t.Context(), e, to); err != nil {
		r.t.Fatalf("Put: %v", err)
	}
}

// fill puts n events, "0000" and on, into a destination's lane.
func (r *rig) fill(d queue.Destination, n int) {
	r.t.Helper()
	for i := range n {
		r.put(newEvent(d.Lane.Instance, fmt.Sprintf("%04d", i)), d)
	}
}

// bubble runs a test on fake time.
func bubble(t *testing.T, f func(t *testing.T)) {
	synctest.Test(t, f)
}

// after lets fake time pass and everything that happens then come to rest.
func after(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func ids(n int) (out []string) {
	for i := range n {
		out = append(out, fmt.Sprintf("%04d", i))
	}
	return out
}

func want[T any](t *testing.T, what string, got, want T) {
	t.Helper()
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}
