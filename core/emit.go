package core

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/evosink/evosink/core/bus"
	"github.com/evosink/evosink/core/event"
	"github.com/evosink/evosink/core/instances"
	"github.com/evosink/evosink/core/queue"
)

// Emit hands events to the hub and returns nil when the engine has every one of them for good. All are checked
// before the first is published. Those of one instance stay in order, also across calls that follow each other, and
// are published together or not at all, if the engine can do that ([bus.Features], AtomicBatches).
//
// On a bus without a Backlog, Emit waits until the hub runs; on one that does not reopen it returns [ErrClosed] from
// [Hub.Stop] on.
//
// An event that comes with an ID is published once, if the engine can do that (Once): if the engine's log holds an
// event of its instance with that ID, Emit returns nil and nothing happens, also when both are emitted at once, and
// also after a restart. What the log's retention has removed is published again.
//
// Emit fills in what an event lacks (ID, Time, ServerURL) and puts its name into wire form; afterwards the event
// belongs to the hub and must not be changed.
//
// Errors wrap [event.ErrInvalid], [instances.ErrUnknown] (see Options.OnlyKnown), [bus.ErrTooLarge],
// [bus.ErrOverloaded] when ctx ended before the engine took the event, [github.com/evosink/evosink/core/queue.ErrFull]
// when the instance has met a limit of what may wait, [ErrClosed], or tell why the engine failed. After an
// error an event may or may not have been published: emit it again with the same ID.
func (h *Hub) Emit(ctx context.Context, events ...*event.Event) error {
	if closed(h.refuse) {
		return ErrClosed
	}
	// An event must not be published where it would be lost: a bus without a backlog has it for those only that read
	// already, and one that does not reopen forgets it when they have ended.
	f := h.opts.Bus.Features()
	if !f.Backlog {
		select {
		case <-h.started:
		case <-h.refuse:
			return ErrClosed
		case <-ctx.Done():
			return fmt.Errorf("%w: the hub does not run yet, and its bus keeps nothing until then: %w",
				bus.ErrOverloaded, ctx.Err())
		}
	}
	if !f.Reopens && closed(h.stop) {
		return ErrClosed
	}
	var invalid []error
	for i, e := range events {
		e.Name = event.Canonical(e.Name)
		e.ServerURL = cmp.Or(e.ServerURL, h.opts.ServerURL)
		if err := e.Validate(); err != nil { // looks at data only if that was not done in this process before
			if len(events) > 1 {
				err = fmt.Errorf("event %d: %w", i, err)
			}
			invalid = append(invalid, err)
		}
	}
	if err := errors.Join(invalid...); err != nil {
		return err
	}
	for _, e := range events {
		if err := h.ensureInstance(ctx, e); err != nil {
			return err
		}
		if h.queued != nil {
			lanes := func() []queue.Destination { return h.queued.destinations(e) }
			if err := h.queued.queue.Room(e, lanes); err != nil {
				return err
			}
		}
	}
	return h.publish(ctx, events...)
}

// ensureInstance makes sure that the event's instance exists, and notes which one of that name it is. An instance that
// another node has created a moment ago, or creates now, exists.
func (h *Hub) ensureInstance(ctx context.Context, e *event.Event) error {
	in, ok := h.opts.Instances.Get(e.Instance)
	switch {
	case ok:
	case h.opts.OnlyKnown:
		if err := h.opts.Instances.Refresh(ctx); err != nil {
			return fmt.Errorf("look for instance %q: %w", e.Instance, err)
		}
		if in, ok = h.opts.Instances.Get(e.Instance); !ok {
			return fmt.Errorf("instance %q: %w", e.Instance, instances.ErrUnknown)
		}
	default:
		var err error
		in, err = h.opts.Instances.Ensure(ctx, instances.Instance{Name: e.Instance, ByEvent: true})
		if errors.Is(err, event.ErrInvalid) {
			return err // a name that no instance may have
		}
		if err != nil {
			return fmt.Errorf("create instance %q for its first event: %w", e.Instance, err)
		}
	}
	e.InstanceID = in.ID
	return nil
}

// publish stamps events and publishes them, those of one shard in one call. Where other nodes read the log, a message
// carries the revision that this node's registry shows, and a node handles the event when its own has caught up with
// that. So what was set on a node before it emitted an event holds for that event, whichever node delivers it.
func (h *Hub) publish(ctx context.Context, events ...*event.Event) error {
	now := time.Now().UTC().Truncate(time.Millisecond)
	shards, nodes := h.opts.Bus.Shards(), h.opts.Bus.Features().Nodes
	byShard := make(map[int][]bus.Entry, 1)
	for _, e := range events {
		given := e.ID != ""
		if !given {
			e.ID = event.NewID()
		}
		if e.Time.IsZero() {
			e.Time = now
		}
		m := bus.Message(e)
		if nodes {
			bus.SetRevision(m, h.opts.Instances.Revision())
		}
		shard := bus.Shard(e.Instance, shards)
		byShard[shard] = append(byShard[shard], bus.Entry{Message: m, Once: given})
	}
	for shard, entries := range byShard {
		positions, err := h.opts.Bus.Append(ctx, shard, entries...)
		if err != nil {
			return fmt.Errorf("publish: %w", err)
		}
		if len(positions) > 0 {
			h.newest.reach(shard, slices.Max(positions))
		}
		h.emitted.Add(uint64(len(entries)))
	}
	return nil
}
