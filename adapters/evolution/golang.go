package evolution

import (
	"bytes"
	"encoding/json"
	"fmt"
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
	var id, state string
	e, err := event.DecodeKeys(body, goKeys, func(e *event.Event, key string, value json.RawMessage) error {
		var field *string
		switch key {
		case "event":
			field = &e.Name
		case "instanceToken":
			field = &e.APIKey
		case "instanceId":
			field = &id
		case "instanceName":
			field = &e.Instance
		case "state":
			field = &state
		default:
			e.AddExtra(key, value)
			return nil
		}
		var ok bool
		if *field, ok = event.JSONText(value); !ok {
			return fmt.Errorf("%q must be a string, got %s", key, event.JSONKind(value))
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if e.Instance == "" {
		e.Instance = id
	}
	if e.Name == "" || e.Instance == "" {
		return nil, fmt.Errorf(`%w: "event", or both "instanceName" and "instanceId", are missing: `+
			`this is not an Evolution Go envelope`, event.ErrInvalid)
	}
	e.Name, e.Origin = event.Canonical(e.Name), "evolution-go"
	found := event.Find(e.Data, "Timestamp", "Info", "state")
	if e.Time = timeOf(found[0]); e.Time.IsZero() {
		e.Time = timeOf(event.Find(found[1], "Timestamp")[0])
	}
	if state != "" && found[2] == nil && event.JSONKind(e.Data) == "object" {
		e.Data = withState(e.Data, state)
	}
	e.ID = identity(e)
	return e, nil
}

// goKeys are those of Evolution Go's envelopes.
var goKeys = []string{"event", "instanceId", "instanceName", "instanceToken", "state", "data"}

// timeOf reads a time in RFC 3339; everything else is zero.
func timeOf(value json.RawMessage) time.Time {
	var t time.Time
	if t.UnmarshalJSON(value) != nil {
		return time.Time{}
	}
	return t.UTC().Truncate(time.Millisecond)
}

// withState returns data, an object, with "state" as its last key.
func withState(data json.RawMessage, state string) json.RawMessage {
	out := append(make([]byte, 0, len(data)+len(state)+16), data[:len(data)-1]...)
	if len(bytes.TrimSpace(out)) > 1 { // something stands behind the brace
		out = append(out, ',')
	}
	return append(event.AppendString(append(out, `"state":`...), state), '}')
}
