package main

import (
	"context"
	"errors"
	"time"

	"github.com/evosink/evosink/sinks/websocket/peers/internal/control"
	"github.com/evosink/evosink/sinks/websocket/peers/internal/crowd"
)

const (
	watchers = 500
	stuck    = watchers / 20
)

// slow sends 30 events of 16 KiB per second to 500 clients, first while all
// read, then while one in twenty does not read at all.
func slow(reading, stalled time.Duration) func(context.Context, *trial) error {
	return func(ctx context.Context, t *trial) error {
		c, err := t.crowd(ctx, watchers, everywhere)
		if err != nil {
			return err
		}
		defer c.Close()
		if err := t.stream(ctx, c, watchers, reading, allRead); err != nil {
			return err
		}
		c.Pause(stuck)
		return t.stream(ctx, c, watchers-stuck, stalled, someStuck)
	}
}

// What a stream records.
type streamFigures struct{ p99, peak, lost figure }

var (
	allRead   = streamFigures{readingP99, readingPeak, readingLost}
	someStuck = streamFigures{stuckP99, stuckPeak, stuckLost}
)

// stream emits for a while and records how readers fare. What a server has not
// sent them when it stalls is lost.
func (t *trial) stream(ctx context.Context, c *crowd.Crowd, readers int, length time.Duration, f streamFigures) error {
	o := control.Order{Size: large, Burst: 1, Every: time.Second / 30, Events: int(length * 30 / time.Second)}
	expected := readers * o.Events
	got, err := t.emit(ctx, c, readers, o)
	switch {
	case errors.Is(err, errStalled):
		t.record(stalls, 1)
	case err != nil:
		return err
	}
	t.record(f.lost, 100*float64(max(0, expected-got))/float64(expected))
	t.record(f.p99, milliseconds(c.Delays.Quantile(0.99)))
	_, peak, err := t.memory()
	if err != nil {
		return err
	}
	t.record(f.peak, float64(peak)/(1<<20))
	return nil
}
