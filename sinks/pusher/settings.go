package pusher

import (
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/evosink/evosink/core/event"
	"github.com/evosink/evosink/core/sink"
)

//go:embed settings.schema.json
var schema json.RawMessage

// stored are the settings of an instance as they are kept and found (evolution.md 5.4).
type stored struct {
	Enabled bool `json:"enabled"`
	app
	Events []string `json:"events"`
}

// names are the user's for the fields of an app.
var names = map[string]string{"appId": "appId", "key": "key", "secret": "secret", "cluster": "cluster"}

// normalize turns what an instance sets into what is stored. A key that is absent keeps its value, so {"enabled":false} forgets
// nothing. Errors are for the caller.
func normalize(block, previous json.RawMessage) (json.RawMessage, error) {
	var s stored
	if len(previous) > 0 {
		if err := json.Unmarshal(previous, &s); err != nil {
			s = stored{} // what cannot be read cannot be kept
		}
	}
	s.Enabled, s.Events = false, nil
	if err := event.Unmarshal(block, &s); err != nil {
		return nil, errors.New("the settings must be an object like {\"enabled\":true,\"appId\":\"1\",\"key\":\"k\",\"secret\":\"s\",\"cluster\":\"sa1\",\"useTLS\":true,\"events\":[]}")
	}
	if s.Enabled {
		if err := s.check(names, false); err != nil {
			return nil, err
		}
	}
	var err error
	s.Events, err = sink.NormalizeEvents(sink.Subscription{Enabled: s.Enabled, Events: s.Events}, previous)
	if err != nil {
		return nil, err
	}
	return json.Marshal(s)
}

// appOf finds the app of a delivery as it is set now.
func (s *Sink) appOf(d *sink.Delivery) (app, error) {
	if d.Scope == sink.Global {
		a := s.config.global()
		return a, sink.Unavailable(a.check(globalNames, s.config.Host != "")) // it was switched off while the event waited
	}
	var set stored
	if len(d.Settings) == 0 {
		return app{}, sink.Permanent(errors.New("the instance has no app any more"))
	}
	if err := json.Unmarshal(d.Settings, &set); err != nil {
		return app{}, sink.Permanent(fmt.Errorf("read stored settings: %w", err))
	}
	if err := set.check(names, s.config.Host != ""); err != nil {
		return app{}, sink.Permanent(fmt.Errorf("the instance's settings: %w", err))
	}
	if !set.Enabled {
		return app{}, sink.Unavailable(errors.New("the instance's app is switched off"))
	}
	return set.app, nil
}
