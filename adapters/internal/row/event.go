package row

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"time"

	"github.com/evosink/evosink/core/event"
)

// The first byte of an event's metadata is the format; another layout gets another number.
const (
	eventFormat  = 1
	extrasFormat = 2 // with the event's extras behind the rest
)

// FromEvent returns an event as it is stored. The metadata is the format, the time in Unix nanoseconds as a varint, the
// strings of the event, then the sinks, then the extras if there are any. It shares the data.
func FromEvent(e *event.Event) Row {
	size := 64 + len(e.Name) + len(e.Instance) + len(e.Sender) + len(e.ServerURL) + len(e.Origin) + len(e.APIKey) +
		len(e.Extras)
	format := byte(eventFormat)
	if len(e.Extras) > 0 {
		format = extrasFormat
	}
	b := binary.AppendVarint(append(make([]byte, 0, size), format), e.Time.UnixNano())
	for _, s := range [...]string{e.Name, e.Instance, e.Sender, e.ServerURL, e.Origin, e.APIKey} {
		b = appendString(b, s)
	}
	b = binary.AppendUvarint(b, uint64(len(e.Sinks)))
	for _, s := range e.Sinks {
		b = appendString(b, s)
	}
	if format == extrasFormat {
		b = appendString(b, string(e.Extras))
	}
	return Row{e.ID, b, payload(e.Data)}
}

// Event returns the event that FromEvent has stored, and refuses everything else. It shares the payload.
func (r Row) Event() (*event.Event, error) {
	e := &event.Event{ID: r.ID, Data: r.Payload}
	if err := decodeEvent(r.Metadata, e); err != nil {
		return nil, fmt.Errorf("event %s in the queue: %w", r.ID, err)
	}
	return e, nil
}

func decodeEvent(b []byte, e *event.Event) (err error) {
	if len(b) == 0 || b[0] != eventFormat && b[0] != extrasFormat {
		return errMetadata
	}
	format, b := b[0], b[1:]
	at, n := binary.Varint(b)
	if n <= 0 {
		return errMetadata
	}
	e.Time, b = time.Unix(0, at).UTC(), b[n:]
	for _, field := range []*string{&e.Name, &e.Instance, &e.Sender, &e.ServerURL, &e.Origin, &e.APIKey} {
		if *field, b, err = text(b); err != nil {
			return err
		}
	}
	count, b, err := number(b)
	if err != nil || count > uint64(len(b)) {
		return errMetadata
	}
	for range count {
		var sink string
		if sink, b, err = text(b); err != nil {
			return err
		}
		e.Sinks = append(e.Sinks, sink)
	}
	if format == extrasFormat {
		var extras string
		if extras, b, err = text(b); err != nil || extras == "" {
			return errMetadata
		}
		e.Extras = json.RawMessage(extras)
	}
	if len(b) > 0 {
		return errMetadata
	}
	return nil
}
