package engineio

import (
	"errors"
	"net/http"
	"slices"
	"time"

	"github.com/evosink/evosink/core/retry"
	"github.com/evosink/evosink/sinks/websocket/engineio/packet"
)

var errProbe = errors.New("engineio: not a probe")

// upgrade lets a websocket try to take over from polling (Engine.IO v4,
// "Upgrade"). There is one at a time: others are closed, before they could
// disturb the first, and so are those for a session on websocket. One that is
// on its way out makes room.
func (s *Session) upgrade(w http.ResponseWriter, r *http.Request) {
	c, err := s.server.handshake(w, r, s)
	if err != nil {
		return
	}
	c.onTrial = true
	c.writeAnswer(nil)
	_ = c.SetReadDeadline(time.Now().Add(s.server.config.UpgradeTimeout)) // or it is cut already
	if !s.setProbe(c) {
		retry.Sleep(nil, probeOvertaking) // the request's context means nothing after the hijack
		if !s.setProbe(c) {
			c.leave(0)
		}
	}
	if !c.server.track(c) {
		c.Close()
		return
	}
	c.server.tasks.Go(c.read)
}

func (s *Session) setProbe(c *conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state != open || s.polling == nil || s.probe != nil && !s.probe.isLeaving() {
		return false
	}
	s.probe, s.probed = c, false
	return true
}

// receiveProbe takes a packet on a websocket that is not yet the transport:
// any number of "2probe", then "5".
func (s *Session) receiveProbe(c *conn, p packet.Packet) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.probe != c: // the session has vanished meanwhile
	case p.Type == packet.Ping && string(p.Data) == "probe":
		pong := packet.Packet{Type: packet.Pong, Data: p.Data}
		if err := c.write(c.encoding.frames(pong)); err != nil {
			return err
		}
		s.probed = true
		s.releasePoll()
	case p.Type == packet.Upgrade:
		s.switchTo(c)
	default:
		return errProbe
	}
	return nil
}

// releasePoll answers the pending GET: the client waits for that before it
// goes over. Held: mu.
func (s *Session) releasePoll() {
	if s.polling.wake != nil {
		s.polling.push(packet.Packet{Type: packet.Noop})
	}
}

// switchTo makes c the transport, if only for the rest of a session that is
// leaving: its client polls no more. What was waiting for a poll goes out on c,
// once and in order, but for a ping: its heartbeat begins anew. Held: mu.
func (s *Session) switchTo(c *conn) {
	p := s.polling
	waiting := p.queue
	p.queue, p.queued = nil, 0
	s.releasePoll()
	s.polling, s.conn, s.probe, s.probed = nil, c, nil, false
	c.settle()
	if s.awaiting && s.state == open {
		s.awaiting = false
		s.server.deadlines.expect(s, pingDue)
	}
	waiting = slices.DeleteFunc(waiting, func(p packet.Packet) bool {
		return p.Type == packet.Ping || p.Type == packet.Noop || p.Type == packet.Close
	})
	if len(waiting) > 0 {
		_ = s.sent(c.write(c.encoding.frames(waiting...)))
	}
	if s.state == leaving {
		s.vanish()
		c.leave(0)
	}
}
