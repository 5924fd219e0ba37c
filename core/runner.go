package core

import (
	"context"
	"encoding/json"
	"fmt"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"github.com/evosink/evosink/core/event"
	"github.com/evosink/evosink/core/instances"
	"github.com/evosink/evosink/core/queue"
	"github.com/evosink/evosink/core/scope"
	"github.com/evosink/evosink/core/sink"
)

// A sinkRunner is an enabled sink with what the hub keeps for it.
type sinkRunner struct {
	name     string
	mode     sink.Mode
	rule     sink.Rule
	make     func() (sink.Sink, error)
	registry *instances.Registry
	log      zerolog.Logger
	drain    time.Duration // how long closing may take
	idle     chan struct{} // closed when the queue delivers to it no more

	sink     atomic.Pointer[sink.Sink] // replaced by restart
	end      context.CancelFunc        // ends the life of a sink that restart has made; nil before
	settings sync.Map                  // instance name -> *parsed
	progress progress
	// available tells the queue that the sink's target is there again; nil for a live sink. Set before the sink is
	// started.
	available func()

	delivered, failed atomic.Uint64 // by a live sink
}

func (r *sinkRunner) get() sink.Sink  { return *r.sink.Load() }
func (r *sinkRunner) set(s sink.Sink) { r.sink.Store(&s) }

// close closes the sink, within the time that closing may take. A panic of the sink is an error.
func (r *sinkRunner) close(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, r.drain)
	defer cancel()
	if r.end != nil {
		defer r.end()
	}
	return recovered(func() error { return r.get().Close(ctx) })
}

// recovered calls a sink and makes an error of a panic in it.
func recovered(call func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the sink panicked: %v\n%s", p, debug.Stack())
		}
	}()
	return call()
}

// parsed are an instance's settings as of one version of it.
type parsed struct {
	id      string
	version int64
	scope.Settings
}

func newSinkRunner(f *sink.Factory, o Options, c *commands) (*sinkRunner, error) {
	r := &sinkRunner{
		name: f.Name, mode: f.Mode, rule: f.Rule(), registry: o.Instances, drain: o.DrainTimeout, idle: make(chan struct{}),
		log: o.Logger.With().Str("sink", f.Name).Logger(),
	}
	host := sink.Host{Logger: r.log, Directory: &directory{o.Instances, f.Name}, Envelope: o.Envelope, Commander: c}
	if o.Log != nil {
		host.Log, host.Reached = o.Log, r.progress.replayed
	}
	if r.mode == sink.Queued {
		host.Available = func() { r.available() }
	}
	r.make = func() (sink.Sink, error) { return f.New(host) }
	s, err := r.make()
	if err != nil {
		return nil, err
	}
	r.set(s)
	return r, nil
}

// destinations returns which targets of the sink receive an event, and the settings of its instance by which they do.
// An event of a former instance of that name has no settings, and so reaches global targets only. If the sink panics
// when it is asked, the event goes to the targets of a sink that does not choose: there it is delivered, or becomes a
// dead letter, but is not lost.
func (r *sinkRunner) destinations(e *event.Event) (to []sink.Destination, settings scope.Settings) {
	if p := r.settingsOf(e.Instance); owns(p.id, e) {
		settings = p.Settings
	}
	scopes := scope.Of(e, r.name, r.rule, settings)
	err := recovered(func() error {
		to = scope.Targets(r.get(), e, scopes, settings.Raw)
		return nil
	})
	if err != nil {
		r.log.Error().Err(err).Str("id", e.ID).Msg("the sink panicked when it was asked for targets")
		to = scope.Targets(nil, e, scopes, settings.Raw)
	}
	return to, settings
}

// owns reports whether the instance with that id, "" for none, is the one that the event was accepted for, as far as
// the event tells.
func owns(id string, e *event.Event) bool { return e.InstanceID == "" || e.InstanceID == id }

// settingsOf returns the instance's settings of this sink, read anew when the instance has changed.
func (r *sinkRunner) settingsOf(instance string) *parsed {
	in, ok := r.registry.Get(instance)
	if !ok {
		r.settings.Delete(instance)
		return &parsed{}
	}
	if p, ok := r.settings.Load(instance); ok && p.(*parsed).id == in.ID && p.(*parsed).version == in.Version {
		return p.(*parsed)
	}
	s, err := scope.Parse(in.Settings[r.name].Value)
	if err != nil {
		r.log.Error().Err(err).Str("instance", instance).Msg("stored settings are unreadable and taken for disabled")
	}
	p := &parsed{in.ID, in.Version, s}
	r.settings.Store(instance, p)
	return p
}

// admit tells the queue whether an instance's deliveries of a scope may go out now, and by which settings: those of a
// former instance of the name have none.
func (r *sinkRunner) admit(l queue.LaneKey, s sink.Scope) (queue.Admission, json.RawMessage) {
	settings := r.settingsOf(l.Instance)
	former := l.InstanceID != "" && l.InstanceID != settings.id
	if s == sink.Global {
		switch {
		case !r.rule.Global:
			return queue.Hold, nil
		case former:
			return queue.Deliver, nil
		}
		return queue.Deliver, settings.Raw
	}
	if _, exists := r.registry.Get(l.Instance); !exists || former {
		return queue.Discard, nil
	}
	if !settings.On {
		return queue.Hold, nil
	}
	return queue.Deliver, settings.Raw
}

// restart replaces the sink after a panic. The new one lives until the hub closes it.
func (r *sinkRunner) restart(ctx context.Context) (sink.Sink, error) {
	if err := r.close(ctx); err != nil {
		r.log.Warn().Err(err).Msg("the sink that panicked did not close properly")
	}
	s, err := r.make()
	if err != nil {
		return nil, err
	}
	r.set(s)
	life, end := context.WithCancel(context.WithoutCancel(ctx))
	r.end = end
	if err := s.Start(life); err != nil {
		return nil, fmt.Errorf("start: %w", err)
	}
	return s, nil
}
