package engineio

import (
	"sync"
	"time"

	"github.com/evosink/evosink/sinks/websocket/engineio/packet"
)

// A beat is what a session is waiting for. All deadlines of one kind are
// equally far ahead when they are set.
type beat uint8

const (
	pingDue      beat = iota // the server pings next (v4)
	pongExpected             // the client has been pinged (v4)
	pingExpected             // the client pings next (v3)
	farewell                 // a closed polling session may still be fetched
	beats
)

// isClients reports whether it is the client that has to do something.
func (b beat) isClients() bool { return b == pongExpected || b == pingExpected }

// farewellTimeout is how long a polling session that the server has closed
// waits for the poll that fetches the rest.
const farewellTimeout = 30 * time.Second

// A pulse is a session's place in the heart: its next deadline, in one of the
// heart's lines.
type pulse struct {
	due        time.Duration // since the heart's epoch
	kind       beat
	linked     bool
	prev, next *Session
}

// A line holds the sessions that wait for the same kind of beat, the next one
// first.
type line struct{ first, last *Session }

// A heart keeps all deadlines of a server with one timer: since deadlines of
// a kind are equally far ahead, a list per kind in order of arrival is sorted,
// and a beat costs no more with ten thousand sessions than with one. There is
// one clock: the deadline for a pong counts from when the ping was due, not
// from when a timer came round to it, so lateness never adds up. Only after a
// standstill of the whole process, which says nothing about its clients, they
// get their time anew.
type heart struct {
	epoch time.Time
	after [beats]time.Duration

	// mu guards the fields below.
	mu    sync.Mutex
	lines [beats]line
	timer *time.Timer
	// ticking is held while due sessions are told.
	ticking sync.Mutex
}

func newHeart(config Config) *heart {
	return &heart{
		epoch: time.Now(),
		after: [beats]time.Duration{
			pingDue:      config.PingInterval,
			pongExpected: config.PingTimeout,
			pingExpected: config.PingInterval + config.PingTimeout,
			farewell:     farewellTimeout,
		},
	}
}

// expect makes s wait for kind from now on.
func (h *heart) expect(s *Session, kind beat) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.set(s, kind, time.Since(h.epoch)+h.after[kind])
}

// expectFrom is expect counted from when the one before was due, unless there
// was a standstill in between.
func (h *heart) expectFrom(s *Session, kind beat, due time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.stoodStill(kind, due) {
		due = time.Since(h.epoch)
	}
	h.set(s, kind, due+h.after[kind])
}

// stoodStill reports whether what was due is so late by now that the process
// must have been suspended, or starved: by half the time that kind takes.
func (h *heart) stoodStill(kind beat, due time.Duration) bool {
	return time.Since(h.epoch)-due > h.after[kind]/2
}

// stop makes s wait for nothing.
func (h *heart) stop(s *Session) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.unlink(s)
}

// expects reports whether s waits for anything.
func (h *heart) expects(s *Session) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return s.pulse.linked
}

// overdue reports whether s should have ended by now, even if the timer has
// not come round to it yet.
func (h *heart) overdue(s *Session) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	kind, due := s.pulse.kind, s.pulse.due
	return s.pulse.linked && kind.isClients() && due <= time.Since(h.epoch) && !h.stoodStill(kind, due)
}

// tick tells every session that is due, in order, and sets the timer anew.
func (h *heart) tick() {
	h.ticking.Lock()
	defer h.ticking.Unlock()
	for s, kind, due := h.next(); s != nil; s, kind, due = h.next() {
		s.due(kind, due)
	}
}

// next takes a session that is due, or sets the timer if there is none.
func (h *heart) next() (*Session, beat, time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	first := h.first()
	if first == nil {
		return nil, 0, 0
	}
	if wait := first.pulse.due - time.Since(h.epoch); wait > 0 {
		h.timer.Reset(wait)
		return nil, 0, 0
	}
	h.unlink(first)
	return first, first.pulse.kind, first.pulse.due
}

// close returns when no session is being told any more.
func (h *heart) close() {
	h.mu.Lock()
	if h.timer != nil {
		h.timer.Stop()
	}
	h.mu.Unlock()
	h.ticking.Lock()
	defer h.ticking.Unlock()
}

// set links s. Held: mu, as by all that follows.
func (h *heart) set(s *Session, kind beat, due time.Duration) {
	h.unlink(s)
	s.pulse = pulse{due: due, kind: kind, linked: true}
	l := &h.lines[kind]
	after := l.last
	for after != nil && after.pulse.due > due { // hardly ever
		after = after.pulse.prev
	}
	l.insert(s, after)
	if after == nil {
		h.rearm()
	}
}

// first returns the session with the next deadline.
func (h *heart) first() *Session {
	var first *Session
	for _, l := range h.lines {
		if l.first != nil && (first == nil || l.first.pulse.due < first.pulse.due) {
			first = l.first
		}
	}
	return first
}

func (h *heart) rearm() {
	wait := h.first().pulse.due - time.Since(h.epoch)
	if h.timer == nil {
		h.timer = time.AfterFunc(wait, h.tick)
		return
	}
	h.timer.Reset(wait)
}

func (h *heart) unlink(s *Session) {
	if s.pulse.linked {
		h.lines[s.pulse.kind].remove(s)
		s.pulse.linked = false
	}
}

// insert puts s behind after, or first if that is nil.
func (l *line) insert(s, after *Session) {
	s.pulse.prev = after
	if after != nil {
		s.pulse.next, after.pulse.next = after.pulse.next, s
	} else {
		s.pulse.next, l.first = l.first, s
	}
	if s.pulse.next != nil {
		s.pulse.next.pulse.prev = s
	} else {
		l.last = s
	}
}

func (l *line) remove(s *Session) {
	if s.pulse.prev != nil {
		s.pulse.prev.pulse.next = s.pulse.next
	} else {
		l.first = s.pulse.next
	}
	if s.pulse.next != nil {
		s.pulse.next.pulse.prev = s.pulse.prev
	} else {
		l.last = s.pulse.prev
	}
	s.pulse.prev, s.pulse.next = nil, nil
}

// due is called when the session was due for kind, without any lock. It may
// have moved on in the meantime.
func (s *Session) due(kind beat, due time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.server.heart.expects(s): // something else by now
	case kind == farewell && s.state == leaving:
		s.vanish()
	case s.state != open:
	case kind == pingDue:
		s.awaiting, s.extended = true, false
		s.server.heart.expectFrom(s, pongExpected, due)
		s.sendHeartbeat(packet.Packet{Type: packet.Ping})
	case kind == pongExpected && !s.awaiting: // it has just come
	case s.server.heart.stoodStill(kind, due): // it may have come and not been read yet
		s.server.heart.expect(s, kind)
	default:
		s.end(ReasonPingTimeout, nil)
	}
}

// expired ends the session if its heartbeat is overdue, and reports whether
// its id is unknown now.
func (s *Session) expired() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.server.heart.overdue(s) {
		s.end(ReasonPingTimeout, nil)
	}
	return s.state == closed
}
