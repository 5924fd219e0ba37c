package event

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"sync"
	"time"
)

// ids makes UUIDv7s that grow within one process, also inside one millisecond and when
// the clock is set back (RFC 9562, section 6.2, method 1: a 12-bit counter in rand_a).
var ids struct {
	mu sync.Mutex
	// mu guards the fields below.
	ms  int64
	seq uint16
}

// NewID returns a new UUIDv7. IDs of one process grow in the order of the calls.
// Any number of goroutines may call it at once.
func NewID() string {
	ms, seq := tick(time.Now().UnixMilli())
	var u [16]byte
	rand.Read(u[8:]) // never fails: crypto/rand crashes the process instead
	binary.BigEndian.PutUint64(u[:8], uint64(ms)<<16|0x7000|uint64(seq))
	u[8] = u[8]&0x3f | 0x80
	return format(u)
}

func tick(now int64) (ms int64, seq uint16) {
	ids.mu.Lock()
	defer ids.mu.Unlock()
	switch {
	case now > ids.ms:
		ids.ms, ids.seq = now, 0
	case ids.seq < 0xfff:
		ids.seq++
	default:
		ids.ms, ids.seq = ids.ms+1, 0
	}
	return ids.ms, ids.seq
}

func format(u [16]byte) string {
	var b [36]byte
	hex.Encode(b[0:8], u[0:4])
	hex.Encode(b[9:13], u[4:6])
	hex.Encode(b[14:18], u[6:8])
	hex.Encode(b[19:23], u[8:10])
	hex.Encode(b[24:], u[10:])
	b[8], b[13], b[18], b[23] = '-', '-', '-', '-'
	return string(b[:])
}
