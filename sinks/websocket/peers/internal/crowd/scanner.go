package crowd

import "encoding/binary"

// A scanner finds the payloads in what a server sends, however it is cut.
type scanner struct {
	header [10]byte // of the next frame, as far as it has come
	have   int
	left   uint64 // what is missing of the frame's payload
	inside bool   // a frame has begun and not ended
}

// next returns the first piece of payload in b, whether its frame ends with it,
// and what follows. Without one, ok is false and b has been used up.
func (s *scanner) next(b []byte) (piece []byte, end bool, rest []byte, ok bool) {
	for !s.inside {
		if len(b) == 0 {
			return nil, false, nil, false
		}
		s.header[s.have] = b[0]
		s.have++
		b = b[1:]
		s.begin()
	}
	n := min(uint64(len(b)), s.left)
	s.left -= n
	s.inside = s.left > 0
	if n == 0 && s.inside {
		return nil, false, nil, false
	}
	return b[:n], !s.inside, b[n:], true
}

// begin enters the frame if its header is complete (RFC 6455, 5.2).
func (s *scanner) begin() {
	if s.have < 2 {
		return
	}
	switch short := s.header[1] & 0x7f; {
	case short < 126:
		s.left = uint64(short)
	case short == 126 && s.have == 4:
		s.left = uint64(binary.BigEndian.Uint16(s.header[2:]))
	case short == 127 && s.have == 10:
		s.left = binary.BigEndian.Uint64(s.header[2:])
	default:
		return
	}
	s.have, s.inside = 0, true
}
