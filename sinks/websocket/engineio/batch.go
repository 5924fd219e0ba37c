package engineio

import (
	"sync"
	"sync/atomic"

	"github.com/evosink/evosink/sinks/websocket/engineio/packet"
)

// A Batch is an immutable run of messages for many sessions. Each encoding it
// takes on a websocket is encoded at most once, when the first session needs
// it, so sending it to a session that keeps up costs one write and no
// allocation, and the sessions that do not keep up share what waits for them.
// Polling answers hold more than one batch and are encoded for each client.
//
// A Batch is safe for use by many goroutines. It must not be sent through
// servers with different PerMessageDeflate thresholds.
type Batch struct {
	msgs []Message

	// mu is held while it is encoded.
	mu      sync.Mutex
	encoded [encodingCount]atomic.Pointer[[]byte]
}

// encodingCount is the number of different encodings for websockets: two revisions, with
// and without base64, with and without compression.
const encodingCount = 8

// NewBatch returns a batch of msgs. Neither they nor their data may be changed
// afterwards.
func NewBatch(msgs ...Message) *Batch { return &Batch{msgs: msgs} }

// frames returns the batch in encoding f.
func (b *Batch) frames(f encoding) []byte {
	encoded := &b.encoded[f.index()]
	if frames := encoded.Load(); frames != nil {
		return *frames
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if frames := encoded.Load(); frames != nil {
		return *frames
	}
	frames := f.messages(b.msgs)
	encoded.Store(&frames)
	return frames
}

func (f encoding) index() int {
	i := 0
	if f.dialect.Revision == packet.V3 {
		i |= 1
	}
	if f.dialect.Base64 {
		i |= 2
	}
	if f.deflate > 0 {
		i |= 4
	}
	return i
}
