package engineio

import (
	"crypto/rand"
	"net/http"
	"slices"
	"strconv"

	"github.com/evosink/evosink/sinks/websocket/engineio/packet"
)

// newSession returns a session that is not known to the server yet. Its id has
// 130 random bits.
func (s *Server) newSession(r *http.Request, dialect packet.Dialect) *Session {
	session := &Session{server: s, id: rand.Text(), remote: r.RemoteAddr, dialect: dialect}
	session.SetMaxPayload(s.config.MaxPayload)
	return session
}

// openPolling opens a session and answers with its open packet and whatever
// Accept has sent.
func (s *Server) openPolling(w http.ResponseWriter, r *http.Request, dialect packet.Dialect) {
	session := s.newSession(r, dialect)
	p := &polling{}
	session.polling = p
	p.push(session.openPacket())
	if !session.start(r) {
		s.refuse(w, r, shuttingDown)
		return
	}
	if s.config.Cookie != nil {
		cookie := *s.config.Cookie
		cookie.Value = session.id
		http.SetCookie(w, &cookie)
	}
	session.respond(w, r, session.endPoll(p, maxPolled(r)))
}

// openWebSocket opens a session on a websocket of its own.
func (s *Server) openWebSocket(w http.ResponseWriter, r *http.Request, dialect packet.Dialect) {
	session := s.newSession(r, dialect)
	c, err := s.handshake(w, r, session)
	if err != nil {
		return
	}
	session.conn = c
	c.writeAnswer(c.encoding.frames(session.openPacket()))
	if !session.start(r) {
		c.Close()
	}
}

// start makes the session known, gives it its handler and begins to read. It
// returns false if there is to be no session. A goroutine that ends the session
// meanwhile waits for the handler, since inbound is held.
func (s *Session) start(r *http.Request) bool {
	s.inbound.Lock()
	defer s.inbound.Unlock()
	if !s.enter() {
		return false
	}
	defer s.accepted() // even if Accept panics, which net/http survives
	s.handler = s.server.config.Accept(s, r)
	return true
}

// accepted begins to read, or ends a session that was given no handler.
func (s *Session) accepted() {
	if s.handler == nil {
		s.Close(ReasonForcedClose)
	}
	if s.conn != nil {
		s.conn.start()
	}
}

// enter makes the session known and sets its first deadline, unless its client
// has gone again or the server has closed.
func (s *Session) enter() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state != open || !s.server.add(s) {
		return false
	}
	first := pingDue
	if s.dialect.Revision == packet.V3 {
		first = pingExpected
	}
	s.server.deadlines.expect(s, first)
	return true
}

// start begins to read, or to wait for something to read. The server may have
// closed since it knows the session: then the session has been ended, and the
// reader waits for the client to hang up.
func (c *conn) start() {
	if c.early || !c.park() {
		c.server.tasks.Go(c.read)
	}
}

// openPacket returns the handshake (Engine.IO v4, "Handshake").
func (s *Session) openPacket() packet.Packet {
	config := &s.server.config
	upgrades := "[]"
	if s.polling != nil && config.AllowUpgrades && slices.Contains(config.Transports, WebSocket) {
		upgrades = `["websocket"]`
	}
	data := make([]byte, 0, 160)
	data = append(append(data, `{"sid":"`...), s.id...)
	data = append(append(data, `","upgrades":`...), upgrades...)
	data = strconv.AppendInt(append(data, `,"pingInterval":`...), config.PingInterval.Milliseconds(), 10)
	data = strconv.AppendInt(append(data, `,"pingTimeout":`...), config.PingTimeout.Milliseconds(), 10)
	data = strconv.AppendInt(append(data, `,"maxPayload":`...), int64(config.MaxPayload), 10)
	return packet.Packet{Type: packet.Open, Data: append(data, '}')}
}
