package core

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/evosink/evosink/core/bus"
)

// Router returns the router of the host: the API process that evosink lives in. Handlers and middlewares of its own
// run beside the hub's, on the same events, and cannot stop or slow them: the hub's handlers are on another router. It
// runs while the hub does, and has one idle handler already, so it stays open when the host's own handlers stop.
// Handlers may be added at any time; while it runs, call RunHandlers after it. Middlewares are added before [Hub.Run]:
// watermill reads them unguarded.
//
//	hub.Router().AddConsumerHandler("audit", bus.All, hub.Subscriber("audit"), func(m *message.Message) error {
//		e, err := bus.Event(m)
//		...
//	})
//
// A handler that returns an error, or panics, gets the event again after a pause.
func (h *Hub) Router() *message.Router { return h.host }

// runHost runs the host's router until stop is called. Whatever becomes of it, the hub goes on.
func (h *Hub) runHost(ctx context.Context) (stop func()) {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := h.host.Run(ctx); err != nil {
			h.log.Error().Err(err).Msg("the host's router did not run")
		}
	}()
	select {
	case <-h.host.Running():
	case <-ended:
	}
	return func() {
		if err := h.host.Close(); err != nil {
			h.log.Warn().Err(err).Msg("the host's router did not close in time")
		}
		<-ended
	}
}

// Subscriber returns a subscriber of the hub's events for the host's handlers; its topic is [bus.All]. With a group,
// every event goes to one member of that group in the whole cluster, at least once, beginning with the oldest that the
// log holds; the groups "dispatch" and "" are taken. With the group "", every subscription gets every event that is
// published from then on. Events of one instance come in order, the next one after the ack of the last, and those of
// many instances at once; [bus.Event] reads them.
func (h *Hub) Subscriber(group string) message.Subscriber {
	if group == "" {
		return h.opts.Bus.Broadcast()
	}
	if group == dispatchGroup {
		return failing{errors.New(`core: the group "dispatch" is the hub's own`)}
	}
	return &merged{shards: h.opts.Bus.Shards(), from: h.opts.Bus.Group(group)}
}

// Publisher returns a way to emit events by watermill's means: messages made by [bus.Message], on any topic, are
// emitted as by [Hub.Emit].
func (h *Hub) Publisher() message.Publisher { return publisher{h} }

type publisher struct{ hub *Hub }

// Publish implements [message.Publisher].
func (p publisher) Publish(_ string, messages ...*message.Message) error {
	for _, m := range messages {
		e, err := bus.Event(m)
		if err != nil {
			return err
		}
		if err := p.hub.Emit(m.Context(), e); err != nil {
			return err
		}
	}
	return nil
}

// Close does nothing: the hub goes on.
func (publisher) Close() error { return nil }

type failing struct{ err error }

func (f failing) Subscribe(context.Context, string) (<-chan *message.Message, error) {
	return nil, f.err
}
func (failing) Close() error { return nil }

// merged subscribes to all shards of a group at once.
type merged struct {
	shards int
	from   message.Subscriber
}

// Subscribe implements [message.Subscriber]. One message per shard is on its way at a time.
func (s *merged) Subscribe(ctx context.Context, topic string) (<-chan *message.Message, error) {
	if topic != bus.All {
		return nil, fmt.Errorf("core: the topic of a hub's subscriber is %q, not %q", bus.All, topic)
	}
	ctx, cancel := context.WithCancel(ctx)
	out := make(chan *message.Message)
	var open sync.WaitGroup
	for shard := range s.shards {
		in, err := s.from.Subscribe(ctx, bus.Topic(shard))
		if err != nil {
			cancel()
			open.Wait()
			return nil, err
		}
		open.Go(func() {
			for m := range in {
				select {
				case out <- m:
				case <-ctx.Done():
					m.Nack() // no handler takes it any more, and it comes again
				}
			}
		})
	}
	go func() { // ends with the shards' subscriptions
		defer cancel()
		open.Wait()
		close(out)
	}()
	return out, nil
}

// Close implements [message.Subscriber].
func (s *merged) Close() error { return s.from.Close() }
