package engineio

import (
	"errors"
	"fmt"

	"github.com/evosink/evosink/sinks/websocket/engineio/packet"
)

var errHeartbeat = errors.New("engineio: heartbeat in the wrong direction")

// receiveFrom takes a packet that came on websocket c. An error ends c, and
// with it the session if c is its transport.
func (s *Session) receiveFrom(c *conn, p packet.Packet) error {
	s.mu.Lock()
	current, probing := s.conn == c, s.probe == c
	s.mu.Unlock()
	switch {
	case probing:
		return s.receiveProbe(c, p)
	case current:
		s.receive(p)
	}
	return nil // from one that was turned away
}

// receive takes a packet of the session's transport. It is called for one
// packet after the other by each transport.
func (s *Session) receive(p packet.Packet) {
	if p.Type == packet.Message {
		s.deliver(Message{Data: p.Data, Binary: p.Binary})
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state != open {
		return
	}
	switch p.Type {
	case packet.Ping, packet.Pong:
		s.heartbeat(p)
	case packet.Close:
		s.goodbye()
	}
}

// goodbye ends the session for its client. Held: mu.
func (s *Session) goodbye() {
	if s.polling == nil || s.polling.wake != nil {
		s.end(ReasonTransportClose, nil)
		return
	}
	s.quit(ReasonTransportClose, nil)
	s.polling.cut(packet.Noop)
	s.polling.push(packet.Packet{Type: packet.Noop}) // for the poll that is on its way
}

// heartbeat takes a ping or pong. Revision 3 has the client ping, revision 4
// the server (Engine.IO v4, "Heartbeat"). Held: mu.
func (s *Session) heartbeat(p packet.Packet) {
	switch {
	case s.dialect.Revision == packet.V3 && p.Type == packet.Ping:
		s.server.deadlines.expect(s, pingExpected)
		s.sendHeartbeat(packet.Packet{Type: packet.Pong})
	case s.dialect.Revision == packet.V4 && p.Type == packet.Pong:
		if s.awaiting { // a pong without a ping changes nothing
			s.awaiting = false
			s.server.deadlines.expect(s, pingDue)
		}
	default:
		s.end(ReasonTransportError, fmt.Errorf("%w: %v", errHeartbeat, p.Type))
	}
}

// deliver calls the handler unless the session has ended. Packets of two
// transports may meet here while a client upgrades.
func (s *Session) deliver(m Message) {
	s.inbound.Lock()
	defer s.inbound.Unlock()
	if s.heard() {
		s.handler.Message(m)
	}
}

// heard reports whether the session is open, and gives a client that is sending
// something else once more time for its pong, which may be behind that.
func (s *Session) heard() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state == open && s.awaiting && !s.extended {
		s.extended = true
		s.server.deadlines.expect(s, pongExpected)
	}
	return s.state == open
}

func (s *Session) isOpen() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state == open
}

// lost is told that websocket c is of no more use, because of err.
func (s *Session) lost(c *conn, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch c {
	case s.conn:
		s.end(reasonFor(err), err)
	case s.probe:
		s.probe = nil
	}
	c.leave(closeCodeFor(err))
}
