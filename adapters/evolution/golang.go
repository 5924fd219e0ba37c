package evolution

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/evosink/evosink/core/event"
)

// DecodeGo reads the envelope of Evolution Go. The instance is its name there, or its id if it has no name. The time is
// the one that the data gives ("Timestamp" or "Info.Timestamp"); the envelope has none.
//
// "state", which stands beside the data of Receipt and Presence, moves into the data as its last
// key; the bytes before it stay as they are. Further keys become [event.Event.Extras]. Keys are exact, and none may be
// given twice.
//
// The event still needs [event.Event.Validate]. Errors wrap [event.ErrInvalid].
func DecodeGo(body []byte) (*event.Event, error) {
	e := &event.Event{Origin: "evolution-go"}
	var id, state string
	fields := map[string]*string{
		"event": &e.Name, "instanceToken": &e.APIKey, "instanceId": &id, "instanceName": &e.Instance, "state": &state,
	}
	var has []string
	err := event.Members(body, func(key string, value json.RawMessage) error {
		has = append(has, key)
		switch field := fields[key]; {
		case field != nil:
			var ok bool
			if *field, ok = event.JSONText(value); !ok {
				return fmt.Errorf("%q must be a string, got %s", key, event.JSONKind(value))
			}
		case key == "data":
			e.Data = value
		default:
			e.AddExtra(key, value)
		}
		return nil
	})
	if err == nil {
		err = event.CheckSpelling(has, append(slices.Sorted(maps.Keys(fields)), "data")...)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", event.ErrInvalid, err)
	}
	if e.Instance == "" {
		e.Instance = id
	}
	if e.Name == "" || e.Instance == "" {
		return nil, fmt.Errorf(`%w: "event", or both "instanceName" and "instanceId", are missing: this is not an Evolution Go envelope`, event.ErrInvalid)
	}
	e.Name, e.Time, e.Data = event.Canonical(e.Name), timeOf(e.Data), withState(e.Data, state)
	e.ID = identity(e)
	return e, nil
}

// timeOf returns when data says that it happened, zero if it does not.
func timeOf(data json.RawMessage) time.Time {
	var d struct {
		Timestamp moment
		Info      struct{ Timestamp moment }
	}
	_ = event.Unmarshal(data, &d) // data of another shape says nothing, which is what zero means
	at := time.Time(d.Timestamp)
	if at.IsZero() {
		at = time.Time(d.Info.Timestamp)
	}
	return at.UTC().Truncate(time.Millisecond)
}

// A moment is a time in RFC 3339; everything else reads as zero.
type moment time.Time

// UnmarshalJSON never fails.
func (m *moment) UnmarshalJSON(b []byte) error {
	var t time.Time
	if t.UnmarshalJSON(b) == nil {
		*m = moment(t)
	}
	return nil
}

// withState returns data, if it is an object without a "state", with one at its end.
func withState(data json.RawMessage, state string) json.RawMessage {
	var keys map[string]json.RawMessage
	if state == "" || json.Unmarshal(data, &keys) != nil || keys == nil || keys["state"] != nil {
		return data
	}
	open := bytes.TrimRight(data, " \t\r\n")
	out := append(make([]byte, 0, len(open)+len(state)+16), open[:len(open)-1]...)
	if len(keys) > 0 {
		out = append(out, ',')
	}
	return append(event.AppendString(append(out, `"state":`...), state), '}')
}
