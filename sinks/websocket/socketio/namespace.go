package socketio

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// A Namespace is a set of sockets that events are emitted to. Its methods are
// safe for use by many goroutines.
type Namespace struct {
	server  *Server
	name    string
	hooks   *Hooks
	dynamic bool // removed from the server with its last socket

	ackIDs   atomic.Uint64
	audience atomic.Int32 // members that take events, and absent clients: with 0 there is nothing to emit

	// mu guards the fields below, and what Socket says it guards. A client's
	// lock may be taken within it, never around it.
	mu       sync.Mutex
	members  []*Socket // a socket is in it until its client is told that it has left
	byID     map[string]*Socket
	rooms    map[string]map[*Socket]struct{}
	pids     map[string]*Socket // by private id, nil without recovery
	stamp    uint32             // of the last pick; see Socket.stamp
	entering int                // sockets that are about to join
	silent   int                // members that take no events
	closed   bool               // removed from the server
	journal  *journal           // nil without recovery
	sweep    *time.Timer
	broadcastQueue
}

func newNamespace(server *Server, name string, hooks *Hooks, dynamic bool) *Namespace {
	n := &Namespace{server: server, name: name, hooks: hooks, dynamic: dynamic}
	if r := server.config.Recovery; r.Window > 0 {
		n.journal = newJournal(r, server.config.Engine.PingInterval+server.config.Engine.PingTimeout)
		n.pids = make(map[string]*Socket)
	}
	return n
}

// Name returns the name, which begins with a slash.
func (n *Namespace) Name() string { return n.name }

// Len returns the number of sockets in the namespace.
func (n *Namespace) Len() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.byID)
}

// Sockets returns the sockets in the namespace, in no particular order.
func (n *Namespace) Sockets() []*Socket { return n.all().Sockets() }

// Socket returns the socket with id, nil if there is none.
func (n *Namespace) Socket(id string) *Socket {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.byID[id]
}

// Emit sends an event to every socket in the namespace. It returns when the
// event has its place in the order of what is emitted; it waits only while too
// much waits in the namespace. Without a client it costs next to nothing:
// the event is not even encoded.
func (n *Namespace) Emit(ctx context.Context, event string, args ...Arg) error {
	return n.all().Emit(ctx, event, args...)
}

// To selects the sockets in any of rooms.
func (n *Namespace) To(rooms ...string) Selection { return n.all().To(rooms...) }

// Except selects the sockets in none of rooms.
func (n *Namespace) Except(rooms ...string) Selection { return n.all().Except(rooms...) }

// At selects all sockets, for an event of a log; see Selection.At.
func (n *Namespace) At(position int64) Selection { return n.all().At(position) }

// Volatile selects all sockets, for an event that may be lost.
func (n *Namespace) Volatile() Selection { return n.all().Volatile() }

func (n *Namespace) all() Selection { return Selection{namespace: n} }

// Disconnect disconnects the sockets for which pick returns true, or all if
// pick is nil, and returns how many. Their clients are told; connections stay.
//
// A client that has been authorised and is about to join is not among them yet. To
// shut it out, first change what Authorize goes by, then call Disconnect, and
// let the Connect hook look again.
func (n *Namespace) Disconnect(pick func(*Socket) bool) int {
	count := 0
	for _, s := range n.Sockets() {
		if (pick == nil || pick(s)) && s.client.disconnect(s, nil) {
			count++
		}
	}
	return count
}

type joinResult uint8

const (
	joinDone    joinResult = iota
	joinLate               // the client is gone
	joinRefused            // the recovery request is not valid any more
	joinClosed             // the namespace has been taken away
)

