package socketio

import (
	"crypto/rand"
	"encoding/base64"

	"github.com/evosink/evosink/sinks/websocket/engineio"
	"github.com/evosink/evosink/sinks/websocket/socketio/parser"
)

// connectPacket tells s that it has joined. Revision 3 has no
// payload.
func (n *Namespace) connectPacket(s *Socket) engineio.Message {
	p := parser.Packet{Type: parser.Connect, Namespace: n.name}
	if s.client.Revision() > 3 {
		p.Data = append(append(p.Data, `{"sid":"`...), s.id...) // ids need no escapes
		if s.pid != "" {
			p.Data = append(append(p.Data, `","pid":"`...), s.pid...)
		}
		p.Data = append(p.Data, `"}`...)
	}
	return message(&p)
}

func (n *Namespace) disconnectPacket() engineio.Message {
	return message(&parser.Packet{Type: parser.Disconnect, Namespace: n.name})
}

// message encodes a packet without arguments.
func message(p *parser.Packet) engineio.Message {
	text, _ := p.Encode(make([]byte, 0, p.Size()))
	return engineio.Message{Data: text}
}

// newID returns an unpredictable id of 20 URL-safe characters.
func newID() string {
	var b [15]byte
	rand.Read(b[:]) // never fails
	return base64.RawURLEncoding.EncodeToString(b[:])
}
