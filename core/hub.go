package core

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/rs/zerolog"

	"github.com/evosink/evosink/core/bus"
	"github.com/evosink/evosink/core/event"
	"github.com/evosink/evosink/core/instances"
	"github.com/evosink/evosink/core/queue"
	"github.com/evosink/evosink/core/sink"
)

// Options are what a [Hub] is made of. Bus and Instances are required and stay the caller's to close.
type Options struct {
	Bus       bus.Bus // what it lacks of [bus.Features] the hub does without; Run logs it
	Instances *instances.Registry
	Sinks     []*sink.Factory // those that their configuration does not enable are left out
	Log       sink.Log        // for sinks that replay: the Bus's own; nil if the bus lacks Replay
	Queue     queue.Store     // what waits for queued sinks; nil refuses such sinks. The Bus's own engine if that has one
	Delivery  *queue.Config   // bounds the queue; nil means [queue.DefaultConfig]
	// Leases shares the shards among several hubs; nil for the one hub on its engine, which has them all with epoch 1. A
	// hub puts the events of the shards that it holds into the queue, and delivers what waits in their lanes.
	Leases bus.Leases
	Logger zerolog.Logger

	// Node is this hub's id among those that share Leases, a new one for each start. Default a random one.
	Node string
	// Name is the instance name that the hub's own events carry ("application.startup"). Default "evosink".
	Name string
	// Envelope says how sinks' envelopes show the instance's token and the time. Its Keys are for the sinks to choose.
	Envelope event.Codec
	// ServerURL is given to events that come without one.
	ServerURL string
	// OnlyKnown refuses events for instances that do not exist with [instances.ErrUnknown]; otherwise
	// such an event creates its instance, without a token.
	OnlyKnown bool
	// DrainTimeout is how long deliveries that are under way may go on once the hub is stopped: one deadline for all
	// sinks, which close at the same time. Then they are cancelled, and Run returns within 2 s more. Default 10 s.
	DrainTimeout time.Duration
}

// A Hub takes events and delivers them to its sinks. All methods may be called by any number of goroutines at once.
type Hub struct {
	opts Options
	log  zerolog.Logger
	*lifecycle
	sinkSet
	host *message.Router

	commands *commands
	emitted  atomic.Uint64 // events that the engine took
	newest   progress      // where they are in the log
}

// New makes a hub and its enabled sinks. It starts nothing, see [Hub.Run].
func New(o Options) (*Hub, error) {
	if o.Bus == nil || o.Instances == nil {
		return nil, errors.New("core: Options.Bus and Options.Instances are required")
	}
	if o.Log != nil && !o.Bus.Features().Replay {
		return nil, errors.New("core: Options.Log is of no use with this bus, which lacks the feature Replay: leave it nil, " +
			"and clients get no events from before they connect")
	}
	if o.Name == "" {
		o.Name = "evosink"
	}
	if o.Node == "" {
		o.Node = event.NewID()
	}
	if o.Leases == nil {
		o.Leases = bus.NewLocalLeases(0, time.Now)
	}
	if o.DrainTimeout <= 0 {
		o.DrainTimeout = 10 * time.Second
	}
	h := &Hub{
		opts: o, log: o.Logger, lifecycle: newLifecycle(), commands: &commands{log: o.Logger},
		sinkSet: sinkSet{limit: o.DrainTimeout},
	}
	for _, f := range o.Sinks {
		if !f.Enabled() {
			continue
		}
		if f.Mode == sink.Queued && o.Queue == nil {
			return nil, fmt.Errorf("sink %s is of mode %s, which needs a store for what waits (Options.Queue)", f.Name, f.Mode)
		}
		r, err := newSinkRunner(f, o, h.commands)
		if err != nil {
			return nil, err
		}
		h.sinks = append(h.sinks, r)
	}
	var err error
	if h.host, err = emptyRouter("host", o); err != nil {
		return nil, err
	}
	if h.queued, err = newDispatcher(h.sinks, o); err != nil {
		return nil, err
	}
	return h, nil
}

