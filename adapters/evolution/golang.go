package evolution

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/evosink/evosink/core/event"
)

// goEnvelope is evolution.md 6.2.
type goEnvelope struct {
	Event         string          `json:"event"`
	Data          json.RawMessage `json:"data"`
	InstanceToken string          `json:"instanceToken"`
	InstanceID    string          `json:"instanceId"`
	InstanceName  string          `json:"instanceName"`
	State         string          `json:"state"`
}

// DecodeGo reads the envelope of Evolution Go. The instance is its name there, or its id if it has no name. The time is
// the one that the data gives ("Timestamp" or "Info.Timestamp"); the envelope has none.
//
// "state", which stands beside the data of Receipt and Presence, moves into the data as its last
// key, for an event has no other place for it; the bytes before it stay as they are.
//
// The event still needs [event.Event.Validate]. Errors wrap [event.ErrInvalid].
func DecodeGo(body []byte) (*event.Event, error) {
	var w goEnvelope
	if err := json.Unmarshal(body, &w); err != nil {
		return nil, fmt.Errorf("%w: %w", event.ErrInvalid, explain(err))
	}
	name := w.InstanceName
	if name == "" {
		name = w.InstanceID
	}
	if w.Event == "" || name == "" {
		return nil, fmt.Errorf(`%w: "event", or both "instanceName" and "instanceId", are missing: this is not an Evolution Go envelope`, event.ErrInvalid)
	}
	e := &event.Event{
		Name: event.Canonical(w.Event), Instance: name, Time: timeOf(w.Data),
		Origin: "evolution-go", APIKey: w.InstanceToken, Data: withState(w.Data, w.State),
	}
	e.ID = identity(e)
	return e, nil
}

// timeOf returns when data says that it happened, zero if it does not.
func timeOf(data json.RawMessage) time.Time {
	var d struct {
		Timestamp moment
		Info      struct{ Timestamp moment }
	}
	_ = json.Unmarshal(data, &d) // data of another shape says nothing, which is what zero means
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

// explain turns encoding/json's errors into words for a producer.
func explain(err error) error {
	var mismatch *json.UnmarshalTypeError
	switch {
	case !errors.As(err, &mismatch):
		return fmt.Errorf("not valid JSON: %w", err)
	case mismatch.Field == "":
		return fmt.Errorf("expected a JSON object, got %s", mismatch.Value)
	}
	return fmt.Errorf("%q must be a string, got %s", mismatch.Field, mismatch.Value)
}
