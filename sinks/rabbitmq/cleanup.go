package rabbitmq

import (
	"context"
	"slices"
	"sync"

	"github.com/evosink/evosink/core/sink"
)

// maxLeftovers bounds how many deleted instances are remembered while the broker is away; the first of them keep their
// queues.
const maxLeftovers = 1 << 14

// A leftover is a deleted instance with an exchange and queues that are still to be deleted.
type leftover struct{ instance, id string }

// leftovers are forgotten by a restart.
type leftovers struct {
	wake chan struct{} // gets a value when there is something to do

	mu sync.Mutex
	// mu guards the field below.
	list []leftover
}

func newLeftovers() *leftovers { return &leftovers{wake: make(chan struct{}, 1)} }

// changed follows the directory.
func (l *leftovers) changed(c sink.Change) {
	if c.Kind != sink.Deleted || c.ID == "" {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.list) == maxLeftovers {
		l.list = slices.Delete(l.list, 0, 1)
	}
	l.list = append(l.list, leftover{c.Instance, c.ID})
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// of returns what is left over of instances of a name, of all if that is "".
func (l *leftovers) of(instance string) (out []leftover) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, it := range l.list {
		if instance == "" || it.instance == instance {
			out = append(out, it)
		}
	}
	return out
}

func (l *leftovers) done(it leftover) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.list = slices.DeleteFunc(l.list, func(other leftover) bool { return other == it })
}

// clean deletes what belonged to deleted instances of a name, "" for all: their exchange, and the queues of all events
// that have one. It does so before anything is made for a later instance of that name, which gets fresh ones.
func (s *Sink) clean(ctx context.Context, session *session, instance string) error {
	for _, it := range s.leftovers.of(instance) {
		exchange := s.addresses.exchange(it.instance)
		var queues []string
		for _, part := range s.addresses.naming.Parts() {
			queues = append(queues, s.addresses.naming.Name(it.instance, part))
		}
		err := session.remove(ctx, it.id, exchange, queues)
		if sink.IsUnavailable(err) || ctx.Err() != nil {
			return err // again with the next session
		}
		s.leftovers.done(it)
		if err != nil {
			s.log.Warn().Err(err).Str("instance", it.instance).Msg("the queues of a deleted instance could not be deleted")
			continue
		}
		s.log.Info().Str("instance", it.instance).
			Msg("the exchange and queues that were made for a deleted instance are deleted")
	}
	return nil
}
