package socketio

import "github.com/evosink/evosink/sinks/websocket/engineio"

// A Reason says why a socket left its namespace, in the words of the reference
// server.
type Reason string

// The reasons. The last has no counterpart in the reference server.
const (
	// ReasonClientDisconnect: the client left the namespace.
	ReasonClientDisconnect Reason = "client namespace disconnect"
	// ReasonServerDisconnect: Socket.Disconnect or Namespace.Disconnect.
	ReasonServerDisconnect Reason = "server namespace disconnect"
	// ReasonTransportClose: the client closed the connection, or lost it.
	ReasonTransportClose Reason = "transport close"
	// ReasonTransportError: the client broke the transport's rules.
	ReasonTransportError Reason = "transport error"
	// ReasonPingTimeout: no heartbeat came in time.
	ReasonPingTimeout Reason = "ping timeout"
	// ReasonParseError: the client sent something that is no Engine.IO packet.
	ReasonParseError Reason = "parse error"
	// ReasonForcedClose: the client sent something that is no Socket.IO packet,
	// or one out of place, or Client.Drop was called.
	ReasonForcedClose Reason = "forced close"
	// ReasonForcedServerClose: the client joined no namespace in time, or too
	// many, or sent a packet out of place while its transport was busy.
	ReasonForcedServerClose Reason = "forced server close"
	// ReasonShutdown: the server closed.
	ReasonShutdown Reason = "server shutting down"
	// ReasonSlowClient: more waited for the client than is allowed.
	ReasonSlowClient Reason = "slow client"
)

// recoverable reports whether a client that left for this reason may come back
// to what it had.
func (r Reason) recoverable() bool {
	switch r {
	case ReasonClientDisconnect, ReasonServerDisconnect, ReasonParseError:
		return false
	}
	return true
}

// farewell is the reason that Engine.IO is given when socketio ends a session
// for r.
func (r Reason) farewell() engineio.Reason {
	if r == ReasonSlowClient {
		return engineio.ReasonSlowClient
	}
	return engineio.ReasonForcedClose
}
