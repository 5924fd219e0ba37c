package memory

import (
	"context"

	"github.com/evosink/evosink/core/bus"
	"github.com/evosink/evosink/core/bus/tail"
	"github.com/evosink/evosink/core/event"
	"github.com/evosink/evosink/core/sink"
)

// Replay implements [sink.Log].
func (e *Engine) Replay(
	ctx context.Context, after int64, instance string, f func(position int64, e *event.Event) error,
) (end int64, err error) {
	if after < e.bornAt(instance) {
		return after, sink.ErrExpired
	}
	position := after
	for ctx.Err() == nil {
		entries, _, _ := e.log.After(tail.All, position)
		if e.lacks(instance, position) {
			return position, sink.ErrExpired // Publish has dropped what comes next while f was busy
		}
		if len(entries) == 0 {
			return position, nil
		}
		if err := visit(entries, instance, f); err != nil {
			return position, err
		}
		position = entries[len(entries)-1].Position
	}
	return position, ctx.Err()
}

// Find implements [sink.Log].
func (e *Engine) Find(ctx context.Context, id, instance string) (position int64, err error) {
	for position = e.bornAt(instance); ctx.Err() == nil; {
		entries, _, _ := e.log.After(tail.All, position)
		if len(entries) == 0 {
			return 0, sink.ErrExpired
		}
		for _, entry := range entries {
			position = entry.Position
			if entry.Message.UUID == id && (instance == "" || bus.InstanceOf(entry.Message) == instance) {
				return position, nil
			}
		}
	}
	return 0, ctx.Err()
}

func visit(entries []tail.Entry, instance string, f func(int64, *event.Event) error) error {
	for _, entry := range entries {
		ev, err := bus.Event(entry.Message)
		if err != nil || instance != "" && ev.Instance != instance {
			continue // a message of another kind, or another instance's event
		}
		if err := f(entry.Position, ev); err != nil {
			return err
		}
	}
	return nil
}