// Queue returns what waits for queued sinks, in order to see and steer it; nil if the hub has no such sink. It runs
// while the hub does.
func (h *Hub) Queue() *queue.Queue {
	if h.queued == nil {
		return nil
	}
	return h.queued.queue
}

// Handle has commands of that name done by f, whichever client they come from: socket.emit("send.message", {...}, ack).
// The caller's key has been checked by then, and that it may act on the instance. Without any handler commands are
// answered with [sink.CodeUnavailable]. A name that is handled already is handled by f from now on; a nil f ends that.
func (h *Hub) Handle(name string, f CommandHandler) { h.commands.set(name, f) }

// Mounts returns the enabled sinks that serve HTTP.
func (h *Hub) Mounts() []sink.Mounter {
	var out []sink.Mounter
	for _, r := range h.sinks {
		if mounter, ok := r.get().(sink.Mounter); ok {
			out = append(out, mounter)
		}
	}
	return out
}

// Started is closed when everything runs and events reach the sinks.
func (h *Hub) Started() <-chan struct{} { return h.started }

// Check returns nil when events are accepted and delivered: [Hub.Run] runs and the engine is well.
// It says nothing about the targets of sinks, see [Hub.SinkHealth].
func (h *Hub) Check(ctx context.Context) error {
	select {
	case <-h.stop:
		return errors.New("shutting down")
	case <-h.started:
	default:
		return errors.New("starting")
	}
	if err := h.opts.Bus.Check(ctx); err != nil {
		return fmt.Errorf("engine: %w", err)
	}
	return nil
}

// SinkHealth returns, for each enabled sink, nil or why it could not deliver now. A queued sink that cannot tell
// ([sink.Checker]) is judged by its deliveries.
func (h *Hub) SinkHealth(ctx context.Context) map[string]error {
	out := make(map[string]error, len(h.sinks))
	for _, r := range h.sinks {
		var err error
		if h.queued != nil {
			err = h.queued.queue.Health(r.name)
		}
		if err == nil {
			if c, ok := r.get().(sink.Checker); ok {
				err = c.Check(ctx)
			} else if h.queued != nil {
				err = h.queued.queue.Reachable(r.name)
			}
		}
		out[r.name] = err
	}
	return out
}

// Stats are a hub's figures since it was made, for metrics. What waits for queued sinks is in [queue.Queue.Stats].
type Stats struct {
	Emitted uint64 // events that the engine took, repeated ones included
	Sinks   []SinkStats
	Engine  []sink.Measure // of a Bus that is a [sink.Measurer]
}

// SinkStats are the figures of one enabled sink.
type SinkStats struct {
	Name              string
	Delivered, Failed uint64    // deliveries of a live sink; those of queued ones are counted by the queue
	Connected         time.Time // since when, if it is a [sink.Connector]; zero if it is none, or not connected
	LastError         error     // of the connection, maybe long ago; nil if it is no Connector, or nothing ever failed
	Measures          []sink.Measure
}

// Stats returns the figures of this moment. It is cheap.
func (h *Hub) Stats() Stats {
	s := Stats{Emitted: h.emitted.Load(), Engine: measures(h.opts.Bus)}
	for _, r := range h.sinks {
		one := SinkStats{
			Name: r.name, Delivered: r.delivered.Load(), Failed: r.failed.Load(), Measures: measures(r.get()),
		}
		if c, ok := r.get().(sink.Connector); ok {
			one.Connected, one.LastError = c.Connection()
		}
		s.Sinks = append(s.Sinks, one)
	}
	return s
}

// measures returns the figures of a [sink.Measurer], none of anything else.
func measures(of any) []sink.Measure {
	if m, ok := of.(sink.Measurer); ok {
		return m.Measures()
	}
	return nil
}
