package socketio

import (
	"context"
	"encoding/json"
)

// Hooks is what a namespace does. Every field may be nil.
//
// Connect, Event, Error, Disconnecting and Disconnect of one client run one at
// a time, in the order of what happened, in a goroutine that lives only while
// there is something to do; different clients' hooks run at the same time. A
// hook that takes long delays its own client only.
type Hooks struct {
	// Authorize decides about a CONNECT and may set up the socket through r.
	// Its error refuses the client: the text is shown to it, and the Data of
	// a *ConnectError. It may take its time: it runs in a goroutine of its
	// own, and ctx ends when the client leaves.
	Authorize func(ctx context.Context, r *ConnectRequest) error
	// Connect runs when the socket has joined and its client been told so. A
	// socket that this side disconnects before that sees none of the hooks
	// below.
	Connect func(ctx context.Context, s *Socket)
	// Event handles what the client emits; usually a Mux's Serve.
	Event Handler
	// Error gets the errors that Event returns, and the parse error that is
	// about to end the connection.
	Error func(s *Socket, err error)
	// Disconnecting runs when the socket has left, before Disconnect. It is
	// the last chance to see the rooms it was in.
	Disconnecting func(s *Socket, why Reason)
	// Disconnect runs last; no other hook follows.
	Disconnect func(s *Socket, why Reason)
}

// A Handler handles an event. ctx ends when the socket leaves its namespace, or
// its connection is lost.
//
// What is put around a Handler to look at events first, or refuse them by
// returning an error, is a func(Handler) Handler.
type Handler func(ctx context.Context, s *Socket, e *Event) error

// A Mux is handlers by the name of the event. It must not change while its
// server runs.
type Mux map[string]Handler

// Serve calls the handler of e. Events without one are ignored, as in the
// reference server.
func (m Mux) Serve(ctx context.Context, s *Socket, e *Event) error {
	if h := m[e.Name]; h != nil {
		return h(ctx, s, e)
	}
	return nil
}

// A ConnectRequest is a client's wish to join a namespace.
type ConnectRequest struct {
	// Client is the connection.
	Client *Client
	// Namespace is the name, as the client wrote it.
	Namespace string
	// Auth is the JSON object the client sent along, nil if none. For clients
	// of revision 3 it is the query of the namespace, its values strings.
	Auth json.RawMessage
	// Recovering is set if the client is about to be recovered (unless
	// SkipAuthorize, which does not ask). Data, Filter and Rooms are what it
	// had, and may be changed. See also Refused.
	Recovering bool

	// The fields below are for Authorize to set.

	// Data is what Socket.Data will return.
	Data any
	// Rooms to be in from the start.
	Rooms []string
	// Filter, if not nil, says which events of broadcasts the socket takes, by
	// name. It must be fast, depend on nothing but the name, and call nothing
	// of this package. What is emitted to the socket itself is not filtered.
	// What a client missed that is recovered passes by it too.
	Filter func(event string) bool
	// Hold joins the socket held; see Socket.Release.
	Hold bool
	// NoEvents joins a socket that gets what is emitted to itself and nothing
	// that is emitted to the namespace or its rooms. It is not recovered, and a
	// namespace with no other sockets does not even encode its events.
	NoEvents bool
}
