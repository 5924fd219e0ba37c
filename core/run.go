package core

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/evosink/evosink/core/event"
	"github.com/evosink/evosink/core/sink"
)

// ErrClosed is returned by what is called on a hub after its end.
var ErrClosed = errors.New("the hub is closed")

// Unfinished is the error of a [Hub.Run] that was stopped and had to cut something off: which deliveries, which sinks,
// one per entry. Nothing that was accepted is lost by that: what was cut off is delivered again at the next start.
type Unfinished struct{ What []error }

func (u *Unfinished) Error() string {
	return "not ended in time: " + strings.ReplaceAll(errors.Join(u.What...).Error(), "\n", "; ")
}

// Unwrap returns the parts.
func (u *Unfinished) Unwrap() []error { return u.What }

// Run starts the sinks and delivers events until ctx ends, or [Hub.Stop] or [Hub.Close] is called; then it stops taking
// events from the engine, lets the sinks end what is under way (see Options.DrainTimeout), and returns nil, or
// [*Unfinished]. It returns another error if it cannot start, or when delivery ends by itself. A hub runs once.
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
	if ctx.Err() == nil { // it has ended by itself
		h.markClosed()
	}
	return err
}

func (h *Hub) run(ctx context.Context) error {
	h.tellFeatures()
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
	defer h.followInstances(life)()
	defer h.watchInstances()()
	giveBack, err := h.own() // at the end: when nothing is delivered here any more
	defer giveBack()
	if err != nil {
		return errors.Join(err, unfinished(h.closeSinks(life)))
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

// tellFeatures logs what the bus lacks, but for what is an operator's choice of an engine.
func (h *Hub) tellFeatures() {
	f := h.opts.Bus.Features()
	f.Durable, f.Nodes = true, true
	if missing := f.Missing(); len(missing) > 0 {
		h.log.Warn().Strs("missing", missing).Msg("the bus lacks features; bus.Features says what that costs")
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

// unfinished makes an error of what was cut off, nil of nothing.
func unfinished(what []error) error {
	if len(what) == 0 {
		return nil
	}
	return &Unfinished{what}
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

// own holds this node's shards until stop is called. It returns when the first are held, if there are any free; its error
// says why the queue could not take them over.
func (h *Hub) own() (stop func(), err error) {
	if h.owner == nil {
		return func() {}, nil
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		h.owner.run(ctx)
	}()
	return func() {
		cancel()
		<-ended
	}, <-h.owner.first
}

// watchInstances tells the queue of changes until stop is called.
func (h *Hub) watchInstances() (stop func()) {
	if h.queue == nil {
		return func() {}
	}
	return h.queue.watch(h.opts.Instances)
}

// graceSinks is how long a sink may take to notice that its time is over.
const graceSinks = 2 * time.Second

// closeSinks closes the queue and all sinks at the same time, a queued sink as soon as its own deliveries have ended:
// none takes the time of another. When ctx ends they cut off what they still do; one that does not return even so is
// left behind. It returns what has not ended well.
func (h *Hub) closeSinks(ctx context.Context) (what []error) {
	ctx, cancel := context.WithTimeout(ctx, h.opts.DrainTimeout)
	defer cancel()
	late, giveUp := context.WithCancel(context.WithoutCancel(ctx))
	defer giveUp()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(graceSinks, giveUp) })()

	drained := make(chan struct{})
	var undelivered error
	go func() {
		defer close(drained)
		if h.queue != nil {
			undelivered = h.queue.queue.Close(ctx)
		}
	}()
	closed := make([]chan error, len(h.sinks))
	for i, m := range h.sinks {
		closed[i] = make(chan error, 1)
		go func() {
			if m.mode == sink.Queued {
				select {
				case <-m.idle:
				case <-drained:
				case <-late.Done():
				}
			}
			closed[i] <- m.close(ctx)
		}()
	}
	select {
	case <-drained:
		if undelivered != nil {
			what = append(what, undelivered)
		}
	case <-late.Done():
		what = append(what, errors.New("the queue does not return"))
	}
	if h.queue != nil {
		if cut := h.queue.queue.CutOff(); cut.Attempts > 0 {
			what = append(what, errors.New(cut.String()))
		}
	}
	for i, m := range h.sinks {
		select {
		case err := <-closed[i]:
			closed[i] <- err
		case <-late.Done():
		}
		select {
		case err := <-closed[i]:
			if err != nil {
				what = append(what, fmt.Errorf("sink %s: %w", m.name, err))
			}
		default:
			what = append(what, fmt.Errorf("sink %s does not return from Close", m.name))
		}
	}
	return what
}

// Stop begins the end: [Hub.Run] ends its deliveries and returns. Events are taken until [Hub.Close], and delivered
// after the next start, so that requests which are under way can still end well; a bus that does not reopen takes none. It
// does not wait, and may be called again.
func (h *Hub) Stop() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.stopLocked()
}

func (h *Hub) stopLocked() {
	if !h.stopped {
		h.stopped = true
		close(h.stop)
	}
}

// Close stops [Hub.Run], refuses events from now on, and waits until Run has returned or ctx ends. Closing a hub that
// never ran is safe, and closes its sinks.
func (h *Hub) Close(ctx context.Context) error {
	if h.markClosed() {
		return unfinished(h.closeSinks(ctx))
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
	close(h.refuse)
	h.stopLocked()
	if !h.running {
		close(h.done)
	}
	return !h.running
}
