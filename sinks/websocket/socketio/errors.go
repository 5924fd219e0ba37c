package socketio

import (
	"encoding/json"
	"errors"
)

var (
	// ErrDisconnected says: the socket has left its namespace.
	ErrDisconnected = errors.New("socketio: socket is disconnected")
	// ErrClosed says: the server is closed.
	ErrClosed = errors.New("socketio: server is closed")
	// ErrReserved says: the event's name has a meaning of its own in the protocol.
	ErrReserved = errors.New("socketio: event name is reserved")
	// ErrAttachments says: the event has more binary values than clients accept.
	ErrAttachments = errors.New("socketio: event has too many attachments")
	// ErrOverflow says: more was emitted than could be kept aside for a socket
	// that is held; see Socket.Release.
	ErrOverflow = errors.New("socketio: more was emitted than is kept aside for a socket")
	// ErrAckTimeout says: the context ended before the acknowledgement came. It
	// comes joined with the context's error.
	ErrAckTimeout = errors.New("operation has timed out")
)

// A ConnectError refuses a client's CONNECT. Returned by Hooks.Authorize, it
// is what the client's connect_error event shows.
type ConnectError struct {
	// Message is for people.
	Message string
	// Data is for programs: any JSON, nil for none.
	Data json.RawMessage
}

// Error returns the message.
func (e *ConnectError) Error() string { return e.Message }

// invalidNamespace is the answer to a CONNECT to a namespace that there is
// not. Authorize may return the same for one that is forbidden.
var invalidNamespace = ConnectError{Message: "Invalid namespace"}

// ErrInvalidNamespace returns the error whose answer is that to a CONNECT to a
// namespace that does not exist, so that an Authorize hook need not tell a
// client without access which namespaces exist.
func ErrInvalidNamespace() error { e := invalidNamespace; return &e }
