// Package sinktest is the contract suite of sinks: whatever implements sink.Sink runs it, and
// each rule says what goes wrong in production when it is broken.
package sinktest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/evosink/evosink/core/event"
	"github.com/evosink/evosink/core/sink"
)

// patience bounds every wait of the suite: long enough for a loaded machine, and only ever used up by a failure.
const patience = 20 * time.Second

// A Subject is the sink under test, with the means to see what it delivers.
type Subject struct {
	// New makes a fresh, not yet started sink with its target up and reachable.
	New func(t *testing.T, h sink.Host) sink.Sink
	// Listen begins to record what arrives at the target and returns a function that gives, in order of arrival, the ids
	// of the events arrived so far. It is called after Start.
	Listen func(t *testing.T, s sink.Sink) (arrived func() []string)
	// Scope and Target of the deliveries, and the Instance's settings if they need any.
	Scope    sink.Scope
	Target   sink.Target
	Settings json.RawMessage
	// Directory for the host; nil gives one that knows the instance "sales" with Settings and the global key "key".
	Directory sink.Directory
	// Live says that the sink is of mode Live: what happens before Listen is not delivered.
	Live bool
}

// Run holds the subject to the contract of sink.Sink.
func Run(t *testing.T, s Subject) {
	t.Run("Close without Start returns nil", s.closesUnstarted)
	t.Run("Start and Close return promptly, and Close can be repeated", s.closesTwice)
	t.Run("what is delivered arrives once, in order, unchanged", s.delivers)
	t.Run("deliveries of many instances run at once", s.deliversConcurrently)
	t.Run("a delivery whose context has ended returns", s.endsWithContext)
	t.Run("a batch has an answer for each delivery and keeps their order", s.deliversBatches)
}

// Host returns a host for tests, with the subject's directory.
func (s Subject) host(t *testing.T) sink.Host {
	d := s.Directory
	if d == nil {
		d = Directory{Key: "key", Settings: map[string]json.RawMessage{"sales": s.Settings}}
	}
	return sink.Host{Logger: zerolog.New(zerolog.NewTestWriter(t)).Level(zerolog.WarnLevel), Directory: d}
}

func (s Subject) start(t *testing.T) sink.Sink {
	t.Helper()
	it := s.New(t, s.host(t))
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	within(t, "Start, which must not wait for its target (a target that is down would hold up evosink's start)", func() error {
		return it.Start(ctx)
	})
	t.Cleanup(func() { stop(t, it) })
	return it
}

func stop(t *testing.T, it sink.Sink) {
	t.Helper()
	within(t, "Close (a sink that does not close holds up every restart)", func() error {
		ctx, cancel := context.WithTimeout(context.Background(), patience/2)
		defer cancel()
		return it.Close(ctx)
	})
}

func within(t *testing.T, what string, f func() error) {
	t.Helper()
	done := make(chan error, 1)
	go func() { done <- f() }()
	select {
	case err := <-done:
		if err != nil {
			t.Errorf("%s: %v", what, err)
		}
	case <-time.After(patience):
		t.Fatalf("%s has not returned after %v", what, patience)
	}
}

func (s Subject) closesUnstarted(t *testing.T) { stop(t, s.New(t, s.host(t))) }

func (s Subject) closesTwice(t *testing.T) { stop(t, s.start(t)) }

func (s Subject) delivers(t *testing.T) {
	it := s.start(t)
	arrived := s.Listen(t, it)
	var want []string
	for i := range 50 {
		d := s.delivery("sales", fmt.Sprintf("ordered-%03d", i))
		before := bytes.Clone(d.Event.Data)
		within(t, "Deliver", func() error { return it.Deliver(t.Context(), d) })
		if !bytes.Equal(before, d.Event.Data) {
			t.Fatal("Deliver changed the event's data, which every other sink shares")
		}
		want = append(want, d.Event.ID)
	}
	await(t, len(want), arrived)
	if got := arrived(); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("arrived %v\nwant    %v", got, want)
	}
}

func (s Subject) deliversConcurrently(t *testing.T) {
	it := s.start(t)
	arrived := s.Listen(t, it)
	const lanes, each = 8, 20
	var wg sync.WaitGroup
	for lane := range lanes {
		wg.Go(func() {
			for i := range each {
				d := s.delivery("sales", fmt.Sprintf("lane-%d-%02d", lane, i))
				if err := it.Deliver(t.Context(), d); err != nil {
					t.Errorf("Deliver: %v", err)
				}
			}
		})
	}
	wg.Wait()
	await(t, lanes*each, arrived)
	last := map[string]string{}
	for _, id := range arrived() {
		lane := id[:6]
		if id <= last[lane] {
			t.Errorf("%s arrived after %s: a consumer sees an older state last", id, last[lane])
		}
		last[lane] = id
	}
}

// deliversBatches holds a [sink.Batcher] to its contract, and others to nothing.
func (s Subject) deliversBatches(t *testing.T) {
	it := s.start(t)
	batcher, ok := it.(sink.Batcher)
	if !ok {
		return
	}
	arrived := s.Listen(t, it)
	var batch []*sink.Delivery
	for i := range 60 {
		batch = append(batch, s.delivery("sales", fmt.Sprintf("batch-%02d", i)))
	}
	errs := batcher.DeliverBatch(t.Context(), batch)
	if len(errs) != len(batch) {
		t.Fatalf("%d answers to %d deliveries: the queue takes the whole batch for failed, again and again",
			len(errs), len(batch))
	}
	if err := errors.Join(errs...); err != nil {
		t.Fatalf("DeliverBatch: %v", err)
	}
	await(t, len(batch), arrived)
	for i, id := range arrived() {
		if want := batch[i].Event.ID; id != want {
			t.Fatalf("arrival %d of a batch is %s, want %s: a consumer sees an older state last", i, id, want)
		}
	}
	again := batch[len(batch)/2:] // as after a failure in the middle
	for i, err := range batcher.DeliverBatch(t.Context(), again) {
		if err != nil {
			t.Fatalf("%s is delivered again, as after a failure before it: %v", again[i].Event.ID, err)
		}
	}
	if errs := batcher.DeliverBatch(t.Context(), nil); len(errs) != 0 {
		t.Errorf("an empty batch has %d answers", len(errs))
	}
}

func (s Subject) endsWithContext(t *testing.T) {
	it := s.start(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = it.Deliver(ctx, s.delivery("sales", "cancelled")) // any result will do
	}()
	select {
	case <-done:
	case <-time.After(patience):
		t.Error("Deliver goes on after its context has ended: it would hold a worker for ever")
	}
}

func (s Subject) delivery(instance, id string) *sink.Delivery {
	e := &event.Event{
		ID: id, Name: "messages.upsert", Instance: instance, Time: time.Now().UTC(),
		Data: json.RawMessage(fmt.Sprintf(`{"text":"<%s> ünï & more"}`, id)),
	}
	return &sink.Delivery{
		Event: e, Scope: s.Scope, Target: s.Target, Settings: s.Settings, Attempt: 1, Key: sink.Key(e, s.Target),
	}
}

func await(t *testing.T, n int, arrived func() []string) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for len(arrived()) < n {
		if time.Now().After(deadline) {
			t.Fatalf("%d of %d events arrived within %v: the others are lost", len(arrived()), n, patience)
		}
		time.Sleep(time.Millisecond)
	}
}
