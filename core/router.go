package core

import (
	"context"
	"fmt"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/rs/zerolog"

	"github.com/evosink/evosink/core/bus"
	"github.com/evosink/evosink/core/sink"
)

// emptyRouter makes a router that stays open without any handler but the one that it has.
func (h *Hub) emptyRouter(name string) (*message.Router, error) {
	config := message.RouterConfig{CloseTimeout: h.opts.DrainTimeout}
	r, err := message.NewRouter(config, routerLog{h.log.With().Str("router", name).Logger()})
	if err != nil {
		return nil, fmt.Errorf("make the router: %w", err)
	}
	r.AddConsumerHandler("control", "control", idle{}, func(*message.Message) error { return nil })
	return r, nil
}

// newRouter makes the router with all handlers of the hub. Each is added exactly once; see the package comment.
func (h *Hub) newRouter() (*message.Router, error) {
	r, err := h.emptyRouter("hub")
	if err != nil {
		return nil, err
	}
	for _, m := range h.sinks {
		if m.mode == sink.Live {
			c := bus.Carry(h.opts.Bus.Batches(""))
			r.AddConsumerHandler("live/"+m.name, bus.All, c, c.Handler(m.live))
		}
	}
	if h.queue != nil {
		for shard := range h.opts.Bus.Shards() {
			from := h.owner.subscriber(shard, h.opts.Bus.Batches(dispatchGroup))
			topic, c := bus.Topic(shard), bus.Carry(from)
			r.AddConsumerHandler("dispatch/"+topic, topic, c, c.Handler(h.queue.dispatch))
		}
	}
	return r, nil
}

// idle is the control handler's subscriber: it has no messages and lasts as long as the router.
type idle struct{}

// Subscribe returns a channel that stays empty until ctx ends.
func (idle) Subscribe(ctx context.Context, _ string) (<-chan *message.Message, error) {
	out := make(chan *message.Message)
	context.AfterFunc(ctx, func() { close(out) })
	return out, nil
}

// Close does nothing: the channel ends with its context.
func (idle) Close() error { return nil }

// routerLog writes watermill's log lines below its errors as trace: they are about handlers, of which a start has
// dozens, and LOG_LEVEL=DEBUG is among what Evolution API's .env sets.
type routerLog struct{ log zerolog.Logger }

func (l routerLog) Error(msg string, err error, f watermill.LogFields) {
	l.log.Error().Err(err).Fields(map[string]any(f)).Msg(msg)
}

func (l routerLog) Info(msg string, f watermill.LogFields) {
	l.log.Trace().Fields(map[string]any(f)).Msg(msg)
}

func (l routerLog) Debug(msg string, f watermill.LogFields) {
	l.log.Trace().Fields(map[string]any(f)).Msg(msg)
}

func (l routerLog) Trace(msg string, f watermill.LogFields) {
	l.log.Trace().Fields(map[string]any(f)).Msg(msg)
}

func (l routerLog) With(f watermill.LogFields) watermill.LoggerAdapter {
	return routerLog{l.log.With().Fields(map[string]any(f)).Logger()}
}
