package engineio

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/evosink/evosink/core/retry"
	"github.com/evosink/evosink/sinks/websocket/engineio/packet"
)

// A Handler is the application's end of one session. Its methods are called
// one at a time, in goroutines of this package and never under one of its
// locks, so they may call any method of the session, and those never call them
// in turn. A handler that blocks holds back its own session only, and for
// longer than PingTimeout ends it: the client's heartbeat waits behind.
type Handler interface {
	// Message takes what the client sent, in its order. The data is the
	// handler's to keep.
	Message(m Message)
	// Closed is called exactly once, last. err is the cause where there is
	// more to say than reason, else nil.
	Closed(reason Reason, err error)
}

// Transport is how a session's packets travel at the moment.
type Transport uint8

// The transports.
const (
	Polling Transport = iota + 1
	WebSocket
)

// String returns the transport's name as it stands in a request's query.
func (t Transport) String() string {
	switch t {
	case Polling:
		return "polling"
	case WebSocket:
		return "websocket"
	}
	return "unknown"
}

// state is where a session is in its life.
type state uint8

const (
	open    state = iota
	leaving       // closed for the application, but a poll may still fetch the rest
	closed
)

// A Session is one client, over whichever transport. All methods are safe for
// use by many goroutines, and none of them waits for the client.
type Session struct {
	server   *Server
	id       string
	remote   string
	dialect  packet.Dialect
	deadline deadline     // guarded by the server's deadlines
	limit    atomic.Int64 // see SetMaxPayload

	// inbound is held while the handler is called.
	inbound sync.Mutex
	handler Handler

	// mu guards the fields below. Server, deadlines and conn locks are taken
	// within it, never around it.
	mu       sync.Mutex
	state    state
	awaiting bool     // a ping is out and its pong is not in
	extended bool     // its time has been extended
	polling  *polling // the transport while it is polling
	conn     *conn    // the transport once it is websocket
	probe    *conn    // the websocket that wants to become the transport
	probed   bool     // it has sent its probe
}

// ID returns the session id. It is a secret between client and server: it is
// all that a request needs to speak for the session.
func (s *Session) ID() string { return s.id }

// Protocol returns the Engine.IO revision, 3 or 4.
func (s *Session) Protocol() int { return int(s.dialect.Revision) }

// RemoteAddr returns the network address of the handshake's peer.
func (s *Session) RemoteAddr() string { return s.remote }

// SetMaxPayload bounds the messages and polling bodies that are read from now
// on, in bytes; Config.MaxPayload stays the upper bound. Below that the client
// counts as one that has yet to prove itself: only few of these may send more
// than 4 KiB at a time, others that do are disconnected.
func (s *Session) SetMaxPayload(bytes int) {
	s.limit.Store(int64(min(bytes, s.server.config.MaxPayload)))
}

// Transport returns the transport in use now; an upgrade changes it.
func (s *Session) Transport() Transport {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.transport()
}

func (s *Session) transport() Transport {
	if s.conn != nil {
		return WebSocket
	}
	return Polling
}

// Send queues msgs, contiguous and in order, behind everything sent before.
// The data must not be changed afterwards. It returns ErrClosed if the session
// has ended, or ends by this call because the client does not keep up.
func (s *Session) Send(msgs ...Message) error {
	if len(msgs) == 0 {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.send(msgs)
}

func (s *Session) send(msgs []Message) error {
	switch {
	case s.state != open:
		return ErrClosed
	case s.conn != nil:
		return s.sent(s.conn.write(s.conn.encoding.messages(msgs)))
	}
	return s.sent(s.polling.messages(msgs, s.server.config.MaxQueueBytes))
}

// SendBatch is Send for messages that many sessions get.
func (s *Session) SendBatch(b *Batch) error {
	if len(b.msgs) == 0 {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state == open && s.conn != nil {
		return s.sent(s.conn.write(b.frames(s.conn.encoding)))
	}
	return s.send(b.msgs)
}

// sent ends the session if err says that its transport is lost.
func (s *Session) sent(err error) error {
	if err == nil {
		return nil
	}
	s.end(reasonFor(err), err)
	return ErrClosed
}

// sendHeartbeat sends a ping or pong.
func (s *Session) sendHeartbeat(p packet.Packet) {
	if s.conn != nil {
		_ = s.sent(s.conn.write(s.conn.encoding.frames(p)))
		return
	}
	_ = s.sent(s.polling.heartbeat(p, s.server.config.MaxQueueBytes))
}

// SendVolatile sends msgs if Writable, and otherwise drops them and returns
// false.
func (s *Session) SendVolatile(msgs ...Message) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.writable() && (len(msgs) == 0 || s.send(msgs) == nil)
}

// Writable reports whether a message sent now would go out at once: nothing
// waits on the websocket, or a poll is pending.
func (s *Session) Writable() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.writable()
}

