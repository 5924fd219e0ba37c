package engineio

import (
	"bytes"
	"compress/flate"
	"encoding/binary"
	"io"
	"sync"

	"github.com/evosink/evosink/sinks/websocket/engineio/packet"
	"github.com/gorilla/websocket"
)

// The bits of a websocket frame's first byte (RFC 6455, section 5.2; RFC 7692,
// section 6 for the compressed one).
const (
	finalBit      = 0x80
	compressedBit = 0x40
)

// An encoding is what one websocket connection needs its packets to look like.
type encoding struct {
	dialect packet.Dialect
	// deflate is the size in bytes from which messages are compressed; 0 if
	// the connection has not negotiated it.
	deflate int
}

// append appends one packet as one whole, unmasked frame.
func (f encoding) append(dst []byte, p packet.Packet) []byte {
	opcode := byte(websocket.BinaryMessage)
	if f.dialect.IsText(p) {
		opcode = websocket.TextMessage
	}
	size := f.dialect.Size(p)
	if f.deflate > 0 && size >= f.deflate {
		data := deflated(f.dialect.Append(make([]byte, 0, size), p))
		dst = appendHeader(dst, finalBit|compressedBit|opcode, len(data))
		return append(dst, data...)
	}
	dst = appendHeader(dst, finalBit|opcode, size)
	return f.dialect.Append(dst, p)
}

// frames returns a run of packets as frames in one piece.
func (f encoding) frames(packets ...packet.Packet) []byte {
	return frames(f, packets, func(p packet.Packet) packet.Packet { return p })
}

// messages returns a run of messages as frames in one piece.
func (f encoding) messages(msgs []Message) []byte {
	return frames(f, msgs, Message.packet)
}

func frames[T any](f encoding, items []T, packetOf func(T) packet.Packet) []byte {
	size := 0
	for _, item := range items {
		size += maxHeader + f.dialect.Size(packetOf(item))
	}
	dst := make([]byte, 0, size)
	for _, item := range items {
		dst = f.append(dst, packetOf(item))
	}
	return dst
}

// maxHeader is the size of the largest unmasked frame header.
const maxHeader = 10

func appendHeader(dst []byte, first byte, size int) []byte {
	switch {
	case size < 126:
		return append(dst, first, byte(size))
	case size <= 0xffff:
		return binary.BigEndian.AppendUint16(append(dst, first, 126), uint16(size))
	}
	return binary.BigEndian.AppendUint64(append(dst, first, 127), uint64(size))
}

// closeFrame returns the close frame of a code; 0 is a close without one.
func closeFrame(code int) []byte {
	if code == 0 {
		return []byte{finalBit | websocket.CloseMessage, 0}
	}
	return binary.BigEndian.AppendUint16([]byte{finalBit | websocket.CloseMessage, 2}, uint16(code))
}

// deflaters holds idle compressors, each worth hundreds of KiB.
var deflaters = sync.Pool{New: func() any {
	w, err := flate.NewWriter(io.Discard, flate.BestSpeed)
	if err != nil {
		panic(err) // the level is a constant
	}
	return w
}}

// deflated compresses one message on its own: gorilla negotiates without
// context takeover. The flush ends it with an empty block, of which the last
// four bytes are left out (RFC 7692, section 7.2.1).
func deflated(data []byte) []byte {
	var out bytes.Buffer
	w := deflaters.Get().(*flate.Writer)
	defer deflaters.Put(w)
	w.Reset(&out)
	_, _ = w.Write(data) // a bytes.Buffer takes everything
	w.Flush()
	return bytes.TrimSuffix(out.Bytes(), []byte{0, 0, 0xff, 0xff})
}
