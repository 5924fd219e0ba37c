package core

import (
	"fmt"

	"github.com/rs/zerolog"

	"github.com/evosink/evosink/core/bus"
	"github.com/evosink/evosink/core/event"
	"github.com/evosink/evosink/core/instances"
	"github.com/evosink/evosink/core/queue"
	"github.com/evosink/evosink/core/sink"
)

// dispatchGroup is the group of the bus that puts events into the queue: once per cluster.
const dispatchGroup = "dispatch"

// A dispatcher puts events into the queue, for all queued sinks at once: those of the shards that this node holds.
type dispatcher struct {
	sinks    []*sinkRunner
	registry *instances.Registry
	queue    *queue.Queue
	owner    *ownership
	moves    bool // the queue's store moves the bus's cursors
	log      zerolog.Logger
}

// newDispatcher returns the dispatcher of the queued ones among sinks; nil if there are none.
func newDispatcher(sinks []*sinkRunner, o Options) (*dispatcher, error) {
	d := &dispatcher{
		registry: o.Instances, moves: o.Bus.Features().CursorWithQueue, owner: newOwnership(o),
		log: o.Logger.With().Str("component", "dispatch").Logger(),
	}
	options := queue.Options{
		Store: o.Queue, Config: queue.DefaultConfig(), Lost: d.owner.lost, Logger: o.Logger,
		InstanceID: func(name string) string { in, _ := d.registry.Get(name); return in.ID },
	}
	if o.Delivery != nil {
		options.Config = *o.Delivery
	}
	for _, r := range sinks {
		if r.mode == sink.Queued {
			d.sinks = append(d.sinks, r)
			r.available = func() { d.queue.Available(r.name) }
			options.Sinks = append(options.Sinks, queue.Sink{
				Name: r.name, Sink: r.get(), Restart: r.restart, Admit: r.admit, Idle: func() { close(r.idle) },
			})
		}
	}
	if d.sinks == nil {
		return nil, nil
	}
	var err error
	if d.queue, err = queue.New(options); err != nil {
		return nil, err
	}
	d.owner.queue = d.queue
	return d, nil
}

// dispatch is the router's handler of one shard: it puts the events of a batch into the lanes of all targets that
// receive them. A batch is acked when the queue has its events for every target; an error has the bus deliver it again,
// after a pause. What is no event can never be delivered: it is logged, and acked.
func (d *dispatcher) dispatch(b *bus.Batch) error {
	var entries []queue.Entry
	for _, m := range b.Messages {
		e, err := bus.Event(m)
		if err != nil {
			d.log.Error().Err(err).Str("message", m.UUID).Int("bytes", len(m.Payload)).
				Msg("message on the bus is no event and was left out")
			continue
		}
		if err := d.registry.CatchUp(b.Context(), bus.Revision(m)); err != nil {
			return fmt.Errorf("catch up with what was changed before event %s: %w", e.ID, err)
		}
		if to := d.destinations(e); len(to) > 0 {
			entries = append(entries, queue.Entry{Event: e, To: to})
		}
	}
	if len(entries) == 0 {
		return nil
	}
	return d.queue.PutAll(b.Context(), entries...)
}

// destinations returns the lanes of all targets that receive the event.
func (d *dispatcher) destinations(e *event.Event) (out []queue.Destination) {
	id := e.InstanceID
	if in, ok := d.registry.Get(e.Instance); id == "" && ok { // accepted before events carried it
		id = in.ID
	}
	for _, r := range d.sinks {
		to, _ := r.destinations(e)
		for _, to := range to {
			lane := queue.LaneKey{Sink: r.name, Target: to.Target, Instance: e.Instance, InstanceID: id}
			out = append(out, queue.Destination{Lane: lane, Scope: to.Scope})
		}
	}
	return out
}
