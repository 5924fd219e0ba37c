// Package packet is the pure half of Engine.IO: packets and payloads to bytes
// and back, for revisions 3 and 4 of the protocol. It has no connection, clock
// or goroutine. Decoders never allocate by what a peer announces, only by what
// it sent, and slices they return alias their input.
package packet

import (
	"encoding/base64"
	"errors"
	"fmt"
	"unicode/utf8"
)

// Type is the kind of a packet (Engine.IO v4, "Packet types").
type Type byte

// The packet types, by their number on the wire.
const (
	Open Type = iota
	Close
	Ping
	Pong
	Message
	Upgrade
	Noop
)

// String returns the type's name in the protocol's documents.
func (t Type) String() string {
	names := [...]string{"open", "close", "ping", "pong", "message", "upgrade", "noop"}
	if int(t) < len(names) {
		return names[t]
	}
	return fmt.Sprintf("unknown type %d", byte(t))
}

// A Packet is one unit of the protocol. Only messages carry binary data.
type Packet struct {
	Type   Type
	Binary bool
	Data   []byte
}

// ErrInvalid is wrapped by every error of this package: the peer sent
// something that is no packet or payload.
var ErrInvalid = errors.New("invalid packet")

func invalid(why string) error { return fmt.Errorf("%w: %s", ErrInvalid, why) }

// A Revision is a revision of the protocol, the query parameter EIO.
type Revision uint8

// The revisions. They differ in the form of payloads, of binary packets on
// websockets, and in the side that sends the pings.
const (
	V3 Revision = 3
	V4 Revision = 4
)

// Decode reads one packet from a websocket message or from within a payload.
// Text must be valid UTF-8 already.
func (r Revision) Decode(data []byte, binary bool) (Packet, error) {
	switch {
	case binary && r == V4:
		return Packet{Type: Message, Binary: true, Data: data}, nil
	case len(data) == 0:
		return Packet{}, invalid("it is empty")
	case binary:
		return typed(data[0], true, data[1:])
	case data[0] == 'b':
		return r.decodeBase64(data[1:])
	}
	return typed(data[0]-'0', false, data[1:])
}

// decodeBase64 reads what follows the letter b: in revision 3 the type's
// digit, then base64.
func (r Revision) decodeBase64(data []byte) (Packet, error) {
	digit := byte('0' + Message)
	if r == V3 {
		if len(data) == 0 {
			return Packet{}, invalid("it ends before its type")
		}
		digit, data = data[0], data[1:]
	}
	for len(data) > 0 && data[len(data)-1] == '=' {
		data = data[:len(data)-1]
	}
	decoded := make([]byte, base64.RawStdEncoding.DecodedLen(len(data)))
	n, err := base64.RawStdEncoding.Decode(decoded, data)
	if err != nil {
		return Packet{}, invalid("its base64 is malformed")
	}
	return typed(digit-'0', true, decoded[:n])
}

func typed(t byte, binary bool, data []byte) (Packet, error) {
	if Type(t) > Noop {
		return Packet{}, invalid("its type is unknown")
	}
	return Packet{Type: Type(t), Binary: binary, Data: data}, nil
}

// A Dialect is what one client understands: a revision of the protocol and
// whether it has asked for base64 in place of binary (query parameter b64).
type Dialect struct {
	Revision Revision
	Base64   bool
}

// IsText reports whether p stands in a text message on a websocket.
func (d Dialect) IsText(p Packet) bool { return !p.Binary || d.Base64 }

// Size returns how many bytes Append appends.
func (d Dialect) Size(p Packet) int {
	switch {
	case !p.Binary:
		return 1 + len(p.Data)
	case d.Base64:
		return d.Revision.base64Size(p)
	case d.Revision == V3:
		return 1 + len(p.Data)
	}
	return len(p.Data)
}

// Append appends p as it stands in a websocket message of the kind IsText
// tells.
func (d Dialect) Append(dst []byte, p Packet) []byte {
	switch {
	case !p.Binary:
		dst = append(dst, '0'+byte(p.Type))
	case d.Base64:
		return d.Revision.appendBase64(dst, p)
	case d.Revision == V3:
		dst = append(dst, byte(p.Type))
	}
	return append(dst, p.Data...)
}

func (r Revision) base64Size(p Packet) int {
	n := 1 + base64.StdEncoding.EncodedLen(len(p.Data))
	if r == V3 {
		n++
	}
	return n
}

func (r Revision) appendBase64(dst []byte, p Packet) []byte {
	dst = append(dst, 'b')
	if r == V3 {
		dst = append(dst, '0'+byte(p.Type))
	}
	return base64.StdEncoding.AppendEncode(dst, p.Data)
}

// utf16Len returns the length of text as JavaScript counts it.
func utf16Len(text []byte) int {
	n := 0
	for _, b := range text {
		if utf8.RuneStart(b) {
			n++
		}
		if b >= 0xf0 { // the first of four bytes: a surrogate pair
			n++
		}
	}
	return n
}
