package engineio

import (
	"bufio"
	"io"
	"net"
	"sync"
	"syscall"
	"time"

	"github.com/gorilla/websocket"
)

// closeTimeout is how long a connection may take to let its last frames out
// and to hang up after the server has said goodbye.
const closeTimeout = 5 * time.Second

// A conn is one websocket connection. It is also the net.Conn that gorilla
// reads from and writes its control frames to: all that leaves goes through
// write, in one order.
//
// Its goroutines are at most two, and only while there is something to do: a
// reader unless it is parked, a drainer while the peer does not keep up.
type conn struct {
	net.Conn
	server   *Server
	session  *Session
	ws       *websocket.Conn
	answer   []byte // to the handshake, until it has been written
	encoding encoding
	// raw writes without waiting; nil where the connection has no descriptor
	// of its own (TLS, pipes).
	raw syscall.RawConn
	// poller watches the connection while it is parked; nil where there is
	// none.
	poller     *poller
	descriptor int32 // what the poller knows the connection by
	// in is gorilla's read buffer, of source. It belongs to the reader; a
	// parked connection has none.
	in     bufio.Reader
	source io.Reader // the connection, or what has come early and a guard before it
	early  bool      // something has

	// mu guards the fields below.
	mu       sync.Mutex
	queue    net.Buffers // what the peer has not taken yet, whole frames but for the first
	queued   int         // its size with overhead, what is being drained included
	first    int         // what was queued when there was nothing
	draining bool        // a drainer has the queue
	parked   bool        // no reader: the poller starts one
	onTrial  bool        // not a transport yet, and never parked: its reader has a deadline
	leaving  bool        // the close frame is on its way; nothing may follow it
	hurried  bool        // the reader's life is bounded
}

// writeAnswer sends gorilla's answer to the handshake, and frames in the same
// write. It is the first thing sent, before c is known to any other goroutine. If it fails,
// the reader will notice.
func (c *conn) writeAnswer(frames []byte) {
	answer := append(c.answer, frames...)
	c.answer = nil
	_ = c.write(answer)
}

// leave sends a close frame with code (0 for none) behind what is queued, then
// ends the server's half of the connection. The reader waits for the peer to
// hang up, up to closeTimeout.
func (c *conn) leave(code int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.leaving {
		_ = c.send(closeFrame(code)) // or the reader will notice
	}
	c.hurry()
}

// isLeaving reports whether the close frame is on its way.
func (c *conn) isLeaving() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.leaving
}

// hurry bounds the reader's life, once, and makes sure that there is one.
// Held: mu.
func (c *conn) hurry() {
	if !c.hurried {
		c.hurried = true
		_ = c.SetReadDeadline(time.Now().Add(closeTimeout)) // or it is cut already
	}
	c.unpark()
}

// settle ends the trial of a connection that has become the transport.
func (c *conn) settle() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.onTrial = false
	_ = c.SetReadDeadline(time.Time{})
}

// unpark starts a reader if there is none. Held: mu.
func (c *conn) unpark() {
	if c.parked {
		c.parked = false
		c.server.tasks.Go(c.read)
	}
}

// abort cuts the connection; what is queued is lost.
func (c *conn) abort() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.leaving = true
	c.queue = nil
	c.Close()
	c.hurry()
}

// release ends the connection for good. Only its reader calls it, last.
func (c *conn) release() {
	if c.poller != nil {
		c.poller.remove(c)
	}
	c.abort()
	c.server.forget(c)
}

// SetWriteDeadline does nothing: gorilla sets one per control frame, but no
// write waits for the peer.
func (c *conn) SetWriteDeadline(time.Time) error { return nil }
