package parser

import "encoding/json"

// Type says what a packet does. Its value is the digit on the wire; the two
// binary types of the wire (5 and 6) are Event and Ack here.
type Type uint8

// The types.
const (
	// Connect asks to join a namespace, and answers that.
	Connect Type = iota
	// Disconnect leaves a namespace.
	Disconnect
	// Event carries a name and arguments.
	Event
	// Ack answers the event that has the same ID.
	Ack
	// ConnectError refuses a Connect.
	ConnectError

	binaryEvent
	binaryAck
)

var typeNames = [...]string{"CONNECT", "DISCONNECT", "EVENT", "ACK", "CONNECT_ERROR", "BINARY_EVENT", "BINARY_ACK"}

// String returns the protocol's name of t.
func (t Type) String() string {
	if int(t) < len(typeNames) {
		return typeNames[t]
	}
	return "UNKNOWN"
}

// A Packet is one unit of the protocol.
type Packet struct {
	Type Type
	// Namespace begins with a slash. Empty means "/".
	Namespace string
	// ID, if HasID, asks for an acknowledgement (Event) or is one (Ack).
	ID    uint64
	HasID bool
	// Name is an event's name. A name that is a number on the wire is its
	// digits here.
	Name string
	// Args are the arguments of an Event or Ack.
	Args []Arg
	// Bare says that an Event or Ack came without any payload, name included:
	// there is nothing to handle.
	Bare bool
	// Data is what a Connect or ConnectError carries: an object, a string
	// (ConnectError only), or nil.
	Data json.RawMessage
}

// reserved are the names that mean something on one of the two sides and
// never travel.
var reserved = [...]string{"connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"}

// Reserved reports whether name must not be used for an event.
func Reserved(name string) bool {
	for _, r := range reserved {
		if r == name {
			return true
		}
	}
	return false
}
