package socketio

import (
	"context"
	"encoding/json"
	"sync/atomic"

	"github.com/evosink/evosink/sinks/websocket/socketio/parser"
)

// An Arg is one argument of an event or acknowledgement: JSON, in which binary
// values may stand. See the functions below for how to make one.
type Arg = parser.Arg

// Raw returns json as an argument, unchecked: the caller knows that it is
// valid and compact. Invalid JSON makes every receiver drop its connection.
func Raw(json json.RawMessage) Arg { return parser.Raw(json) }

// JSON returns v, encoded as encoding/json does but without escaping < > & for
// HTML, as an argument. A json.RawMessage is checked and compacted.
func JSON(v any) (Arg, error) { return parser.JSON(v) }

// String returns s as an argument.
func String(s string) Arg { return parser.String(s) }

// Binary returns b as an argument. It must not be changed afterwards.
func Binary(b []byte) Arg { return parser.Binary(b) }

// List returns args as one argument, an array of them.
func List(args ...Arg) Arg { return parser.List(args...) }

// An Event is what a client emitted.
type Event struct {
	Name string
	Args []Arg

	socket   *Socket
	id       uint64
	wantsAck bool
	answered atomic.Bool
}

// WantsAck reports whether the client waits for an acknowledgement.
func (e *Event) WantsAck() bool { return e.wantsAck }

// Ack acknowledges the event. It does nothing if the client asked for no
// acknowledgement, or has got it.
func (e *Event) Ack(ctx context.Context, args ...Arg) error {
	if !e.wantsAck || e.answered.Swap(true) {
		return nil
	}
	out, err := e.socket.namespace.encode(&parser.Packet{Type: parser.Ack, ID: e.id, HasID: true, Args: args})
	if err != nil {
		return err
	}
	return e.socket.send(ctx, out, direct{})
}

// Arg returns argument i, or JSON null if there are fewer.
func (e *Event) Arg(i int) Arg {
	if i < 0 || i >= len(e.Args) {
		return Raw(json.RawMessage("null"))
	}
	return e.Args[i]
}
