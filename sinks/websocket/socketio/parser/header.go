package parser

import (
	"bytes"
	"fmt"
	"strconv"
)

// header is what stands before the payload.
type header struct {
	kind        Type // may be one of the binary types
	attachments int
	namespace   string
	id          uint64
	hasID       bool
}

func (h header) binary() bool { return h.kind == binaryEvent || h.kind == binaryAck }

// packet returns the packet that h begins, without payload.
func (h header) packet() Packet {
	p := Packet{Type: h.kind, Namespace: h.namespace, ID: h.id, HasID: h.hasID}
	switch h.kind {
	case binaryEvent:
		p.Type = Event
	case binaryAck:
		p.Type = Ack
	}
	return p
}

// header reads everything before the payload, which it returns.
func (l *Limits) header(text []byte) (h header, payload []byte, err error) {
	if len(text) == 0 || text[0] < '0' || text[0] > '0'+byte(binaryAck) {
		return h, nil, fmt.Errorf("type: %w", ErrMalformed)
	}
	h.kind = Type(text[0] - '0')
	payload = text[1:]
	if h.binary() {
		if h.attachments, payload, err = l.attachments(payload); err != nil {
			return h, nil, err
		}
	}
	if h.namespace, payload, err = l.namespace(payload); err != nil {
		return h, nil, err
	}
	h.id, h.hasID, payload = ackID(payload)
	return h, payload, nil
}

// attachments reads "<count>-", count being 1 or more (CVE-2026-33151; a zero
// used to wedge the reference decoder).
func (l *Limits) attachments(text []byte) (count int, rest []byte, err error) {
	digits := digits(text)
	if digits == 0 || digits == len(text) || text[digits] != '-' {
		return 0, nil, fmt.Errorf("number of attachments: %w", ErrMalformed)
	}
	for _, c := range text[:digits] {
		count = count*10 + int(c-'0')
		if count > l.Attachments {
			return 0, nil, fmt.Errorf("number of attachments: %w of %d", ErrLimit, l.Attachments)
		}
	}
	if count == 0 {
		return 0, nil, fmt.Errorf("number of attachments: %w", ErrMalformed)
	}
	return count, text[digits+1:], nil
}

// namespace reads "/name," or, at the end of the text, "/name". A text that
// begins otherwise belongs to "/".
func (l *Limits) namespace(text []byte) (name string, rest []byte, err error) {
	if len(text) == 0 || text[0] != '/' {
		return "/", text, nil
	}
	end := bytes.IndexByte(text, ',')
	rest = text[len(text):]
	if end < 0 {
		end = len(text)
	} else {
		rest = text[end+1:]
	}
	if end > l.Namespace {
		return "", nil, fmt.Errorf("namespace: %w of %d bytes", ErrLimit, l.Namespace)
	}
	if end == 1 {
		return "/", rest, nil
	}
	return string(text[:end]), rest, nil
}

// ackID reads the digits of an ack id, if there are any. One that is no uint64
// counts as the largest: no call waits for it.
func ackID(text []byte) (id uint64, found bool, rest []byte) {
	end := digits(text)
	if end == 0 {
		return 0, false, text
	}
	id, _ = strconv.ParseUint(string(text[:end]), 10, 64) // the largest if out of range
	return id, true, text[end:]
}

// digits returns how many decimal digits text begins with.
func digits(text []byte) int {
	n := 0
	for n < len(text) && text[n] >= '0' && text[n] <= '9' {
		n++
	}
	return n
}
