package memory_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/evosink/evosink/adapters/memory"
	"github.com/evosink/evosink/core/bus"
)

func TestAppendWaitsWhileTheLogIsFullOfWhatWasKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEngine(t, func(c *memory.Config) { c.Shards, c.MaxEvents = 1, 4 })
		b := e.Bus()
		c, err := b.Batches("g").Subscribe(t.Context(), bus.Topic(0))
		if err != nil {
			t.Fatal(err)
		}
		add := func(ctx context.Context) error {
			_, err := b.Append(ctx, 0, bus.Entry{Message: message.NewMessage("", nil)})
			return err
		}
		var at []bus.Cursor
		for range 4 {
			if err := add(t.Context()); err != nil {
				t.Fatal(err)
			}
			some := <-c
			at = append(at, some.Cursors...)
			some.Keep()
			some.Ack()
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := add(ctx); !errors.Is(err, bus.ErrOverloaded) {
			t.Errorf("with a log of kept batches Append returned %v", err)
		}
		added := make(chan error, 1)
		go func() { added <- add(t.Context()) }()
		synctest.Wait()
		if err := moveCursor(t, e, at[0]); err != nil {
			t.Fatal(err)
		}
		if err := <-added; err != nil {
			t.Errorf("with room for one Append returned %v", err)
		}
		if err := b.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}
