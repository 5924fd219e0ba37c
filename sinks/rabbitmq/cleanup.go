package rabbitmq

import (
	"context"
	"maps"
	"slices"
	"sync"

	"github.com/evosink/evosink/core/event"
	"github.com/evosink/evosink/core/sink"
)

// leftovers are the deleted instances whose exchange and queues are still to be deleted. They are forgotten by a restart.
type leftovers struct {
	wake chan struct{} // gets a value when there is something to do

	mu sync.Mutex
	// mu guards the field below.
	instances map[string]bool
}

func newLeftovers() *leftovers {
	return &leftovers{wake: make(chan struct{}, 1), instances: map[string]bool{}}
}

// changed follows the directory. An instance that exists again keeps its queues.
func (l *leftovers) changed(c sink.Change) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch c.Kind {
	case sink.Deleted:
		l.instances[c.Instance] = true
	case sink.Created:
		delete(l.instances, c.Instance)
	default:
		return
	}
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

func (l *leftovers) list() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Collect(maps.Keys(l.instances))
}

func (l *leftovers) done(instance string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.instances, instance)
}

// clean deletes what belonged to deleted instances: their exchange, the queues of all events that settings
// can name, and those that were declared since the connection began.
func (s *Sink) clean(ctx context.Context, session *session) {
	for _, instance := range s.leftovers.list() {
		queues := session.queuesOf(instance)
		for _, name := range event.Settable() {
			queues = append(queues, queueOf(instance, event.Canonical(name)))
		}
		slices.Sort(queues)
		err := session.remove(ctx, instance, slices.Compact(queues))
		if sink.IsUnavailable(err) || ctx.Err() != nil {
			return // again with the next session
		}
		s.leftovers.done(instance)
		if err != nil {
			s.log.Warn().Err(err).Str("instance", instance).Msg("the queues of a deleted instance could not be deleted")
			continue
		}
		s.log.Info().Str("instance", instance).Msg("the exchange and queues of a deleted instance are deleted")
	}
}
