package core

import (
	"context"
	"encoding/json"
	"fmt"
	"runtime/debug"

	"github.com/rs/zerolog"

	"github.com/evosink/evosink/core/bus"
	"github.com/evosink/evosink/core/event"
	"github.com/evosink/evosink/core/instances"
	"github.com/evosink/evosink/core/queue"
	"github.com/evosink/evosink/core/scope"
	"github.com/evosink/evosink/core/sink"
)

// dispatchGroup is the group of the bus whose members put events into the queue: once per cluster.
const dispatchGroup = "dispatch"

// A dispatcher puts events into the queue, for all queued sinks at once.
type dispatcher struct {
	members  []*member
	registry *instances.Registry
	queue    *queue.Queue
	moves    bool            // the queue's store moves the bus's cursors
	lost     func(bus.Lease) // told of shards that are another node's
	log      zerolog.Logger
}

// newDispatcher returns the dispatcher of the queued ones among members; nil if there are none.
func newDispatcher(members []*member, o Options) (*dispatcher, error) {
	d := &dispatcher{
		registry: o.Instances, moves: o.Bus.Features().CursorWithQueue, log: o.Logger.With().Str("component", "dispatch").Logger(),
	}
	var sinks []queue.Sink
	for _, m := range members {
		if m.mode == sink.Queued {
			d.members = append(d.members, m)
			sinks = append(sinks, queue.Sink{
				Name: m.name, Sink: m.get(), Restart: m.restart, Admit: m.admit, Idle: func() { close(m.idle) },
			})
		}
	}
	if d.members == nil {
		return nil, nil
	}
	config := queue.DefaultConfig()
	if o.Delivery != nil {
		config = *o.Delivery
	}
	var err error
	d.queue, err = queue.New(queue.Options{Store: o.Queue, Config: config, Sinks: sinks, Logger: o.Logger,
		InstanceID: func(name string) string { in, _ := d.registry.Get(name); return in.ID },
		Lost:       func(l bus.Lease) { d.lost(l) }})
	for _, m := range d.members {
		m.available = func() { d.queue.Available(m.name) }
	}
	return d, err
}

// dispatch is the router's handler of one shard. A batch is acked when the queue has its events for every target; an
// error has the bus deliver it again, after a pause. What is no event can never be delivered: it is logged, and acked.
func (d *dispatcher) dispatch(b *bus.Batch) error {
	var entries []queue.Entry
	for _, m := range b.Messages {
		e, err := bus.Event(m)
		if err != nil {
			d.log.Error().Err(err).Str("message", m.UUID).Int("bytes", len(m.Payload)).Msg("message on the bus is no event and was left out")
			continue
		}
		if err := d.members[0].meet(b.Context(), m); err != nil {
			return fmt.Errorf("catch up with what was changed before event %s: %w", e.ID, err)
		}
		if to := d.destinations(e); len(to) > 0 {
			entries = append(entries, queue.Entry{Event: e, To: to})
		}
	}
	if len(entries) == 0 {
		return nil
	}
	if !d.moves {
		b.Cursor = nil
	}
	return d.queue.PutAll(b.Context(), b.Cursor, entries...)
}

// destinations returns the lanes of all targets that receive the event.
func (d *dispatcher) destinations(e *event.Event) (out []queue.Destination) {
	id := e.InstanceID
	if in, ok := d.registry.Get(e.Instance); id == "" && ok { // accepted before events carried it
		id = in.ID
	}
	for _, m := range d.members {
		settings := m.settingsFor(e)
		for _, to := range m.targets(e, scope.Of(e, m.name, m.rule, settings), settings.Raw) {
			out = append(out, queue.Destination{
				Lane: queue.LaneKey{Sink: m.name, Target: to.Target, Instance: e.Instance, InstanceID: id}, Scope: to.Scope,
			})
		}
	}
	return out
}

// targets asks the sink. If that panics, the event goes to the targets of a sink that does not choose: there it is
// delivered, or becomes a dead letter, but is not lost.
func (m *member) targets(e *event.Event, scopes []sink.Scope, settings json.RawMessage) (out []sink.Destination) {
	defer func() {
		if p := recover(); p != nil {
			m.log.Error().Interface("panic", p).Bytes("stack", debug.Stack()).Str("id", e.ID).Msg("the sink panicked when it was asked for targets")
			out = scope.Targets(nil, e, scopes, settings)
		}
	}()
	return scope.Targets(m.get(), e, scopes, settings)
}

// admit tells the queue whether an instance's deliveries of a scope may go out now.
func (m *member) admit(l queue.LaneKey, s sink.Scope) (queue.Admission, json.RawMessage) {
	settings := m.settingsOf(l.Instance)
	if s == sink.Global {
		if !m.rule.Global {
			return queue.Hold, nil
		}
		return queue.Deliver, settings.Raw
	}
	if in, exists := m.registry.Get(l.Instance); !exists || l.InstanceID != "" && l.InstanceID != in.ID {
		return queue.Discard, nil
	}
	if !settings.On {
		return queue.Hold, nil
	}
	return queue.Deliver, settings.Raw
}

// restart replaces the sink after a panic. The new one lives until the hub closes it.
func (m *member) restart(ctx context.Context) (sink.Sink, error) {
	if err := m.close(ctx); err != nil {
		m.log.Warn().Err(err).Msg("the sink that panicked did not close properly")
	}
	s, err := m.make()
	if err != nil {
		return nil, err
	}
	m.set(s)
	life, end := context.WithCancel(context.WithoutCancel(ctx))
	m.end = end
	if err := s.Start(life); err != nil {
		return nil, fmt.Errorf("start: %w", err)
	}
	return s, nil
}

// watch tells the queue when an instance changes, until stop is called.
func (d *dispatcher) watch(r *instances.Registry) (stop func()) {
	return r.Watch(func(c instances.Change) {
		switch c.Kind {
		case instances.NewSettings:
			d.queue.Refresh(c.Instance)
		case instances.Deleted:
			d.queue.Forget(c.Instance, c.ID)
		}
	})
}
