package engineio

import "errors"

// A Reason says why a session ended, in the words of the reference server.
type Reason string

// The reasons given to Handler.Closed. The last two have no counterpart in
// the reference server's Engine.IO.
const (
	// ReasonTransportClose: the client left, cleanly or by a cut connection.
	ReasonTransportClose Reason = "transport close"
	// ReasonTransportError: the client broke the transport's rules: two polls
	// at once, a ping in the wrong direction, a frame or message too large.
	ReasonTransportError Reason = "transport error"
	// ReasonPingTimeout: no heartbeat came in time.
	ReasonPingTimeout Reason = "ping timeout"
	// ReasonParseError: the client sent something that is no packet.
	ReasonParseError Reason = "parse error"
	// ReasonForcedClose: the application called Session.Close.
	ReasonForcedClose Reason = "forced close"
	// ReasonShutdown: the server closed.
	ReasonShutdown Reason = "server shutting down"
	// ReasonSlowClient: more than MaxQueueBytes waited for the client.
	ReasonSlowClient Reason = "slow client"
)

// ErrClosed is returned by what is called on a session that has ended.
var ErrClosed = errors.New("engineio: session is closed")
