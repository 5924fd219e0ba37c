package core_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/evosink/evosink/core"
	"github.com/evosink/evosink/core/sink"
)

// gauge is a live sink that tells of itself.
type gauge struct{ *recorder }

var since = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

func (gauge) Measures() []sink.Measure { return []sink.Measure{{Name: "sessions", Value: 3}} }

func (gauge) Connection() (time.Time, error) { return since, errors.New("was refused") }

func TestStatsCountWhatWasEmittedAndWhatLiveSinksDelivered(t *testing.T) {
	var plain, told recorder
	plain.deliver = func(d *sink.Delivery) error {
		if string(d.Event.Data) == `{"n": 1}` {
			return errors.New("gone")
		}
		return nil
	}
	rule := sink.Rule{Global: true}
	f := sink.Use(sink.Spec[switches]{
		Name: "told", Mode: sink.Live,
		Defaults: func() switches { return switches{On: true} },
		Enabled:  func(c *switches) bool { return c.On },
		Rule:     func(*switches) sink.Rule { return rule },
		New:      func(switches, sink.Host) (sink.Sink, error) { return gauge{&told}, nil },
	})
	use("told", &told, rule) // makes its channels
	hub, _ := start(t, core.Options{}, use("plain", &plain, rule), f)
	for n := range 3 {
		e := upsert("sales", n)
		if err := hub.Emit(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := hub.Settle(ctx, "sales"); err != nil {
		t.Fatal(err)
	}
	// application.startup is emitted once the hub has started: before these, between them or behind.
	eventually(t, "four events, at both sinks", func() bool {
		s := hub.Stats()
		return s.Emitted == 4 && s.Sinks[0].Delivered+s.Sinks[0].Failed == 4 && s.Sinks[1].Delivered == 4
	})
	s := hub.Stats()
	if s.Emitted != 4 || len(s.Sinks) != 2 {
		t.Fatalf("Stats = %+v", s)
	}
	if p := s.Sinks[0]; p.Name != "plain" || p.Delivered != 3 || p.Failed != 1 || !p.Connected.IsZero() || p.LastError != nil || p.Measures != nil {
		t.Errorf("plain: %+v", p)
	}
	if g := s.Sinks[1]; g.Delivered != 4 || g.Connected != since || g.LastError == nil || len(g.Measures) != 1 {
		t.Errorf("told: %+v", g)
	}
}
