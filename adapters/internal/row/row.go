// Package row is how an event is stored in a row of an engine's tables (sqlite, postgres): its id and its payload in columns of
// their own, everything else in the column metadata, as strings with their length and numbers as varints.
//
// There are two layouts of metadata, because two things are stored. The log carries whatever messages its users append,
// so its rows are those of a message ([FromMessage]): any keys and values. The queue delivers events only, and stores
// one in every row of queue_events and queue_letters ([FromEvent]): the fields in a fixed order, which is smaller. A
// column holds one of them, so they need not be told apart.
package row

import (
	"encoding/binary"
	"errors"
)

// A Row is an event as its columns.
type Row struct {
	ID                string
	Metadata, Payload []byte // the payload is never nil, which would be NULL
}

// Size returns how many bytes the columns take.
func (r Row) Size() int64 { return int64(len(r.ID) + len(r.Metadata) + len(r.Payload)) }

var errMetadata = errors.New("malformed metadata")

// payload returns a payload that is not nil.
func payload(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}

// appendString appends a string with its length before it, as an unsigned varint.
func appendString(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// number reads an unsigned varint.
func number(b []byte) (n uint64, rest []byte, err error) {
	n, size := binary.Uvarint(b)
	if size <= 0 {
		return 0, nil, errMetadata
	}
	return n, b[size:], nil
}

// text reads what appendString wrote.
func text(b []byte) (s string, rest []byte, err error) {
	n, b, err := number(b)
	if err != nil || n > uint64(len(b)) {
		return "", nil, errMetadata
	}
	return string(b[:n]), b[n:], nil
}