func (s *Session) writable() bool {
	switch {
	case s.state != open:
		return false
	case s.conn != nil:
		return s.conn.idle()
	}
	return s.polling.wake != nil
}

// Await returns when little waits for the client: 64 KiB, or a quarter of
// Config.MaxQueueBytes if that is less. Between calls of Send it paces a caller that
// has much for one client that may be slow. It returns ErrClosed if the session has
// ended, or ctx's error.
func (s *Session) Await(ctx context.Context) error {
	return s.await(ctx, min(64<<10, s.server.config.MaxQueueBytes/4))
}

// Flushed is Await until nothing waits, so that whatever is sent next is taken
// (see Config.MaxQueueBytes).
func (s *Session) Flushed(ctx context.Context) error { return s.await(ctx, 0) }

// looks are the pauses between looks at how much waits for a client.
var looks = retry.Backoff{First: time.Millisecond, Longest: 100 * time.Millisecond}

// await returns when no more than little waits.
func (s *Session) await(ctx context.Context, little int) (err error) {
	done := looks.Do(ctx.Done(), func() bool {
		var bytes int
		bytes, err = s.waiting()
		return err != nil || bytes <= little
	})
	if !done {
		return ctx.Err()
	}
	return err
}

// waiting returns how many bytes wait for the client.
func (s *Session) waiting() (bytes int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.state != open:
		return 0, ErrClosed
	case s.conn != nil:
		return s.conn.waiting(), nil
	}
	return s.polling.queued, nil
}

// Close ends the session with reason: Handler.Closed follows, nothing more is
// received, and what was sent before still goes out, followed by the
// transport's own farewell, if the client takes it in time.
func (s *Session) Close(reason Reason) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state != open {
		if reason == ReasonShutdown {
			s.dropProbe()
		}
		return
	}
	s.quit(reason, nil)
	if s.conn != nil {
		s.vanish()
		s.conn.leave(0)
		return
	}
	if !s.probed || reason == ReasonShutdown { // else it may be the one that fetches the rest
		s.dropProbe()
	}
	s.polling.push(packet.Packet{Type: packet.Close})
	s.server.deadlines.expect(s, farewell)
}

// Abandon closes the session like Close, but at once: nothing of it is kept for
// a client that polls and may still come to fetch the rest.
func (s *Session) Abandon(reason Reason) { s.fail(reason, nil) }

// end closes the session because of its client: what is queued is
// dropped. Held: mu, as by all that follows.
func (s *Session) end(reason Reason, err error) {
	if s.state != open {
		return
	}
	s.quit(reason, err)
	s.vanish()
	switch {
	case s.polling != nil && reason == ReasonTransportClose: // it said so itself
		s.polling.cut(packet.Noop)
	case s.polling != nil:
		s.polling.cut(packet.Close)
	case reason == ReasonSlowClient:
		s.conn.abort()
	default:
		s.conn.leave(closeCodeFor(err))
	}
}

// quit closes the session for the application.
func (s *Session) quit(reason Reason, err error) {
	s.state = leaving
	s.server.ended(s)
	s.server.tasks.Go(func() {
		s.inbound.Lock()
		defer s.inbound.Unlock()
		if s.handler != nil {
			s.handler.Closed(reason, err)
		}
	})
}

// vanish makes the session id unknown.
func (s *Session) vanish() {
	s.state = closed
	s.dropProbe()
	s.server.deadlines.stop(s)
	s.server.remove(s)
}

func (s *Session) dropProbe() {
	if s.probe != nil {
		s.probe.leave(0)
		s.probe, s.probed = nil, false
	}
}
