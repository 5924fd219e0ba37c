package tasks_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/evosink/evosink/sinks/websocket/internal/tasks"
)

func TestWaitReturnsWhenTheLastHasEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g tasks.Group
		if err := g.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		g.Go(func() {
			time.Sleep(time.Second)
			g.Go(func() { time.Sleep(time.Second) }) // while Wait waits
		})
		if err := g.Wait(t.Context()); err != nil || time.Since(start) != 2*time.Second {
			t.Errorf("waited %v: %v", time.Since(start), err)
		}
	})
}

func TestWaitingEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g tasks.Group
		g.Go(func() { time.Sleep(time.Minute) })
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := g.Wait(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		if err := g.Wait(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func TestNothingStartsAfterClose(t *testing.T) {
	var g tasks.Group
	if err := g.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if g.Go(func() { t.Error("it has run") }) {
		t.Error("it has started")
	}
	if err := g.Close(t.Context()); err != nil {
		t.Error(err)
	}
}
