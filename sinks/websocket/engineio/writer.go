package engineio

import (
	"errors"
	"net"
	"slices"

	"github.com/gorilla/websocket"
)

// packetOverhead is what a waiting packet costs beside its bytes.
const packetOverhead = 64

// errSlow means that more waits for the peer than is allowed.
var errSlow = errors.New("engineio: the client does not keep up")

// write sends frames, which must be whole and not change afterwards, behind
// everything written before. It never waits: it writes what the peer takes
// now, and leaves the rest to the drainer. An error means that the connection
// is of no more use. After the close frame everything is dropped.
func (c *conn) write(frames []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.send(frames)
}

// Write is write for what gorilla sends: its control frames and, before there
// is a websocket, its answer to the handshake, which goes out with the first
// write.
func (c *conn) Write(frame []byte) (int, error) {
	if c.ws == nil {
		c.answer = append(c.answer, frame...)
		return len(frame), nil
	}
	if err := c.write(slices.Clone(frame)); err != nil {
		return 0, err
	}
	return len(frame), nil
}

// send is write. Held: mu.
func (c *conn) send(frames []byte) error {
	if c.leaving {
		return nil
	}
	c.leaving = frames[0] == finalBit|websocket.CloseMessage
	if !c.draining && c.raw != nil {
		n, err := writeNow(c.raw, frames)
		if err != nil {
			return err
		}
		if n == len(frames) {
			c.flushed()
			return nil
		}
		frames = frames[n:]
	}
	return c.enqueue(frames)
}

// enqueue leaves frames to the drainer. The first always fit, and do not count
// for those behind. Held: mu.
func (c *conn) enqueue(frames []byte) error {
	cost := len(frames) + packetOverhead
	if c.queued == 0 {
		c.first = cost
	} else if c.queued-c.first+cost > c.server.config.MaxQueueBytes {
		return errSlow
	}
	c.queue = append(c.queue, frames)
	c.queued += cost
	if !c.draining {
		c.draining = true
		c.server.tasks.Go(c.drain)
	}
	return nil
}

// drain writes the queue until it is empty. It waits for the peer, and ends
// early when the connection is cut.
func (c *conn) drain() {
	for frames, cost := c.drainable(0); frames != nil; frames, cost = c.drainable(cost) {
		if _, err := frames.WriteTo(c.Conn); err != nil {
			c.session.lost(c, err)
			return
		}
	}
}

// drainable takes the queue after cost bytes of it have been written. It
// returns nil, and the drainer is no more, if nothing is left.
func (c *conn) drainable(written int) (frames net.Buffers, cost int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.queued -= written
	frames, c.queue = c.queue, nil
	if frames == nil {
		c.draining = false
		c.flushed()
	}
	return frames, c.queued
}

// flushed ends the server's half of the connection if the last frame has been
// written. Held: mu.
func (c *conn) flushed() {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok && c.leaving {
		_ = half.CloseWrite() // or it is cut already
	}
}

// waiting returns how many bytes the drainer has left to write.
func (c *conn) waiting() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.queued
}

// idle reports whether a frame written now would go out at once.
func (c *conn) idle() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.draining && !c.leaving
}
