package sink

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/evosink/evosink/core/event"
)

// A Factory is a [Spec] with its configuration, and without its type: what main's table holds.
type Factory struct {
	Name     string
	Mode     Mode
	Settings *Settings
	// Config points to the configuration, to be filled before [Factory.New].
	Config  any
	enabled func() bool
	rule    func() Rule
	permit  func(stored json.RawMessage) error
	build   func(Host) (Sink, error)
}

// Use makes a factory with the defaults of a spec, changed by each of configure in turn.
func Use[C any](spec Spec[C], configure ...func(*C)) *Factory {
	c := spec.Defaults()
	for _, f := range configure {
		f(&c)
	}
	permit := func(json.RawMessage) error { return nil }
	if spec.Permit != nil {
		permit = func(stored json.RawMessage) error { return spec.Permit(&c, stored) }
	}
	return &Factory{
		Name: spec.Name, Mode: spec.Mode, Settings: spec.Settings, Config: &c,
		enabled: func() bool { return spec.Enabled(&c) },
		rule:    func() Rule { return spec.Rule(&c) },
		permit:  permit,
		build:   func(h Host) (Sink, error) { return spec.New(c, h) },
	}
}

// Enabled reports whether the configuration switches the sink on.
func (f *Factory) Enabled() bool { return f.enabled() }

// Rule returns the sink's global switches.
func (f *Factory) Rule() Rule { return f.rule() }

// New makes the sink of the configuration, which is checked first if it has a method Validate() error.
func (f *Factory) New(h Host) (Sink, error) {
	if err := f.Validate(); err != nil {
		return nil, err
	}
	s, err := f.build(h)
	if err != nil {
		return nil, fmt.Errorf("sink %s: %w", f.Name, err)
	}
	return s, nil
}

// Normalize turns a block of settings into the form that is stored, see [Settings]. It refuses what the configuration
// does not permit, see [Spec].
func (f *Factory) Normalize(block, previous json.RawMessage) (json.RawMessage, error) {
	normalize := f.Settings.Normalize
	if normalize == nil {
		normalize = Subscribe
	}
	stored, err := normalize(block, previous)
	if err != nil {
		return nil, err
	}
	if f.permit == nil { // a factory that was not made by Use
		return stored, nil
	}
	if err := f.permit(stored); err != nil {
		return nil, err
	}
	return stored, nil
}

// Subscribe is the plain form of [Settings].Normalize, for sinks without settings beyond enabled and events. An
// enabled subscription without events, or with an empty list, gets all names of [event.Settable], as Evolution API
// stores it. A disabled one keeps its events for when it is enabled again, unless it names others.
func Subscribe(block, previous json.RawMessage) (json.RawMessage, error) {
	s, err := ParseSubscription(block)
	if err != nil {
		return nil, err
	}
	if s.Events, err = NormalizeEvents(s, previous); err != nil {
		return nil, err
	}
	return json.Marshal(s)
}

// NormalizeEvents returns the list of events to store for s, see [Subscribe]; for
// sinks that have a Normalize of their own.
func NormalizeEvents(s Subscription, previous json.RawMessage) ([]string, error) {
	if !s.Enabled && s.Events == nil {
		old, err := ParseSubscription(previous)
		if err != nil || old.Events != nil {
			return old.Events, err
		}
	}
	if s.Enabled && len(s.Events) == 0 {
		return event.Settable(), nil
	}
	if s.Events == nil {
		return []string{}, nil
	}
	return slices.Clone(s.Events), nil
}
