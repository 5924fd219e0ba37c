package engineio

// A Handler is the application's end of one session. Its methods are called
// one at a time and never under a lock of this package, so they may call any
// method of the session. A handler that blocks holds back its own session
// only.
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

// A Session is one client, over whichever transport. All methods are safe for
// use by many goroutines, and none of them blocks.
type Session struct{}

// ID returns the session id. It is a secret between client and server: who
// knows it can speak for the session.
func (s *Session) ID() string { return "" }

// Protocol returns the Engine.IO revision, 3 or 4.
func (s *Session) Protocol() int { return 4 }

// Transport returns the transport in use now; an upgrade changes it.
func (s *Session) Transport() Transport { return WebSocket }

// RemoteAddr returns the network address of the handshake's peer.
func (s *Session) RemoteAddr() string { return "" }

// Send queues msgs, contiguous and in order, behind everything sent before.
// The data must not be changed afterwards. It returns ErrClosed if the session
// has ended, or ends by this call because the client does not keep up.
func (s *Session) Send(msgs ...Message) error { return ErrClosed }

// SendBatch is Send for messages that many sessions get.
func (s *Session) SendBatch(b *Batch) error { return ErrClosed }

// SendVolatile sends msgs if Writable, and otherwise drops them and returns
// false.
func (s *Session) SendVolatile(msgs ...Message) bool { return false }

// Writable reports whether a message sent now would go out at once: nothing
// waits on the websocket, or a poll is pending.
func (s *Session) Writable() bool { return false }

// Close ends the session with reason: Handler.Closed follows, nothing more is
// received, and what was sent before still goes out, followed by the
// transport's own farewell, if the client takes it in time.
func (s *Session) Close(reason Reason) {}
