package core

import (
	"context"
	"encoding/json"
	"fmt"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/rs/zerolog"

	"github.com/evosink/evosink/core/bus"
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

// close closes the sink. A panic of it is an error.
func (m *member) close(ctx context.Context) (err error) {
	ctx, cancel := context.WithTimeout(ctx, m.drain)
	defer cancel()
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the sink panicked: %v\n%s", p, debug.Stack())
		}
		if m.end != nil {
			m.end()
		}
	}()
	return m.get().Close(ctx)
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

// live is the router's handler of a sink of mode Live. It never fails: whoever
// cannot be reached now has missed the event.
func (m *member) live(b *bus.Batch) error {
	defer m.progress.done(b.Cursor)
	var at bus.Position // of the last message; a broadcast has a single one in a batch
	if b.Cursor != nil {
		at = b.Cursor.Position
	}
	for _, msg := range b.Messages {
		m.show(b.Context(), msg, at)
	}
	return nil
}

// show delivers the event that a message carries to the sink's targets.
func (m *member) show(ctx context.Context, msg *message.Message, at bus.Position) {
	e, err := bus.Event(msg)
	if err != nil {
		m.log.Warn().Err(err).Str("message", msg.UUID).Msg("message on the bus skipped")
		return
	}
	if err := m.meet(ctx, e); err != nil {
		m.log.Warn().Err(err).Str("id", e.ID).Msg("an event of an instance that is new here; it is delivered by the settings that are known")
	}
	settings := m.settingsFor(e)
	scopes := scope.Of(e, m.name, m.rule, settings)
	for _, to := range scope.Targets(m.get(), e, scopes, settings.Raw) {
		d := &sink.Delivery{
			Event: e, Scope: to.Scope, Target: to.Target, Settings: settings.Raw,
			Attempt: 1, Key: sink.Key(e, to.Target), Position: int64(at),
		}
		if err := m.deliver(ctx, d); err == nil {
			m.delivered.Add(1)
		} else {
			m.failed.Add(1)
			m.log.Warn().Err(err).Str("id", e.ID).Str("event", e.Name).Msg("live delivery failed")
		}
	}
}

// meet makes sure that the registry knows the instance of an event, which another node may have created a moment ago.
func (m *member) meet(ctx context.Context, e *event.Event) error {
	if in, ok := m.registry.Get(e.Instance); e.InstanceID == "" || ok && in.ID == e.InstanceID {
		return nil
	}
	return m.registry.Refresh(ctx)
}

// deliver calls the sink and turns a panic in it into an error.
func (m *member) deliver(ctx context.Context, d *sink.Delivery) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the sink panicked: %v\n%s", p, debug.Stack())
		}
	}()
	return m.get().Deliver(ctx, d)
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

// directory shows one sink the registry.
type directory struct {
	registry *instances.Registry
	sink     string
}

func (d *directory) Lookup(instance string) (json.RawMessage, bool) {
	in, ok := d.registry.Get(instance)
	return in.Settings[d.sink].Value, ok
}

func (d *directory) Owns(e *event.Event) bool {
	in, _ := d.registry.Get(e.Instance)
	return owns(in.ID, e)
}

func (d *directory) Authenticate(key string) (sink.Principal, bool) {
	global, instance, ok := d.registry.Authenticate(key)
	return sink.Principal{Global: global, Instance: instance}, ok
}

var changes = map[instances.ChangeKind]sink.ChangeKind{
	instances.Created:     sink.Created,
	instances.Deleted:     sink.Deleted,
	instances.NewToken:    sink.NewToken,
	instances.NewSettings: sink.NewSetting,
}

func (d *directory) Watch(f func(sink.Change)) (stop func()) {
	return d.registry.Watch(func(c instances.Change) {
		if c.Kind != instances.NewSettings || c.Sink == d.sink {
			f(sink.Change{Kind: changes[c.Kind], Instance: c.Instance, ID: c.ID})
		}
	})
}
