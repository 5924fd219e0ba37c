package row

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"time"

	"github.com/evosink/evosink/core/event"
	"github.com/evosink/evosink/core/queue"
)

// storedEvent is an event as its columns. The id has one of its own because it is looked for.
type storedEvent struct {
	id                string
	metadata, payload []byte
}

// The first byte of metadata is the format; another layout gets another number.
const (
	eventFormat  = 1
	extrasFormat = 2 // with the event's extras behind the rest
)

// encodeEvent writes the metadata as it is stored: the format, the time in Unix nanoseconds as a varint, and the
// strings of the event, each with its length before it, then the sinks, then the extras if there are any.
func encodeEvent(e *event.Event) storedEvent {
	b := make([]byte, 0, 64+len(e.Name)+len(e.Instance)+len(e.Sender)+len(e.ServerURL)+len(e.Origin)+len(e.APIKey)+len(e.Extras))
	format := byte(eventFormat)
	if len(e.Extras) > 0 {
		format = extrasFormat
	}
	b = binary.AppendVarint(append(b, format), e.Time.UnixNano())
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
	payload := []byte(e.Data)
	if payload == nil {
		payload = []byte{} // nil would be NULL
	}
	return storedEvent{e.ID, b, payload}
}

// event reads what encodeEvent wrote, and refuses everything else.
func (s storedEvent) event() (*event.Event, error) {
	e, err := s.decode()
	if err != nil {
		return nil, fmt.Errorf("event %s in the queue: %w", s.id, err)
	}
	return e, nil
}

func (s storedEvent) decode() (e *event.Event, err error) {
	if len(s.metadata) == 0 || s.metadata[0] != eventFormat && s.metadata[0] != extrasFormat {
		return nil, errMetadata
	}
	format, b := s.metadata[0], s.metadata[1:]
	at, n := binary.Varint(b)
	if n <= 0 {
		return nil, errMetadata
	}
	b = b[n:]
	e = &event.Event{ID: s.id, Time: time.Unix(0, at).UTC(), Data: s.payload}
	for _, field := range []*string{&e.Name, &e.Instance, &e.Sender, &e.ServerURL, &e.Origin, &e.APIKey} {
		if *field, b, err = text(b); err != nil {
			return nil, err
		}
	}
	count, b, err := number(b)
	if err != nil || count > uint64(len(b)) {
		return nil, errMetadata
	}
	for range count {
		var sink string
		if sink, b, err = text(b); err != nil {
			return nil, err
		}
		e.Sinks = append(e.Sinks, sink)
	}
	if format == extrasFormat {
		var extras string
		if extras, b, err = text(b); err != nil || extras == "" {
			return nil, errMetadata
		}
		e.Extras = json.RawMessage(extras)
	}
	if len(b) > 0 {
		return nil, errMetadata
	}
	return e, nil
}

func (s storedEvent) bytes() int64 { return int64(len(s.metadata) + len(s.payload)) }

// A laneList says in which lanes an event was put: for each a hash of the lane and the seq of the delivery, 8 bytes
// each. The list outlives the rows of lanes, so it cannot name these.
type laneList []byte

func (l laneList) add(lane queue.LaneKey, seq int64) laneList {
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(l, hash(lane)), uint64(seq))
}

func (l laneList) find(lane queue.LaneKey) (seq int64, ok bool) {
	for h := hash(lane); len(l) >= 16; l = l[16:] {
		if binary.BigEndian.Uint64(l) == h {
			return int64(binary.BigEndian.Uint64(l[8:])), true
		}
	}
	return 0, false
}

// hash is FNV-1a over the lane's parts, each ended by a zero; the instance's id is left out if there is none, as in
// older files.
func hash(l queue.LaneKey) uint64 {
	h := uint64(14695981039346656037)
	for part, s := range [...]string{l.Sink, string(l.Target), l.Instance, l.InstanceID} {
		if part == 3 && s == "" {
			break
		}
		for i := 0; i <= len(s); i++ {
			if i < len(s) {
				h ^= uint64(s[i])
			}
			h *= 1099511628211
		}
	}
	return h
}
