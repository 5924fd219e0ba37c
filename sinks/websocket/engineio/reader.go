package engineio

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"sync"
	"unicode/utf8"

	"github.com/evosink/evosink/sinks/websocket/engineio/packet"
	"github.com/gorilla/websocket"
)

// readBuffer is the size of a reader's buffer. What is larger than the buffer
// is read past it. Below 257 gorilla would make a buffer of its own.
const readBuffer = 512

var (
	errTooLarge = errors.New("engineio: message exceeds MaxPayload")
	errCrowded  = errors.New("engineio: too many clients send large messages before they have proved themselves")
	errNotUTF8  = errors.New("engineio: text message is not UTF-8")
)

// read reads messages until the connection ends or is parked. It runs in a
// goroutine of its own, so a peer that stops in the middle of a frame costs
// that goroutine until the heartbeat gives up on it, and delays no other session.
func (c *conn) read() {
	if c.in.Size() == 0 {
		c.in = *bufio.NewReaderSize(c.source, readBuffer)
	}
	for {
		if err := c.readMessage(); err != nil {
			c.session.lost(c, err)
			// Unread input would turn our close into a reset that overtakes
			// the last frames.
			_, _ = io.CopyN(io.Discard, c.Conn, discardBytes)
			c.release()
			return
		}
		if c.in.Buffered() == 0 && c.park() {
			return
		}
	}
}

// park hands the idle connection to the poller, which starts another reader
// when something arrives. It returns false if the caller must go on reading.
func (c *conn) park() bool {
	if c.poller == nil {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.leaving || c.onTrial || c.poller.arm(c) != nil {
		return false
	}
	c.parked = true
	c.in = bufio.Reader{}
	return true
}

// wake is called by the poller when there is something to read.
func (c *conn) wake() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.unpark()
}

// buffers holds what messages are read into.
var buffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// maxPooled is the size above which a buffer is not kept.
const maxPooled = 64 << 10

func (c *conn) readMessage() error {
	kind, r, err := c.ws.NextReader()
	if err != nil {
		return err
	}
	buf := buffers.Get().(*bytes.Buffer)
	defer func() {
		if buf.Cap() <= maxPooled {
			buf.Reset()
			buffers.Put(buf)
		}
	}()
	// gorilla's own limit is one of bytes on the wire, before inflation.
	if err := c.session.readInto(buf, r); err != nil {
		return err
	}
	return c.decode(buf.Bytes(), kind == websocket.BinaryMessage)
}

// smallMessage is the size in bytes up to which clients that have yet to prove
// themselves may send messages without regard to others, and maxLarge how many
// of them may send larger ones at a time.
const (
	smallMessage = 4 << 10
	maxLarge     = 256
)

// readInto reads a message, or a polling body, of up to the session's limit.
func (s *Session) readInto(buf *bytes.Buffer, r io.Reader) error {
	limit := s.limit.Load()
	if limit < int64(s.server.config.MaxPayload) {
		n, err := buf.ReadFrom(io.LimitReader(r, smallMessage))
		if err != nil || n < smallMessage {
			return err
		}
		defer s.server.large.Add(-1)
		if s.server.large.Add(1) > maxLarge {
			return errCrowded
		}
	}
	if _, err := buf.ReadFrom(io.LimitReader(r, limit+1-int64(buf.Len()))); err != nil {
		return err
	}
	if int64(buf.Len()) > limit {
		return errTooLarge
	}
	return nil
}

// decode passes the packet of one message on. The data is the caller's.
func (c *conn) decode(data []byte, binary bool) error {
	if !binary && !utf8.Valid(data) {
		return errNotUTF8
	}
	p, err := c.encoding.dialect.Revision.Decode(data, binary)
	if err != nil {
		return err
	}
	if p.Type == packet.Message {
		p.Data = bytes.Clone(p.Data)
	}
	return c.session.receiveFrom(c, p)
}

// reasonFor returns why a session ends whose connection failed with err.
func reasonFor(err error) Reason {
	var closed *websocket.CloseError
	var network net.Error
	switch {
	case errors.Is(err, packet.ErrInvalid):
		return ReasonParseError
	case errors.Is(err, errSlow):
		return ReasonSlowClient
	case errors.As(err, &closed), errors.As(err, &network),
		errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.ErrClosedPipe):
		return ReasonTransportClose
	}
	return ReasonTransportError
}

// closeCodeFor returns the close code that tells the peer of err, 0 for none.
// gorilla itself has told it of most broken frames.
func closeCodeFor(err error) int {
	switch {
	case errors.Is(err, errTooLarge), errors.Is(err, websocket.ErrReadLimit):
		return websocket.CloseMessageTooBig
	case errors.Is(err, errCrowded):
		return websocket.CloseTryAgainLater
	case errors.Is(err, errNotUTF8):
		return websocket.CloseInvalidFramePayloadData
	case errors.Is(err, packet.ErrInvalid), errors.Is(err, errCompressed):
		return websocket.CloseProtocolError
	}
	return 0
}
