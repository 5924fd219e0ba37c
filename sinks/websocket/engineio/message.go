package engineio

import "github.com/evosink/evosink/sinks/websocket/engineio/packet"

// A Message is one application message: text, which must be valid UTF-8, or
// binary.
type Message struct {
	Data   []byte
	Binary bool
}

func (m Message) packet() packet.Packet {
	return packet.Packet{Type: packet.Message, Binary: m.Binary, Data: m.Data}
}
