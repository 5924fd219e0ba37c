package row

import (
	"encoding/binary"
	"errors"
	"maps"
	"slices"

	"github.com/ThreeDotsLabs/watermill/message"
)

// maxMetadata bounds what decodeMetadata takes, and so what Publish lets in.
const maxMetadata = 256

var errMetadata = errors.New("malformed metadata")

// encodeMetadata returns metadata as it is stored: the number of entries, then each key and value, sorted by key, all strings
// with their length before them, all numbers as unsigned varints.
func encodeMetadata(m message.Metadata) []byte {
	b := binary.AppendUvarint(nil, uint64(len(m)))
	for _, k := range slices.Sorted(maps.Keys(m)) {
		b = appendString(appendString(b, k), m[k])
	}
	return b
}

func appendString(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// decodeMetadata reads what encodeMetadata wrote, and refuses everything else. It allocates no more than len(b) justifies.
func decodeMetadata(b []byte) (message.Metadata, error) {
	n, b, err := number(b)
	if err != nil || n > maxMetadata || n > uint64(len(b))/2 {
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

func number(b []byte) (n uint64, rest []byte, err error) {
	n, size := binary.Uvarint(b)
	if size <= 0 {
		return 0, nil, errMetadata
	}
	return n, b[size:], nil
}

func text(b []byte) (s string, rest []byte, err error) {
	n, b, err := number(b)
	if err != nil || n > uint64(len(b)) {
		return "", nil, errMetadata
	}
	return string(b[:n]), b[n:], nil
}
