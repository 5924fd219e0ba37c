package core

import (
	"context"
	"fmt"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/rs/zerolog"
)

// emptyRouter makes a router that stays open without any handler but the one that it has.
func emptyRouter(name string, o Options) (*message.Router, error) {
	config := message.RouterConfig{CloseTimeout: o.DrainTimeout}
	r, err := message.NewRouter(config, routerLog{o.Logger.With().Str("router", name).Logger()})
	if err != nil {
		return nil, fmt.Errorf("make the router: %w", err)
	}
	r.AddConsumerHandler("control", "control", idle{}, func(*message.Message) error { return nil })
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
