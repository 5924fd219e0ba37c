package memory

import (
	"context"

	"github.com/evosink/evosink/core/bus"
	"github.com/evosink/evosink/core/bus/tail"
	"github.com/evosink/evosink/core/event"
	"github.com/evosink/evosink/core/sink"
)

// Replay implements [sink.Log]. An event whose id was published twice counts where it came first.
func (e *Engine) Replay(ctx context.Context, after, instance string, f func(*event.Event) error) (end int64, err error) {
	position, ok := e.find(after, instance)
	if !ok {
		return 0, sink.ErrExpired
	}
	for ctx.Err() == nil {
		entries, _, floor := e.log.After(tail.All, position)
		if position < floor {
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

// find returns the position of the event with that id.
func (e *Engine) find(id, instance string) (position int64, ok bool) {
	for position = e.bornAt(instance); ; {
		entries, _, _ := e.log.After(tail.All, position)
		if len(entries) == 0 {
			return 0, false
		}
		for _, entry := range entries {
			position = entry.Position
			if entry.Message.UUID == id && (instance == "" || bus.InstanceOf(entry.Message) == instance) {
				return position, true
			}
		}
	}
}

func visit(entries []tail.Entry, instance string, f func(*event.Event) error) error {
	for _, entry := range entries {
		ev, err := bus.Event(entry.Message)
		if err != nil || instance != "" && ev.Instance != instance {
			continue // what carries no event is nobody's to replay
		}
		if err := f(ev); err != nil {
			return err
		}
	}
	return nil
}
