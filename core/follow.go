package core

import (
	"context"
	"errors"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/rs/zerolog"

	"github.com/evosink/evosink/core/bus"
	"github.com/evosink/evosink/core/event"
	"github.com/evosink/evosink/core/instances"
	"github.com/evosink/evosink/core/retry"
)

// What changes of instances is ordered with events like this: a message carries the revision that its node had shown
// when it published the event, and a node handles the event when it has caught up with that revision (member.meet). So
// what was set on a node before it emitted an event holds for that event, whichever node delivers it.

// message returns the message that carries e, with the revision where other nodes read the log.
func (h *Hub) message(e *event.Event) *message.Message {
	m := bus.Message(e)
	if h.opts.Bus.Features().Nodes {
		bus.SetRevision(m, h.opts.Instances.Revision())
	}
	return m
}

// followInstances has the registry follow what other nodes change until ctx ends.
func followInstances(ctx context.Context, r *instances.Registry, log zerolog.Logger) {
	pauses := retry.Backoff{First: 50 * time.Millisecond, Longest: 2 * time.Second}
	pauses.Do(ctx.Done(), func() (ended bool) {
		err := r.Follow(ctx)
		if err == nil || errors.Is(err, instances.ErrClosed) || ctx.Err() != nil {
			return true
		}
		log.Error().Err(err).Msg("changes that other nodes make of instances are not seen; trying again")
		return false
	})
}
