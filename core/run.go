package core

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/rs/zerolog"

	"github.com/evosink/evosink/core/bus"
	"github.com/evosink/evosink/core/event"
	"github.com/evosink/evosink/core/instances"
	"github.com/evosink/evosink/core/retry"
	"github.com/evosink/evosink/core/sink"
)

// Run starts the sinks and delivers events until ctx ends, or [Hub.Stop] or [Hub.Close] is called; then it stops taking
// events from the engine, lets the sinks end what is under way (see Options.DrainTimeout), and returns nil, or
// [*Unfinished]. It returns another error if it cannot start, or when delivery ends by itself. A hub runs once.
func (h *Hub) Run(ctx context.Context) error {
	if !h.beginRun() {
		return ErrClosed
	}
	defer close(h.done)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() { // ends with ctx
		select {
		case <-h.stop:
			cancel()
		case <-ctx.Done():
			h.shut()
		}
	}()
	err := h.run(ctx)
	if ctx.Err() == nil { // it has ended by itself
		h.shut()
	}
	return err
}

func (h *Hub) run(ctx context.Context) error {
	lacks := h.opts.Bus.Features()
	lacks.Durable, lacks.Nodes = true, true // these are an operator's choice of an engine
	if missing := lacks.Missing(); len(missing) > 0 {
		h.log.Warn().Strs("missing", missing).Msg("the bus lacks features; bus.Features says what that costs")
	}
	router, err := h.newRouter()
	if err != nil {
		return err
	}
	// Sinks outlive ctx: they are closed after the router, so that nothing is delivered to a closed one.
	life, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	if err := h.startSinks(life); err != nil {
		return errors.Join(err, unfinished(h.closeSinks(life)))
	}
	defer background(life, func(ctx context.Context) { followInstances(ctx, h.opts.Instances, h.log) })()
	if d := h.queued; d != nil {
		defer h.opts.Instances.Watch(func(c instances.Change) {
			switch c.Kind {
			case instances.NewSettings:
				d.queue.Refresh(c.Instance)
			case instances.Deleted:
				d.queue.Forget(c.Instance, c.ID)
			}
		})()
		// The shards are given back when nothing is delivered here any more.
		defer background(context.WithoutCancel(ctx), d.owner.run)()
		select {
		case err = <-d.owner.first:
		case <-ctx.Done(): // while the engine does not answer
		}
		if err != nil || ctx.Err() != nil { // with an error the queue could not take the first shards over
			return errors.Join(err, unfinished(h.closeSinks(life)))
		}
	}
	ended := make(chan error, 1)
	go func() { ended <- router.Run(life) }()
	stopHost := h.runHost(life)
	select {
	case <-router.Running():
		close(h.started)
		h.announce(ctx)
	case err := <-ended:
		stopHost()
		return errors.Join(fmt.Errorf("start the router: %w", err), unfinished(h.closeSinks(life)))
	case <-ctx.Done(): // while the bus does not know all subscriptions yet
		end()
		stopHost()
		return errors.Join(<-ended, unfinished(h.closeSinks(context.WithoutCancel(ctx))))
	}
	select {
	case <-ctx.Done():
	case err = <-ended:
		ended <- nil
		err = errors.Join(errors.New("the router ended by itself"), err)
	}
	return errors.Join(err, h.drain(life, router, ended, stopHost))
}

// background runs f until stop is called, which returns when f has.
func background(ctx context.Context, f func(context.Context)) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		f(ctx)
	}()
	return func() {
		cancel()
		<-ended
	}
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

// newRouter makes the router with all handlers of the hub. Each is added exactly once; see the package comment.
func (h *Hub) newRouter() (*message.Router, error) {
	router, err := emptyRouter("hub", h.opts)
	if err != nil {
		return nil, err
	}
	for _, s := range h.sinks {
		if s.mode == sink.Live {
			c := bus.Carry(h.opts.Bus.Batches(""))
			router.AddConsumerHandler("live/"+s.name, bus.All, c, c.Handler(s.live))
		}
	}
	if d := h.queued; d != nil {
		for shard := range h.opts.Bus.Shards() {
			from := h.opts.Bus.Batches(dispatchGroup)
			c := bus.Carry(from)
			held := &shardSubscriber{held: d.owner.held, shard: shard, from: from, carrier: c}
			topic := bus.Topic(shard)
			router.AddConsumerHandler("dispatch/"+topic, topic, held, c.Handler(d.dispatch))
		}
	}
	return router, nil
}

// announce tells consumers that events flow (again). It is best effort.
func (h *Hub) announce(ctx context.Context) {
	data, _ := json.Marshal(map[string]string{"status": "started", "server": h.opts.Name})
	e := &event.Event{Name: "application.startup", Instance: h.opts.Name, Origin: "evosink", Data: data}
	if err := h.publish(ctx, e); err != nil && ctx.Err() == nil {
		h.log.Warn().Err(err).Msg("application.startup was not emitted")
	}
}

// drain ends all deliveries before one deadline. The router goes first, so that nothing is delivered to a closed sink;
// but a handler that is stuck does not take the sinks' time: after a quarter of it they close anyway. The host's router
// closes meanwhile.
func (h *Hub) drain(ctx context.Context, router *message.Router, ended <-chan error, stopHost func()) error {
	ctx, cancel := context.WithTimeout(ctx, h.opts.DrainTimeout)
	defer cancel()
	var routers sync.WaitGroup
	routers.Go(stopHost)
	var stuck error
	closed := make(chan struct{})
	routers.Go(func() {
		defer close(closed)
		if err := errors.Join(router.Close(), <-ended); err != nil {
			stuck = fmt.Errorf("events that were being handed to the sinks: %w", err)
		}
	})
	patience := time.NewTimer(h.opts.DrainTimeout / 4)
	defer patience.Stop()
	select {
	case <-closed:
	case <-patience.C:
	}
	what := h.closeSinks(ctx)
	routers.Wait() // each has a limit of its own, which began before that of the sinks
	if stuck != nil {
		what = append(what, stuck)
	}
	return unfinished(what)
}

// Stop begins the end: [Hub.Run] ends its deliveries and returns. Events are taken until [Hub.Close], and delivered
// after the next start, so that requests which are under way can still end well; a bus that does not reopen takes none.
// It does not wait, and may be called again.
func (h *Hub) Stop() { h.halt() }

// Close stops [Hub.Run], refuses events from now on, and waits until Run has returned or ctx ends. Closing a hub that
// never ran is safe, and closes its sinks.
func (h *Hub) Close(ctx context.Context) error {
	if h.shut() {
		return unfinished(h.closeSinks(ctx))
	}
	select {
	case <-h.done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("close the hub: %w", ctx.Err())
	}
}
