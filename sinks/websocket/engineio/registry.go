package engineio

// add makes a new session known, and keeps its connection if it has one,
// unless the server has closed.
func (s *Server) add(session *Session) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.sessions[session.id] = session
	s.live++
	if session.conn != nil {
		s.keep(session.conn)
	}
	return true
}

// isClosed reports whether no new session is let in.
func (s *Server) isClosed() bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.closed
}

// ended counts out a session that is no longer open, if it was ever known.
func (s *Server) ended(session *Session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.sessions[session.id] == session {
		s.live--
	}
}

// remove makes a session's id unknown.
func (s *Server) remove(session *Session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.sessions, session.id)
}

// session returns the session with an id, or nil.
func (s *Server) session(id string) *Session {
	s.mu.RLock()
	session := s.sessions[id]
	s.mu.RUnlock()
	if session == nil || session.expired() {
		return nil
	}
	return session
}

// track keeps a connection that is to take over a session. It returns false if
// the server has closed.
func (s *Server) track(c *conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.keep(c)
	return true
}

// keep remembers a connection that the server will have to end, and gives it to
// the poller if it can be parked. Held: mu.
func (s *Server) keep(c *conn) {
	s.conns[c] = struct{}{}
	if c.raw == nil || s.config.GoroutineReaders {
		return
	}
	if s.poller == nil {
		poller, err := newPoller(&s.tasks)
		if err != nil {
			s.config.GoroutineReaders = true
			s.config.Logger.Debug().Err(err).Msg("idle connections keep their readers")
			return
		}
		s.poller = poller
	}
	if err := s.poller.add(c); err == nil {
		c.poller = s.poller
	}
}

func (s *Server) forget(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
}
