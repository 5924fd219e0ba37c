package engineio

import (
	"sync"
	"time"

	"github.com/evosink/evosink/sinks/websocket/engineio/packet"
)

// A deadlineKind is what a session is waiting for. All deadlines of one kind are
// equally far ahead when they are set.
type deadlineKind uint8

const (
	pingDue      deadlineKind = iota // the server pings next (v4)
	pongExpected                     // the client has been pinged (v4)
	pingExpected                     // the client pings next (v3)
	farewell                         // a closed polling session may still be fetched
	deadlineKinds
)

// isClients reports whether it is the client that has to do something.
func (k deadlineKind) isClients() bool { return k == pongExpected || k == pingExpected }

// farewellTimeout is how long a polling session that the server has closed
// waits for the poll that fetches the rest.
const farewellTimeout = 30 * time.Second

// A deadline is the next one of a session, and its place in one of the lists.
type deadline struct {
	due        time.Duration // since the epoch
	kind       deadlineKind
	linked     bool
	prev, next *Session
}

// A deadlineList holds the sessions that wait for the same kind of
// deadline, the next one first.
type deadlineList struct{ first, last *Session }

// deadlines are those of all sessions of a server, with one timer: since deadlines of
// a kind are equally far ahead, a list per kind in order of arrival is sorted,
// and one costs no more with ten thousand sessions than with one. There is
// one clock: the deadline for a pong counts from when the ping was due, not
// from when a timer came round to it, so lateness never adds up. Only after a
// standstill of the whole process, which says nothing about its clients, they
// get their time anew.
type deadlines struct {
	epoch time.Time
	after [deadlineKinds]time.Duration

	// mu guards the fields below.
	mu    sync.Mutex
	lists [deadlineKinds]deadlineList
	timer *time.Timer
	// ticking is held while due sessions are told.
	ticking sync.Mutex
}

func newDeadlines(config Config) *deadlines {
	return &deadlines{
		epoch: time.Now(),
		after: [deadlineKinds]time.Duration{
			pingDue:      config.PingInterval,
			pongExpected: config.PingTimeout,
			pingExpected: config.PingInterval + config.PingTimeout,
			farewell:     farewellTimeout,
		},
	}
}

// expect makes s wait for kind from now on.
func (d *deadlines) expect(s *Session, kind deadlineKind) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.set(s, kind, time.Since(d.epoch)+d.after[kind])
}

// expectFrom is expect counted from when the one before was due, unless there
// was a standstill in between.
func (d *deadlines) expectFrom(s *Session, kind deadlineKind, due time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.stoodStill(kind, due) {
		due = time.Since(d.epoch)
	}
	d.set(s, kind, due+d.after[kind])
}

// stoodStill reports whether what was due is so late by now that the process
// must have been suspended, or starved: by half the time that kind takes.
func (d *deadlines) stoodStill(kind deadlineKind, due time.Duration) bool {
	return time.Since(d.epoch)-due > d.after[kind]/2
}

// stop makes s wait for nothing.
func (d *deadlines) stop(s *Session) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.unlink(s)
}

// expects reports whether s waits for anything.
func (d *deadlines) expects(s *Session) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return s.deadline.linked
}

// overdue reports whether s should have ended by now, even if the timer has
// not come round to it yet.
func (d *deadlines) overdue(s *Session) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	kind, due := s.deadline.kind, s.deadline.due
	return s.deadline.linked && kind.isClients() && due <= time.Since(d.epoch) && !d.stoodStill(kind, due)
}

// tick tells every session that is due, in order, and sets the timer anew.
func (d *deadlines) tick() {
	d.ticking.Lock()
	defer d.ticking.Unlock()
	for s, kind, due := d.next(); s != nil; s, kind, due = d.next() {
		s.due(kind, due)
	}
}

// next takes a session that is due, or sets the timer if there is none.
func (d *deadlines) next() (*Session, deadlineKind, time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	first := d.first()
	if first == nil {
		return nil, 0, 0
	}
	if wait := first.deadline.due - time.Since(d.epoch); wait > 0 {
		d.timer.Reset(wait)
		return nil, 0, 0
	}
	d.unlink(first)
	return first, first.deadline.kind, first.deadline.due
}

// close returns when no session is being told any more.
func (d *deadlines) close() {
	d.mu.Lock()
	if d.timer != nil {
		d.timer.Stop()
	}
	d.mu.Unlock()
	d.ticking.Lock()
	defer d.ticking.Unlock()
}

// set links s. Held: mu, as by all that follows.
func (d *deadlines) set(s *Session, kind deadlineKind, due time.Duration) {
	d.unlink(s)
	s.deadline = deadline{due: due, kind: kind, linked: true}
	l := &d.lists[kind]
	after := l.last
	for after != nil && after.deadline.due > due { // hardly ever
		after = after.deadline.prev
	}
	l.insert(s, after)
	if after == nil {
		d.rearm()
	}
}

// first returns the session with the next deadline.
func (d *deadlines) first() *Session {
	var first *Session
	for _, l := range d.lists {
		if l.first != nil && (first == nil || l.first.deadline.due < first.deadline.due) {
			first = l.first
		}
	}
	return first
}

func (d *deadlines) rearm() {
	wait := d.first().deadline.due - time.Since(d.epoch)
	if d.timer == nil {
		d.timer = time.AfterFunc(wait, d.tick)
		return
	}
	d.timer.Reset(wait)
}

func (d *deadlines) unlink(s *Session) {
	if s.deadline.linked {
		d.lists[s.deadline.kind].remove(s)
		s.deadline.linked = false
	}
}

// insert puts s behind after, or first if that is nil.
func (l *deadlineList) insert(s, after *Session) {
	s.deadline.prev = after
	if after != nil {
		s.deadline.next, after.deadline.next = after.deadline.next, s
	} else {
		s.deadline.next, l.first = l.first, s
	}
	if s.deadline.next != nil {
		s.deadline.next.deadline.prev = s
	} else {
		l.last = s
	}
}

func (l *deadlineList) remove(s *Session) {
	if s.deadline.prev != nil {
		s.deadline.prev.deadline.next = s.deadline.next
	} else {
		l.first = s.deadline.next
	}
	if s.deadline.next != nil {
		s.deadline.next.deadline.prev = s.deadline.prev
	} else {
		l.last = s.deadline.prev
	}
	s.deadline.prev, s.deadline.next = nil, nil
}

// due is called when the session was due for kind, without any lock. It may
// have moved on in the meantime.
func (s *Session) due(kind deadlineKind, due time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.server.deadlines.expects(s): // something else by now
	case kind == farewell && s.state == leaving:
		s.vanish()
	case s.state != open:
	case kind == pingDue:
		s.awaiting, s.extended = true, false
		s.server.deadlines.expectFrom(s, pongExpected, due)
		s.sendHeartbeat(packet.Packet{Type: packet.Ping})
	case kind == pongExpected && !s.awaiting: // it has just come
	case s.server.deadlines.stoodStill(kind, due): // it may have come and not been read yet
		s.server.deadlines.expect(s, kind)
	default:
		s.end(ReasonPingTimeout, nil)
	}
}

// expired ends the session if its heartbeat is overdue, and reports whether
// its id is unknown now.
func (s *Session) expired() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.server.deadlines.overdue(s) {
		s.end(ReasonPingTimeout, nil)
	}
	return s.state == closed
}
