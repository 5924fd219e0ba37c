package core

import (
	"context"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/evosink/evosink/core/bus"
	"github.com/evosink/evosink/core/scope"
	"github.com/evosink/evosink/core/sink"
)

// live is the router's handler of a sink of mode Live: it delivers each event to the sink's targets. It never fails: a
// client that cannot be reached now has missed the event.
func (m *member) live(b *bus.Batch) error {
	defer m.progress.done(b.Cursor)
	var at bus.Position // of the last message; a broadcast has a single one in a batch
	if b.Cursor != nil {
		at = b.Cursor.Position
	}
	for _, msg := range b.Messages {
		e, err := bus.Event(msg)
		if err != nil {
			m.log.Warn().Err(err).Str("message", msg.UUID).Msg("message on the bus skipped")
			continue
		}
		if err := m.meet(b.Context(), msg); err != nil {
			m.log.Warn().Err(err).Str("id", e.ID).
				Msg("what other nodes changed before an event is not known; it is delivered by the settings that are")
		}
		settings := m.settingsFor(e)
		scopes := scope.Of(e, m.name, m.rule, settings)
		for _, to := range scope.Targets(m.get(), e, scopes, settings.Raw) {
			d := &sink.Delivery{
				Event: e, Scope: to.Scope, Target: to.Target, Settings: settings.Raw,
				Attempt: 1, Key: sink.Key(e, to.Target), Position: int64(at),
			}
			if err := recovered(func() error { return m.get().Deliver(b.Context(), d) }); err != nil {
				m.failed.Add(1)
				m.log.Warn().Err(err).Str("id", e.ID).Str("event", e.Name).Msg("live delivery failed")
				continue
			}
			m.delivered.Add(1)
		}
	}
	return nil
}

// meet has the registry catch up with what other nodes had changed before the event of a message was accepted.
func (m *member) meet(ctx context.Context, msg *message.Message) error {
	return m.registry.CatchUp(ctx, bus.Revision(msg))
}
