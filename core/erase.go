package core

import (
	"context"
	"fmt"
	"time"

	"github.com/evosink/evosink/core/bus"
	"github.com/evosink/evosink/core/instances"
	"github.com/evosink/evosink/core/queue"
	"github.com/evosink/evosink/core/retry"
)

// Erased is what [Hub.Erase] has removed.
type Erased struct {
	Events int // of the log
	queue.Erased
	Left bool // something is left: events that are being delivered. Call Erase again
}

// erasePause is the time from one look at what is left of an erasure to the next.
const erasePause = 50 * time.Millisecond

// Erase removes what is stored of an instance that was deleted before ([instances.Registry].Delete): its events in the
// log, what waits for it, its dead letters, the attempts of its deliveries and the pauses that name it. id is that of
// its record; "" stands for all instances that had the name and were deleted. What was accepted before there were ids
// goes with it. An instance that has the name now keeps what is its own.
//
// Everything is removed in small transactions, so others are served meanwhile. What is being delivered is waited for
// until ctx ends, upon which Left is set and the rest can be erased by another call, at any time, also after an error
// or a restart. Copies in memory, for clients that come back within the recovery window, go as later events take their
// place. What sinks have delivered is not undone.
//
// The error is [instances.ErrExists] if the instance of that id was not deleted, [bus.ErrUnsupported] if the engine
// cannot erase, [ErrClosed] unless the hub runs, or why the engine failed.
func (h *Hub) Erase(ctx context.Context, name, id string) (n Erased, err error) {
	eraser, ok := h.opts.Bus.(bus.Eraser)
	if !ok {
		return n, fmt.Errorf("erase instance %q: %w", name, bus.ErrUnsupported)
	}
	for {
		e := bus.Erasure{Instance: name, ID: id}
		if in, ok := h.opts.Instances.Get(name); ok {
			e.Present = in.ID
		}
		if id != "" && id == e.Present {
			return n, fmt.Errorf("erase instance %q: it was not deleted: %w", name, instances.ErrExists)
		}
		events, unacked, err := eraser.EraseEvents(ctx, e)
		n.Events += events
		var queued queue.Erased
		delivering := false
		switch {
		case err != nil:
		case h.queued != nil:
			queued, delivering, err = h.queued.queue.Erase(ctx, e)
		case h.opts.Queue != nil:
			queued, err = queue.EraseStored(ctx, h.opts.Queue, e)
		}
		n.Add(queued)
		switch {
		case ctx.Err() != nil:
			n.Left = true
			return n, nil
		case err != nil:
			n.Left = true
			return n, fmt.Errorf("erase instance %q: %w", name, err)
		case !unacked && !delivering && events == 0 && queued == (queue.Erased{}):
			return n, nil // nothing has come while the last round ran
		case unacked || delivering:
			if !retry.Sleep(ctx.Done(), erasePause) {
				n.Left = true
				return n, nil
			}
		}
	}
}