// join makes s a member at its place in the order of what is emitted: its
// client gets what it missed if it is recovered, is told that it has joined,
// and then gets what is emitted afterwards. What it missed comes first, as from
// the reference server: clients keep it until they have joined, so code
// that waits for that has it all. join returns when that has been sent,
// and undoes Server.enter.
func (n *Namespace) join(s *Socket, k *connectAttempt) joinResult {
	defer n.server.leave(n)
	n.mu.Lock()
	if n.closed || s.gone {
		defer n.mu.Unlock()
		if s.gone {
			return joinLate
		}
		return joinClosed
	}
	missed, evicted, valid := n.identify(s, k)
	if !valid {
		n.mu.Unlock()
		return joinRefused
	}
	hello := append(missed, n.connectPacket(s))
	n.admit(s, k.request)
	sent := n.inOrder(func() {
		n.server.stats.sent.Add(1)
		_ = s.client.session.Send(hello...) // that it has ended is told to Closed
		s.live = true
	})
	n.mu.Unlock()
	if evicted != nil {
		evicted.client.end(ReasonForcedServerClose)
	}
	<-sent
	return joinDone
}

// admit makes s a member. Held: mu, as by all that follows.
func (n *Namespace) admit(s *Socket, r *ConnectRequest) {
	s.SetData(r.Data)
	s.filter = r.Filter
	if r.Hold {
		s.held = new(heldBuffer)
	}
	if r.Hold || !s.recovered {
		n.setFloor(s)
	}
	if s.silent = r.NoEvents; s.silent {
		n.silent++
	}
	s.place = len(n.members)
	n.members = append(n.members, s)
	if n.byID == nil {
		n.byID = make(map[string]*Socket)
	}
	n.byID[s.id] = s
	if s.pid != "" {
		n.pids[s.pid] = s
	}
	n.joinRooms(s, r.Rooms)
	n.count()
}

// count keeps audience. Whatever changes members or absent clients calls it.
func (n *Namespace) count() {
	audience := len(n.members) - n.silent
	if n.journal != nil {
		audience += len(n.journal.absent)
	}
	n.audience.Store(int32(audience))
}

// cut removes s at once: its connection is lost, or its client has left by
// itself. Not held: mu.
func (n *Namespace) cut(s *Socket, why Reason) {
	n.mu.Lock()
	defer n.server.tidy(n)
	defer n.mu.Unlock()
	n.depart(s, why)
}

// depart is cut. Held: mu.
func (n *Namespace) depart(s *Socket, why Reason) {
	if s.gone {
		return
	}
	n.hide(s)
	if s.recoverable() && !n.closed && why.recoverable() {
		n.remember(s)
	}
	s.live = false
	n.remove(s)
}

// disconnect removes s behind what has been emitted, tells its client, and calls
// done, which may be nil. Not held: mu.
func (n *Namespace) disconnect(s *Socket, done func()) {
	n.mu.Lock()
	defer n.server.tidy(n)
	defer n.mu.Unlock()
	if s.gone {
		if done != nil {
			done()
		}
		return
	}
	n.hide(s)
	n.inOrder(func() {
		n.server.stats.sent.Add(1)
		_ = s.client.session.Send(n.disconnectPacket())
		s.live = false
		n.remove(s)
		if done != nil {
			done()
		}
	})
}

// hide takes s out of the rooms, its own id included: what is emitted from now
// on is not for it. It still knows the rooms it was in.
func (n *Namespace) hide(s *Socket) {
	s.gone = true
	if n.byID[s.id] == s {
		delete(n.byID, s.id)
	}
	if n.pids[s.pid] == s {
		delete(n.pids, s.pid)
	}
	for _, room := range s.rooms {
		n.forget(s, room)
	}
}

// remove takes s out of the members, if it is one.
func (n *Namespace) remove(s *Socket) {
	if s.place >= len(n.members) || n.members[s.place] != s {
		return
	}
	last := len(n.members) - 1
	n.members[s.place] = n.members[last]
	n.members[s.place].place = s.place
	n.members[last] = nil
	n.members = n.members[:last]
	if s.silent {
		n.silent--
	}
	s.held = nil
	n.count()
}

// empty reports whether the namespace could be removed.
func (n *Namespace) empty() bool {
	return n.entering == 0 && !n.busy && len(n.members) == 0 && n.audience.Load() == 0
}
