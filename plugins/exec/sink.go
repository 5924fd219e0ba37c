package exec

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"

	"github.com/rs/zerolog"

	"github.com/evosink/evosink/core/sink"
	"github.com/evosink/evosink/core/uses"
	"github.com/evosink/evosink/plugins/exec/wire"
)

var (
	_ sink.Sink      = (*Sink)(nil)
	_ sink.Checker   = (*Sink)(nil)
	_ sink.Retrier   = (*Sink)(nil)
	_ sink.Addresser = (*Sink)(nil)
)

// errClosed is why a session ends with its sink.
var errClosed = errors.New("the sink is closed")

// A Sink delivers to one plugin, whose process it keeps running. Make it with [Factory].
type Sink struct {
	name      string
	plugin    Plugin
	contract  *contract
	policy    sink.Policy
	log       zerolog.Logger
	pluginLog *logLimiter
	lanes     *lanes // nil unless of mode live

	stop chan struct{} // closed by Close: the plugin drains
	cut  chan struct{} // closed when it is not to drain any longer
	done chan struct{} // closed when the supervisor has ended

	ending  sync.Once
	cutting sync.Once
	running uses.Counter // deliveries

	quarantine quarantine

	mu sync.Mutex
	// mu guards the fields below.
	started, closed bool
	unlink          func() bool // from Start's ctx
	session         *session    // nil while no process is ready
	down            error       // why there is none
}

func newSink(name string, p Plugin, c *contract, log zerolog.Logger) *Sink {
	s := &Sink{
		name: name, plugin: p, contract: c, policy: p.policy(), log: log, pluginLog: newLogLimiter(log),
		stop: make(chan struct{}), cut: make(chan struct{}), done: make(chan struct{}), down: errors.New("the plugin is starting"),
	}
	if p.mode() == sink.Live {
		s.lanes = newLanes(s)
	}
	return s
}

// Start implements [sink.Sink]. The plugin becomes ready in the background.
func (s *Sink) Start(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.started || s.closed {
		return errClosed
	}
	s.started = true
	s.unlink = context.AfterFunc(ctx, s.end)
	go s.supervise()
	if s.lanes != nil {
		s.lanes.start()
	}
	return nil
}

// Deliver implements [sink.Sink].
func (s *Sink) Deliver(ctx context.Context, d *sink.Delivery) error {
	if !s.running.Begin() {
		return sink.Unavailable(errClosed)
	}
	defer s.running.End()
	if s.lanes != nil {
		return s.lanes.put(d)
	}
	return s.deliver(ctx, d)
}

// deliver makes one attempt.
func (s *Sink) deliver(ctx context.Context, d *sink.Delivery) error {
	session, down := s.current()
	if session == nil {
		return sink.Unavailable(down)
	}
	alone := s.quarantine.has(d.Key)
	answer, err := session.deliver(ctx, d, alone)
	switch {
	case errors.Is(err, errGone) && isClosed(s.stop):
		return sink.Unavailable(err)
	case errors.Is(err, errGone):
		s.quarantine.add(d.Key)
		if alone {
			return fmt.Errorf("%w alone: %w", err, session.why()) // it is the event's fault, so it uses up an attempt
		}
		return sink.Unavailable(fmt.Errorf("%w: %w", err, session.why()))
	case err != nil:
		return err
	}
	s.quarantine.clear(d.Key)
	return verdict(ctx, answer)
}

// verdict is what a plugin's answer means.
func verdict(ctx context.Context, r wire.Reply) error {
	if r.Type == wire.Ack {
		return nil
	}
	sink.Report(ctx, sink.Answer{Status: "nack", Head: []byte(r.Error)})
	err := errors.New("the plugin has refused the event")
	if r.Error != "" {
		err = errors.New(r.Error)
	}
	switch {
	case r.Permanent:
		return sink.Permanent(err)
	case r.Unavailable:
		return sink.Unavailable(err)
	case r.HasRetry:
		return sink.RetryAfter(err, r.RetryAfter)
	}
	return err
}

// Retry implements [sink.Retrier].
func (s *Sink) Retry(*sink.Delivery) sink.Policy { return s.policy }

// Address implements [sink.Addresser]. A plugin may speak to a host of its own for each instance, so each is an address of its
// own; how much it is given at once is up to its window.
func (s *Sink) Address(_ sink.Scope, t sink.Target, instance string) string {
	return string(t) + "/" + instance
}

// Check implements [sink.Checker].
func (s *Sink) Check(context.Context) error {
	_, down := s.current()
	return down
}

// current returns the session of a process that is ready, or why there is none.
func (s *Sink) current() (*session, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.session, s.down
}

// use makes a session the current one; nil takes it back, and down says why.
func (s *Sink) use(session *session, down error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.session, s.down = session, down
}

// Close implements [sink.Sink]. Deliveries end first, then the plugin drains, then its process ends.
func (s *Sink) Close(ctx context.Context) error {
	s.mu.Lock()
	s.closed = true
	started := s.started
	if s.unlink != nil {
		s.unlink()
	}
	s.mu.Unlock()
	s.running.Close()
	if !started {
		return nil
	}
	defer context.AfterFunc(ctx, s.cutOff)()
	if s.lanes != nil {
		s.lanes.close(ctx)
	}
	_ = s.running.Wait(ctx) // what is under way then ends with the process
	s.ending.Do(func() { close(s.stop) })
	<-s.done
	return s.running.Wait(context.Background())
}

// end is the end of the sink's life without a Close.
func (s *Sink) end() {
	s.ending.Do(func() { close(s.stop) })
	s.cutOff()
}

func (s *Sink) cutOff() { s.cutting.Do(func() { close(s.cut) }) }

// settings of the conversation that do not change between processes.
func (s *Sink) init(config map[string]any) ([]byte, error) {
	if config == nil {
		config = map[string]any{}
	}
	raw, err := json.Marshal(config)
	if err != nil {
		return nil, fmt.Errorf("config: %w", err)
	}
	return wire.Init(s.name, node(), raw), nil
}
