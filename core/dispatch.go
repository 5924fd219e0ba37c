package core

import (
	"context"
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

// A dispatcher gives events to the queue, for all queued sinks at once: those of the shards that this node holds.
type dispatcher struct {
	sinks    []*sinkRunner
	registry *instances.Registry
	queue    *queue.Queue
	owner    *ownership
	keeps    bool // the queue's store moves the bus's cursors
	log      zerolog.Logger
}

// newDispatcher returns the dispatcher of the queued ones among sinks; nil if there are none.
func newDispatcher(sinks []*sinkRunner, o Options) (*dispatcher, error) {
	d := &dispatcher{
		registry: o.Instances, keeps: o.Bus.Features().CursorWithQueue, owner: newOwnership(o),
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

// dispatch is the router's handler of one shard: it gives the events of a batch to the lanes of all targets that receive
// them. Where the queue's store moves the cursor of the log, the log answers for events until they are delivered, and
// the ack says that the queue has them in hand; else that it has stored them. An error has the bus give the batch again,
// after a pause. What is no event can never be delivered: it is logged, and handled with that.
func (d *dispatcher) dispatch(b *bus.Batch) error {
	events := make([]queue.Logged, 0, len(b.Messages))
	for i, m := range b.Messages {
		var l queue.Logged
		if b.Cursors != nil {
			l.Position = b.Cursors[i].Position
		}
		e, err := bus.Event(m)
		if err != nil {
			d.log.Error().Err(err).Str("message", m.UUID).Int("bytes", len(m.Payload)).
				Msg("message on the bus is no event and was left out")
		} else {
			if err := d.registry.CatchUp(b.Context(), bus.Revision(m)); err != nil {
				return fmt.Errorf("catch up with what was changed before event %s: %w", e.ID, err)
			}
			l.Event, l.To = e, d.destinations(e)
		}
		events = append(events, l)
	}
	if !d.keeps {
		return d.put(b.Context(), events)
	}
	b.Keep()
	return d.queue.Take(b.Context(), b.Cursors[0].Shard, events...)
}

// put stores events, those of an instance that follow each other together.
func (d *dispatcher) put(ctx context.Context, events []queue.Logged) error {
	var entries []queue.Entry
	for i, e := range events {
		if len(e.To) > 0 {
			entries = append(entries, queue.Entry{Event: e.Event, To: e.To})
		}
		if n := len(entries); n > 0 && (i == len(events)-1 || events[i+1].Event == nil ||
			events[i+1].Event.Instance != entries[n-1].Event.Instance) {
			if err := d.queue.PutAll(ctx, entries...); err != nil {
				return err
			}
			entries = nil
		}
	}
	return nil
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
