package core

import (
	"context"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/evosink/evosink/core/bus"
	"github.com/evosink/evosink/core/sink"
)

// live is the router's handler of a sink of mode Live: it delivers each event to the sink's targets. It never fails: a
// client that cannot be reached now has missed the event. What waits for an event ([Hub.Settle], sink.Host.Reached)
// need not wait for the rest of its batch. When the subscription has ended the rest is left out: the sink is about to
// be closed.
func (r *sinkRunner) live(b *bus.Batch) error {
	for i, m := range b.Messages {
		if b.Context().Err() != nil {
			return nil
		}
		if b.Cursors == nil {
			r.deliver(b.Context(), m, 0)
			continue
		}
		at := b.Cursors[i]
		r.deliver(b.Context(), m, at.Position)
		r.progress.reach(at.Shard, at.Position)
	}
	return nil
}

// deliver delivers the event of a message, which is at a position of the log, 0 if that is unknown.
func (r *sinkRunner) deliver(ctx context.Context, m *message.Message, at bus.Position) {
	e, err := bus.Event(m)
	if err != nil {
		r.log.Warn().Err(err).Str("message", m.UUID).Msg("message on the bus skipped")
		return
	}
	if err := r.registry.CatchUp(ctx, bus.Revision(m)); err != nil {
		r.log.Warn().Err(err).Str("id", e.ID).
			Msg("what other nodes changed before an event is not known; it is delivered by the settings that are")
	}
	destinations, settings := r.destinations(e)
	for _, to := range destinations {
		d := &sink.Delivery{
			Event: e, Scope: to.Scope, Target: to.Target, Settings: settings.Raw,
			Attempt: 1, Key: sink.Key(e, to.Target), Position: int64(at),
		}
		if err := recovered(func() error { return r.get().Deliver(ctx, d) }); err != nil {
			r.failed.Add(1)
			r.log.Warn().Err(err).Str("id", e.ID).Str("event", e.Name).Msg("live delivery failed")
			continue
		}
		r.delivered.Add(1)
	}
}
