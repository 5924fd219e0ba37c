package sink

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/evosink/evosink/core/event"
)

// Switches turn events on and off by name, in any spelling, as the variables RABBITMQ_EVENTS_* and their like do.
type Switches map[string]bool

// On returns the names that are switched on, sorted.
func (s Switches) On() []string {
	var names []string
	for _, name := range slices.Sorted(maps.Keys(s)) {
		if s[name] {
			names = append(names, name)
		}
	}
	return names
}

// Rule returns the rule of a sink with a global target, if there is one at all, for the events that are switched on and
// those named in more. Without any it is no global sink: to a [event.Filter], no name means all of them.
func (s Switches) Rule(global bool, more ...string) Rule {
	names := append(s.On(), more...)
	return Rule{Global: global && len(names) > 0, Events: event.NewFilter(names...)}
}

// Check reports every name that is switched on and can never match an event: a typing error. key is where the switches
// stand.
func (s Switches) Check(key string) error {
	var errs []error
	for _, name := range s.On() {
		if !event.CheckSubscription(name) {
			errs = append(errs, fmt.Errorf("%s.%s: there is no such event", key, name))
		}
	}
	return errors.Join(errs...)
}

// PlainSettings describes settings that hold nothing but a [Subscription]: "enabled" and "events".
func PlainSettings() *Settings {
	return &Settings{Schema: json.RawMessage(`{
	"type": "object",
	"required": ["enabled"],
	"properties": {
		"enabled": {"type": "boolean"},
		"events": {"type": "array", "maxItems": 500, "items": {"type": "string", "minLength": 1, "maxLength": 128}}
	}
}`)}
}
