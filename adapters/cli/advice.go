package cli

import (
	"fmt"
	"slices"
	"strings"

	"github.com/evosink/evosink/core/event"
	"github.com/evosink/evosink/core/sink"
)

// A Setting is a key of the configuration as it counts.
type Setting struct{ Key, Value, Origin string }

// Advice returns what is valid in the settings of sinks and yet does nothing, or not what it says: global switches of a
// sink that is off or that has no event, and names of events that are probably misspelt. nearest returns the candidate
// that a word was probably meant to be, "" if there is none.
func Advice(settings []Setting, sinks []*sink.Factory, nearest func(word string, among []string) string) (out []string) {
	warn := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	for _, s := range settings {
		for _, f := range sinks {
			if s.Value != "true" || s.Key != "sinks."+f.Name+".global_enabled" && s.Key != "sinks."+f.Name+".global_events" {
				continue
			}
			if !f.Enabled() {
				warn("%s delivers nothing (%s): sinks.%s.enabled is off", s.Key, s.Origin, f.Name)
			} else if !f.Rule().Global || !slices.ContainsFunc(event.Names(), f.Rule().Events.Has) {
				warn("%s delivers nothing (%s): no event is switched on in sinks.%s.events (ALL switches on all of them)",
					s.Key, s.Origin, f.Name)
			}
		}
		for _, name := range eventsOf(s) {
			known := event.CheckSubscription(name)
			if event.Known(name) || known && name == strings.ToUpper(name) {
				continue
			}
			if near := nearest(event.ConfigName(name), event.Settable()); near != "" {
				warn("%s: %q is not a known event, did you mean %s? (%s)", s.Key, name, near, s.Origin)
			} else if !known {
				warn("%s: %q is not a known event (%s)", s.Key, name, s.Origin)
			}
		}
	}
	return out
}

// eventsOf returns the names of events that a setting lists or switches on.
func eventsOf(s Setting) []string {
	path := strings.Split(s.Key, ".")
	last := path[len(path)-1]
	_, name, single := strings.Cut(s.Key, ".events.")
	switch {
	case s.Origin == "default":
		return nil
	case single && s.Value == "true":
		return []string{name}
	case (last == "events" || last == "global_events" || last == "drop_oldest") && s.Value != "true" && s.Value != "false" && s.Value != "{}":
		return strings.FieldsFunc(s.Value, func(r rune) bool { return r == ',' })
	}
	return nil
}
