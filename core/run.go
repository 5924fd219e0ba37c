package core

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/evosink/evosink/core/event"
)

// ErrClosed is returned by what is called on a hub after its end.
var ErrClosed = errors.New("the hub is closed")

// Run starts the sinks and delivers events until ctx ends or [Hub.Close] is called; then it stops taking events from the
// engine, lets the sinks end what is under way (see Options.DrainTimeout), and returns nil. It
// returns an error if it cannot start, or when delivery ends by itself. A hub runs once.
func (h *Hub) Run(ctx context.Context) error {
	if err := h.claim(); err != nil {
		return err
	}
	defer close(h.done)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		select {
		case <-h.stop:
			cancel()
		case <-ctx.Done():
			h.markClosed()
		}
	}()
	err := h.run(ctx)
	h.markClosed()
	return err
}

func (h *Hub) run(ctx context.Context) error {
	router, err := h.newRouter()
	if err != nil {
		return err
	}
	// Sinks outlive ctx: they are closed after the router, so that nothing is delivered to a closed one.
	life, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	if err := h.startSinks(life); err != nil {
		return errors.Join(err, h.closeSinks(life))
	}
	defer h.watchInstances()()
	ended := make(chan error, 1)
	go func() { ended <- router.Run(life) }()
	defer h.runHost(life)()
	select {
	case <-router.Running():
		close(h.started)
		h.announce(ctx)
	case err := <-ended:
		return errors.Join(fmt.Errorf("start the router: %w", err), h.closeSinks(life))
	}
	select {
	case <-ctx.Done():
		err = errors.Join(router.Close(), <-ended)
	case err = <-ended:
		err = errors.Join(errors.New("the router ended by itself"), err)
	}
	return errors.Join(err, h.closeSinks(life))
}

// announce tells consumers that events flow (again). It is best effort: nobody waits for it.
func (h *Hub) announce(ctx context.Context) {
	data, _ := json.Marshal(map[string]string{"status": "started", "server": h.opts.Name})
	e := &event.Event{Name: "application.startup", Instance: h.opts.Name, Origin: "evosink", Data: data}
	if err := h.publish(ctx, e); err != nil && ctx.Err() == nil {
		h.log.Warn().Err(err).Msg("application.startup was not emitted")
	}
}

func (h *Hub) startSinks(ctx context.Context) error {
	for _, m := range h.sinks {
		if err := m.get().Start(ctx); err != nil {
			return fmt.Errorf("start sink %s: %w", m.name, err)
		}
		m.log.Info().Stringer("mode", m.mode).Msg("sink started")
	}
	if h.queue != nil {
		return h.queue.queue.Start(ctx)
	}
	return nil
}

// watchInstances tells the queue of changes until stop is called.
func (h *Hub) watchInstances() (stop func()) {
	if h.queue == nil {
		return func() {}
	}
	return h.queue.watch(h.opts.Instances)
}

// closeSinks lets what is being delivered end, and closes the sinks then.
func (h *Hub) closeSinks(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, h.opts.DrainTimeout)
	defer cancel()
	var errs []error
	if h.queue != nil {
		errs = append(errs, h.queue.queue.Close(ctx))
	}
	for _, m := range h.sinks {
		if err := m.close(ctx); err != nil {
			errs = append(errs, fmt.Errorf("close sink %s: %w", m.name, err))
		}
	}
	return errors.Join(errs...)
}

// Close stops [Hub.Run] and waits until it has returned or ctx ends. Closing a hub that never ran is safe, and
// closes its sinks.
func (h *Hub) Close(ctx context.Context) error {
	if h.markClosed() {
		return h.closeSinks(ctx)
	}
	select {
	case <-h.done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("close the hub: %w", ctx.Err())
	}
}

func (h *Hub) claim() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.running || h.closed {
		return ErrClosed
	}
	h.running = true
	return nil
}

// markClosed ends the hub's life. It reports whether the hub was closed by this call without ever having run.
func (h *Hub) markClosed() (unused bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return false
	}
	h.closed = true
	close(h.stop)
	if !h.running {
		close(h.done)
	}
	return !h.running
}
