package core

import (
	"context"
	"fmt"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"github.com/evosink/evosink/core/event"
	"github.com/evosink/evosink/core/instances"
	"github.com/evosink/evosink/core/scope"
	"github.com/evosink/evosink/core/sink"
)

// A member is an enabled sink with what the hub keeps for it.
type member struct {
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

func (m *member) get() sink.Sink  { return *m.sink.Load() }
func (m *member) set(s sink.Sink) { m.sink.Store(&s) }

// close closes the sink, within the time that closing may take. A panic of the sink is an error.
func (m *member) close(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, m.drain)
	defer cancel()
	if m.end != nil {
		defer m.end()
	}
	return recovered(func() error { return m.get().Close(ctx) })
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

func newMember(f *sink.Factory, o Options, c *commands) (*member, error) {
	m := &member{
		name: f.Name, mode: f.Mode, rule: f.Rule(), registry: o.Instances, drain: o.DrainTimeout, idle: make(chan struct{}),
		log: o.Logger.With().Str("sink", f.Name).Logger(),
	}
	host := sink.Host{Logger: m.log, Directory: &directory{o.Instances, f.Name}, Envelope: o.Envelope, Commander: c}
	if o.Log != nil {
		host.Log, host.Reached = o.Log, m.progress.replayed
	}
	if m.mode == sink.Queued {
		host.Available = func() { m.available() }
	}
	m.make = func() (sink.Sink, error) { return f.New(host) }
	s, err := m.make()
	if err != nil {
		return nil, err
	}
	m.set(s)
	return m, nil
}

// settingsFor returns the settings by which the event is delivered: those of its instance. An event of a former
// instance of that name has none, and so reaches global targets only.
func (m *member) settingsFor(e *event.Event) scope.Settings {
	p := m.settingsOf(e.Instance)
	if !owns(p.id, e) {
		return scope.Settings{}
	}
	return p.Settings
}

// owns reports whether the instance with that id, "" for none, is the one that the event was accepted for, as far as
// the event tells.
func owns(id string, e *event.Event) bool { return e.InstanceID == "" || e.InstanceID == id }

// settingsOf returns the instance's settings of this sink, read anew when the instance has changed.
func (m *member) settingsOf(instance string) *parsed {
	in, ok := m.registry.Get(instance)
	if !ok {
		m.settings.Delete(instance)
		return &parsed{}
	}
	if p, ok := m.settings.Load(instance); ok && p.(*parsed).id == in.ID && p.(*parsed).version == in.Version {
		return p.(*parsed)
	}
	s, err := scope.Parse(in.Settings[m.name].Value)
	if err != nil {
		m.log.Error().Err(err).Str("instance", instance).Msg("stored settings are unreadable and taken for disabled")
	}
	p := &parsed{in.ID, in.Version, s}
	m.settings.Store(instance, p)
	return p
}
