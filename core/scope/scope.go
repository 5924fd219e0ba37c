// Package scope decides which sinks' targets receive an event. It is pure: switches and settings in, targets out.
package scope

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/evosink/evosink/core/event"
	"github.com/evosink/evosink/core/sink"
)

// Settings are an instance's settings of one sink, read once and used for every event.
// The zero value is an instance without settings.
type Settings struct {
	On     bool
	Events event.Filter
	Raw    json.RawMessage // as stored
}

// Parse reads stored settings; nil gives the zero value.
func Parse(raw json.RawMessage) (Settings, error) {
	s, err := sink.ParseSubscription(raw)
	if err != nil {
		return Settings{}, fmt.Errorf("read settings: %w", err)
	}
	return Settings{On: s.Enabled, Events: event.NewFilter(s.Events...), Raw: raw}, nil
}

// Of returns why the sink called name receives e: globally, for the instance, both (they are additive unless
// the rule is exclusive) or, with an empty result, not at all.
func Of(e *event.Event, name string, rule sink.Rule, settings Settings) []sink.Scope {
	if len(e.Sinks) > 0 && !slices.Contains(e.Sinks, name) {
		return nil
	}
	var scopes []sink.Scope
	if rule.Global && rule.Events.Has(e.Name) {
		scopes = append(scopes, sink.Global)
	}
	ignored := rule.Global && rule.Exclusive
	if !ignored && settings.On && settings.Events.Has(e.Name) {
		scopes = append(scopes, sink.Instance)
	}
	return scopes
}

// Targets returns where the sink delivers e: what a [sink.Targeter] chooses, else
// one target per scope that carries the scope's name.
func Targets(s sink.Sink, e *event.Event, scopes []sink.Scope, settings json.RawMessage) []sink.Destination {
	if len(scopes) == 0 {
		return nil
	}
	if t, ok := s.(sink.Targeter); ok {
		return t.Targets(e, scopes, settings)
	}
	out := make([]sink.Destination, len(scopes))
	for i, scope := range scopes {
		out[i] = sink.Destination{Scope: scope, Target: sink.Target(scope.String())}
	}
	return out
}
