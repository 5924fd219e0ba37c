package engineio

import (
	"encoding/binary"
	"errors"
	"io"

	"github.com/gorilla/websocket"
)

// errCompressed means that a frame says it is compressed that cannot be.
var errCompressed = errors.New("engineio: RSV1 on a frame that does not begin a message")

// A guard reads what gorilla will, and checks the one thing that gorilla does not
// once permessage-deflate is negotiated: RSV1 is for the first frame of a
// message, not for control frames and continuations (RFC 7692, section 6). It
// looks at headers only; that they make sense is left to gorilla.
type guard struct {
	io.Reader
	header []byte // what has come of a frame's header
	body   uint64 // bytes left of the frame behind it
}

// Read returns errCompressed in place of bytes that hold such a frame.
func (g *guard) Read(p []byte) (int, error) {
	n, err := g.Reader.Read(p)
	if !g.pass(p[:n]) {
		return 0, errCompressed
	}
	return n, err
}

// pass follows the frames in p, and reports whether they are allowed.
func (g *guard) pass(p []byte) bool {
	for len(p) > 0 {
		if g.body > 0 {
			n := min(g.body, uint64(len(p)))
			g.body -= n
			p = p[n:]
			continue
		}
		g.header = append(g.header, p[0])
		p = p[1:]
		if g.header[0]&compressedBit != 0 && !beginsMessage(g.header[0]) {
			return false
		}
		if body, whole := frameBody(g.header); whole {
			g.header, g.body = g.header[:0], body
		}
	}
	return true
}

func beginsMessage(first byte) bool {
	opcode := first & 0x0f
	return opcode == websocket.TextMessage || opcode == websocket.BinaryMessage
}

// frameBody returns how many bytes follow a frame's header, if that is whole (RFC
// 6455, section 5.2).
func frameBody(header []byte) (body uint64, whole bool) {
	if len(header) < 2 {
		return 0, false
	}
	size, length := 2, header[1]&0x7f
	switch length {
	case 126:
		size += 2
	case 127:
		size += 8
	}
	if header[1]&0x80 != 0 {
		size += 4 // the mask
	}
	if len(header) < size {
		return 0, false
	}
	switch length {
	case 126:
		return uint64(binary.BigEndian.Uint16(header[2:])), true
	case 127:
		return binary.BigEndian.Uint64(header[2:]), true
	}
	return uint64(length), true
}
