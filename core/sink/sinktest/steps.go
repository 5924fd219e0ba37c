package sinktest

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/evosink/evosink/core/event"
	"github.com/evosink/evosink/core/sink"
)

// Patience bounds the waits below, and may bound a test's own: it is only ever used up by a failure.
const Patience = 30 * time.Second

// Start makes a sink and starts it; it is closed with the test. Without a host it knows no instance and logs nothing.
func Start[C any, S sink.Sink](t testing.TB, newSink func(C, sink.Host) (S, error), c C, hosts ...sink.Host) S {
	t.Helper()
	h := sink.Host{Logger: zerolog.Nop(), Directory: Directory{}}
	if len(hosts) > 0 {
		h = hosts[0]
	}
	s, err := newSink(c, h)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start(context.Background()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), Patience)
		defer cancel()
		if err := s.Close(ctx); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return s
}

// NewDelivery is an event on its way to the target of an instance, or with scope Global to the global one. It happened
// on 2025-10-21 at 14:00:39.512 UTC, and has a new id.
func NewDelivery(scope sink.Scope, instance, name string) *sink.Delivery {
	e := &event.Event{
		ID: event.NewID(), Name: name, Instance: instance, Time: time.Date(2025, 10, 21, 14, 0, 39, 512e6, time.UTC),
		ServerURL: "https://api.example", Sender: "5511999990000@s.whatsapp.net", APIKey: "token",
		Data: json.RawMessage(`{"pushName":"Ana <&> Zoë"}`),
	}
	return &sink.Delivery{Event: e, Scope: scope, Target: sink.Target(scope.String()), Attempt: 1, Key: sink.Key(e, sink.Target(scope.String()))}
}

// Deliver delivers, which must succeed.
func Deliver(t testing.TB, s sink.Sink, d *sink.Delivery) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	defer cancel()
	if err := s.Deliver(ctx, d); err != nil {
		t.Fatalf("Deliver: %v", err)
	}
}

// Eventually waits until f holds.
func Eventually(t testing.TB, what string, f func() bool) {
	t.Helper()
	for deadline := time.Now().Add(Patience); !f(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s", Patience, what)
		}
	}
}
