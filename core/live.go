package core

import (
	"github.com/evosink/evosink/core/bus"
	"github.com/evosink/evosink/core/sink"
)

// live is the router's handler of a sink of mode Live: it delivers each event to the sink's targets. It never fails: a
// client that cannot be reached now has missed the event.
func (r *sinkRunner) live(b *bus.Batch) error {
	defer func() {
		for _, at := range b.Cursors {
			r.progress.reach(at.Shard, at.Position)
		}
	}()
	for i, m := range b.Messages {
		var at bus.Cursor
		if b.Cursors != nil {
			at = b.Cursors[i]
		}
		e, err := bus.Event(m)
		if err != nil {
			r.log.Warn().Err(err).Str("message", m.UUID).Msg("message on the bus skipped")
			continue
		}
		if err := r.registry.CatchUp(b.Context(), bus.Revision(m)); err != nil {
			r.log.Warn().Err(err).Str("id", e.ID).
				Msg("what other nodes changed before an event is not known; it is delivered by the settings that are")
		}
		destinations, settings := r.destinations(e)
		for _, to := range destinations {
			d := &sink.Delivery{
				Event: e, Scope: to.Scope, Target: to.Target, Settings: settings.Raw,
				Attempt: 1, Key: sink.Key(e, to.Target), Position: int64(at.Position),
			}
			if err := recovered(func() error { return r.get().Deliver(b.Context(), d) }); err != nil {
				r.failed.Add(1)
				r.log.Warn().Err(err).Str("id", e.ID).Str("event", e.Name).Msg("live delivery failed")
				continue
			}
			r.delivered.Add(1)
		}
	}
	return nil
}
