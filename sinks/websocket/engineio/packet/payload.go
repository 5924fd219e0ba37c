package packet

import (
	"bytes"
	"iter"
	"slices"
	"strconv"
	"unicode/utf8"
)

// separator stands between the packets of a v4 payload.
const separator = 0x1e

// maxLengthDigits bounds the length fields of v3 payloads, as the reference
// does: the digits of the largest JavaScript number.
const maxLengthDigits = 310

// Packets yields the packets of a polling payload in order; the first error
// ends them. binary selects revision 3's binary form (sent as
// application/octet-stream); text must be valid UTF-8 already.
func (r Revision) Packets(payload []byte, binary bool) iter.Seq2[Packet, error] {
	next := r.cutV4
	switch {
	case r == V3 && binary:
		next = r.cutV3Binary
	case r == V3:
		next = r.cutV3Text
	}
	return func(yield func(Packet, error) bool) {
		for more := true; more; {
			var p Packet
			var err error
			p, payload, more, err = next(payload)
			if !yield(p, err) || err != nil {
				return
			}
		}
	}
}

func (r Revision) cutV4(payload []byte) (p Packet, rest []byte, more bool, err error) {
	first, rest, more := bytes.Cut(payload, []byte{separator})
	p, err = r.Decode(first[:len(first):len(first)], false)
	return p, rest, more, err
}

// cutV3Text cuts "<length>:<packet>", the length in UTF-16 code units.
func (r Revision) cutV3Text(payload []byte) (p Packet, rest []byte, more bool, err error) {
	end := bytes.IndexByte(payload[:min(len(payload), maxLengthDigits+1)], ':')
	if end < 0 {
		return p, nil, false, invalid("its length does not end")
	}
	units, err := length(payload[:end], '0', len(payload))
	if err != nil {
		return p, nil, false, err
	}
	payload = payload[end+1:]
	n, ok := bytesOfUTF16(payload, units)
	if !ok {
		return p, nil, false, invalid("its length does not fit")
	}
	p, err = r.Decode(payload[:n:n], false)
	return p, payload[n:], len(payload) > n, err
}

// cutV3Binary cuts a marker (0 text, 1 binary), the length as decimal digits
// of one byte each, 0xff, and the packet.
func (r Revision) cutV3Binary(payload []byte) (p Packet, rest []byte, more bool, err error) {
	if len(payload) == 0 || payload[0] > 1 {
		return p, nil, false, invalid("its marker is neither text nor binary")
	}
	binary := payload[0] == 1
	payload = payload[1:]
	end := bytes.IndexByte(payload[:min(len(payload), maxLengthDigits+1)], 0xff)
	if end < 0 {
		return p, nil, false, invalid("its length does not end")
	}
	n, err := length(payload[:end], 0, len(payload)-end-1)
	if err != nil {
		return p, nil, false, err
	}
	data := payload[end+1:]
	if !binary && !utf8.Valid(data[:n]) {
		return p, nil, false, invalid("its text is not UTF-8")
	}
	p, err = r.Decode(data[:n:n], binary)
	return p, data[n:], len(data) > n, err
}

// length reads decimal digits, zero being the digit 0. What is above limit
// cannot fit and is an error, so no number of digits overflows.
func length(digits []byte, zero byte, limit int) (int, error) {
	if len(digits) == 0 {
		return 0, invalid("it has no length")
	}
	n := 0
	for _, b := range digits {
		if b-zero > 9 {
			return 0, invalid("its length is no number")
		}
		if n = 10*n + int(b-zero); n > limit {
			return 0, invalid("its length does not fit")
		}
	}
	return n, nil
}

// bytesOfUTF16 returns how many bytes of text hold the first units UTF-16 code
// units, and false if text is shorter or a character straddles the end.
func bytesOfUTF16(text []byte, units int) (int, bool) {
	n := 0
	for units > 0 {
		char, size := utf8.DecodeRune(text[n:])
		if size == 0 {
			return 0, false
		}
		if units--; char > 0xffff {
			units--
		}
		n += size
	}
	return n, units == 0
}

// AppendPayload appends packets as one polling payload and reports whether it
// is revision 3's binary form, which holds if the client takes binary and any
// packet is.
func (d Dialect) AppendPayload(dst []byte, packets []Packet) (payload []byte, binary bool) {
	if d.Revision == V3 {
		return d.appendPayloadV3(dst, packets)
	}
	text := Dialect{Revision: V4, Base64: true}
	dst = text.grow(dst, packets)
	for i, p := range packets {
		if i > 0 {
			dst = append(dst, separator)
		}
		dst = text.Append(dst, p)
	}
	return dst, false
}

// grow makes room for packets and their lengths, of 7 digits and 2 marks at
// most in all but huge ones.
func (d Dialect) grow(dst []byte, packets []Packet) []byte {
	size := 0
	for _, p := range packets {
		size += 9 + d.Size(p)
	}
	return slices.Grow(dst, size)
}

func (d Dialect) appendPayloadV3(dst []byte, packets []Packet) ([]byte, bool) {
	dst = d.grow(dst, packets)
	for _, p := range packets {
		if p.Binary && !d.Base64 {
			return d.appendBinaryV3(dst, packets), true
		}
	}
	for _, p := range packets {
		n := d.Size(p)
		if !p.Binary {
			n = 1 + utf16Len(p.Data)
		}
		dst = append(strconv.AppendInt(dst, int64(n), 10), ':')
		dst = d.Append(dst, p)
	}
	return dst, false
}

func (d Dialect) appendBinaryV3(dst []byte, packets []Packet) []byte {
	for _, p := range packets {
		marker := byte(0)
		if p.Binary {
			marker = 1
		}
		dst = append(dst, marker)
		for _, digit := range strconv.Itoa(d.Size(p)) {
			dst = append(dst, byte(digit-'0'))
		}
		dst = d.Append(append(dst, 0xff), p)
	}
	return dst
}
