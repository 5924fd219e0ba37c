package parser

import (
	"encoding/json"
	"fmt"
	"unicode/utf8"
)

// A Decoder assembles packets from the messages of one connection. It is not
// safe for use by several goroutines.
type Decoder struct {
	limits  *Limits
	waiting *assembly // of a binary packet that lacks attachments, else nil
}

// assembly is a binary packet on its way.
type assembly struct {
	packet   Packet
	elements []element
	received [][]byte
	missing  int
	size     int // of received, in bytes
}

// NewDecoder returns a decoder with limits, which many decoders may share and
// which must not change afterwards. See Limits.WithDefaults.
func NewDecoder(limits *Limits) Decoder { return Decoder{limits: limits} }

// Text takes a text message. It reports whether p is a whole packet: a binary
// packet is complete with its last attachment. The packet refers to text, which
// must not change afterwards.
func (d *Decoder) Text(text []byte) (p Packet, complete bool, err error) {
	if d.waiting != nil {
		return p, false, fmt.Errorf("text in place of an attachment: %w", ErrMalformed)
	}
	if !utf8.Valid(text) { // a receiver's browser would drop its connection
		return p, false, fmt.Errorf("text is no UTF-8: %w", ErrMalformed)
	}
	h, payload, err := d.limits.header(text)
	if err != nil {
		return p, false, err
	}
	p = h.packet()
	switch p.Type {
	case Event, Ack:
		return d.arguments(h, p, payload)
	default:
		p.Data, err = d.limits.data(p.Type, payload)
		return p, err == nil, err
	}
}

// Binary takes a binary message: the next attachment of the packet before it.
func (d *Decoder) Binary(data []byte) (p Packet, complete bool, err error) {
	a := d.waiting
	if a == nil {
		return p, false, fmt.Errorf("attachment without a packet: %w", ErrMalformed)
	}
	if a.size += len(data); a.size > d.limits.AttachmentBytes {
		return p, false, fmt.Errorf("attachments: %w of %d bytes", ErrLimit, d.limits.AttachmentBytes)
	}
	a.received = append(a.received, data)
	if a.missing--; a.missing > 0 {
		return p, false, nil
	}
	d.waiting = nil
	p = a.packet
	p.Args = bind(a.elements, a.received)
	return p, true, nil
}

// arguments reads the payload of an event or acknowledgement.
func (d *Decoder) arguments(h header, p Packet, payload []byte) (Packet, bool, error) {
	if len(payload) == 0 {
		if h.binary() {
			return p, false, fmt.Errorf("payload: %w", ErrMalformed)
		}
		p.Bare = true
		return p, true, nil
	}
	parts, err := d.limits.array(payload)
	if err != nil {
		return p, false, err
	}
	if p.Type == Event {
		if p.Name, err = eventName(parts); err != nil {
			return p, false, err
		}
		parts = parts[1:]
	}
	if !h.binary() {
		p.Args = plain(parts)
		return p, true, nil
	}
	elements, err := findPlaceholders(parts, h.attachments)
	if err != nil {
		return p, false, err
	}
	d.waiting = &assembly{packet: p, elements: elements, missing: h.attachments}
	return p, false, nil
}

// eventName returns the first element, which must be a string that is not
// reserved, or a number (CVE-2023-32695).
func eventName(parts []json.RawMessage) (string, error) {
	if len(parts) == 0 {
		return "", fmt.Errorf("event name: %w", ErrMalformed)
	}
	first := parts[0]
	switch c := first[0]; {
	case c == '"':
		name := unquote(first)
		if Reserved(name) {
			return "", fmt.Errorf("event name %q is reserved: %w", name, ErrMalformed)
		}
		return name, nil
	case c == '-' || c >= '0' && c <= '9':
		return string(first), nil
	}
	return "", fmt.Errorf("event name: %w", ErrMalformed)
}

// plain returns arguments without binary values.
func plain(parts []json.RawMessage) []Arg {
	args := make([]Arg, len(parts))
	for i, part := range parts {
		args[i].JSON = part
	}
	return args
}
