package socketio

import (
	"encoding/json"
	"slices"
	"time"

	"github.com/evosink/evosink/sinks/websocket/engineio"
)

// sweepInterval is how often a namespace looks for what it need not keep any
// more.
const sweepInterval = 10 * time.Second

// recoveryRequest returns what auth presents for recovery, nil if nothing or if that is
// off. Both members must be strings.
func (srv *Server) recoveryRequest(auth json.RawMessage) *recoveryRequest {
	if srv.config.Recovery.Window == 0 || auth == nil {
		return nil
	}
	pid, offset := members(auth)
	if pid == nil || offset == nil {
		return nil
	}
	return &recoveryRequest{*pid, *offset}
}

// Refused reports whether the client wants to be recovered and cannot be: it is
// about to be a new one, and what it missed is lost to it.
func (r *ConnectRequest) Refused() bool {
	pid, _ := members(r.Auth)
	return pid != nil && !r.Recovering
}

// members returns the members of auth that are for recovery, nil for each that
// is not there or no string. Names are exact: decoding into a struct would take
// {"PID": ...} too.
func members(auth json.RawMessage) (pid, offset *string) {
	var all map[string]json.RawMessage
	if json.Unmarshal(auth, &all) != nil {
		return nil, nil
	}
	return text(all["pid"]), text(all["offset"])
}

// text returns the string that raw is, nil if it is none.
func text(raw json.RawMessage) (s *string) {
	if json.Unmarshal(raw, &s) != nil {
		return nil
	}
	return s
}

// recollect returns r as it is for the client that t is of, nil if t is not
// valid.
func (n *Namespace) recollect(r ConnectRequest, t *recoveryRequest) *ConnectRequest {
	n.mu.Lock()
	defer n.mu.Unlock()
	a, _ := n.journal.find(t)
	if a == nil {
		s := n.present(t)
		if s == nil {
			return nil
		}
		a = s.saved()
	}
	r.Recovering = true
	r.Data, r.Filter, r.Rooms = a.data, a.filter, slices.Clone(a.rooms[1:])
	return &r
}

// present returns the socket that t is of and that has not left yet, nil if there
// is none, or it may not be taken over. Held: mu, as by all that follows.
func (n *Namespace) present(t *recoveryRequest) *Socket {
	s := n.pids[t.pid]
	if s == nil || !s.recoverable() || !s.client.mayBeTakenOver(s) {
		return nil
	}
	if _, complete := n.journal.after(t.offset, s.floor); !complete {
		return nil
	}
	return s
}

// identify gives s its ids: those of the client k has a recovery request for, with what
// that missed, or new ones. It returns false if the recovery request is not valid. If
// its socket is still there it is cut, and returned for its client to
// be ended.
func (n *Namespace) identify(s *Socket, k *connectAttempt) (msgs []engineio.Message, evicted *Socket, valid bool) {
	if k.recovery == nil || k.request.NoEvents {
		n.newIDs(s, k.request)
		return nil, nil, true
	}
	if evicted = n.present(k.recovery); evicted != nil {
		n.depart(evicted, ReasonForcedServerClose)
	}
	a, events := n.journal.find(k.recovery)
	if a == nil {
		return nil, evicted, false
	}
	delete(n.journal.absent, a.pid) // valid once
	s.id, s.pid, s.recovered, s.floor = a.id, a.pid, true, a.floor
	return missed(events, a, k.request.Filter), evicted, true
}

// setFloor makes the offsets that clients keep from an earlier life worthless
// to s, which has just joined: what came before is not what it got. A socket
// that is held gets its first event with an offset after all that Emit gives it
// of the past; see release for one that is held anew.
func (n *Namespace) setFloor(s *Socket) {
	if n.journal == nil {
		return
	}
	s.floor = n.journal.number
	if s.held != nil {
		s.floor++
	}
}

// newIDs gives s new ids. Revision 3 clients have the Engine.IO id in theirs
// and expect no other.
func (n *Namespace) newIDs(s *Socket, r *ConnectRequest) {
	switch {
	case s.client.Revision() > 3:
		s.id = newID()
	case n.name == "/":
		s.id = s.client.session.ID()
	default:
		s.id = n.name + "#" + s.client.session.ID()
	}
	if n.journal != nil && s.client.Revision() > 3 && !r.NoEvents { // the others could not come back
		s.pid = newID()
	}
}

// recoverable reports whether the journal has all that s may miss. While s is
// held it has not: it knows nothing of what Emit gives it of the past.
func (s *Socket) recoverable() bool { return s.pid != "" && s.live && s.held == nil }

// saved returns what s would come back to.
func (s *Socket) saved() *savedSocket {
	return &savedSocket{
		at: time.Now(), id: s.id, pid: s.pid,
		rooms:  slices.Concat([]string{s.id}, s.rooms),
		filter: s.filter, data: s.Data(), floor: s.floor,
	}
}

// record keeps out for clients that miss it, and gives it its offset.
func (n *Namespace) record(out *outgoing, rooms, except []string) {
	n.journal.add(out, rooms, except)
	n.sweepLater()
}

// remember lets the client of s come back.
func (n *Namespace) remember(s *Socket) {
	n.journal.leave(s.saved())
	n.sweepLater()
}

// sweepLater makes sure that what is kept will be dropped in time.
func (n *Namespace) sweepLater() {
	if n.sweep == nil && !n.closed {
		n.sweep = time.AfterFunc(sweepInterval, n.sweepNow)
	}
}

// sweepNow drops what need not be kept any more. Not held: mu.
func (n *Namespace) sweepNow() {
	n.mu.Lock()
	defer n.server.tidy(n)
	defer n.mu.Unlock()
	now := time.Now()
	n.sweep = nil
	n.journal.expire(now)
	n.journal.trim(now)
	n.count()
	if n.audience.Load() == 0 {
		n.journal.events, n.journal.bytes = nil, 0
	}
	if len(n.journal.events)+len(n.journal.left) > 0 {
		n.sweepLater()
	}
}

// stopSweeping drops what is kept for good. Not held: mu, as by close.
func (n *Namespace) stopSweeping() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.closed = true
	if n.sweep != nil {
		n.sweep.Stop()
		n.sweep = nil
	}
	if n.journal != nil {
		n.journal.forgetAll()
		n.count()
	}
}

// close ends a namespace that has been taken away.
func (n *Namespace) close() {
	n.stopSweeping()
	n.Disconnect(nil)
}
