package row

import (
	"encoding/binary"
	"slices"

	"github.com/ThreeDotsLabs/watermill/message"
)

// MaxMetadata is how many entries of metadata a message may have.
const MaxMetadata = 256

// FromMessage returns a message as it is stored. The metadata is the number of entries, then each key and value, sorted
// by key. It shares the payload.
func FromMessage(m *message.Message) Row {
	var room [16]string // an event has fewer
	keys, size := room[:0], binary.MaxVarintLen64
	for k, v := range m.Metadata {
		keys = append(keys, k)
		size += len(k) + len(v) + 2*binary.MaxVarintLen16
	}
	slices.Sort(keys)
	b := binary.AppendUvarint(make([]byte, 0, size), uint64(len(keys)))
	for _, k := range keys {
		b = appendString(appendString(b, k), m.Metadata[k])
	}
	return Row{m.UUID, b, payload(m.Payload)}
}

// Message returns the message that FromMessage has stored; with metadata that cannot be decoded one without any. It
// shares the payload.
func (r Row) Message() *message.Message {
	m := message.NewMessage(r.ID, r.Payload)
	if metadata, err := decodeMetadata(r.Metadata); err == nil {
		m.Metadata = metadata
	}
	return m
}

// decodeMetadata reads what FromMessage wrote, and refuses everything else. It allocates no more than len(b) justifies.
func decodeMetadata(b []byte) (message.Metadata, error) {
	n, b, err := number(b)
	if err != nil || n > MaxMetadata || n > uint64(len(b))/2 {
		return nil, errMetadata
	}
	m := make(message.Metadata, n)
	for range n {
		var k, v string
		if k, b, err = text(b); err != nil {
			return nil, err
		}
		if v, b, err = text(b); err != nil {
			return nil, err
		}
		m[k] = v
	}
	if len(b) > 0 || uint64(len(m)) != n {
		return nil, errMetadata
	}
	return m, nil
}
