package socketio

import (
	"context"
	"slices"

	"github.com/evosink/evosink/sinks/websocket/engineio"
)

// A Selection is some of a namespace's sockets, and how an event reaches them.
// Its methods return changed copies; it is made by a Namespace or Socket. A
// socket that is selected twice gets an event once.
type Selection struct {
	namespace *Namespace
	rooms     []string // nil: all
	except    []string
	position  int64
	volatile  bool
}

// To adds the sockets in any of rooms. The first room narrows the selection
// from all sockets to those in it; without rooms To changes nothing.
func (sel Selection) To(rooms ...string) Selection {
	sel.rooms = slices.Concat(sel.rooms, rooms)
	return sel
}

// Except leaves out the sockets in any of rooms.
func (sel Selection) Except(rooms ...string) Selection {
	sel.except = slices.Concat(sel.except, rooms)
	return sel
}

// Volatile lets an event be lost: it is dropped for each client that cannot be
// written to at this moment, and not kept for recovery.
func (sel Selection) Volatile() Selection {
	sel.volatile = true
	return sel
}

// At tells where the log that the events come from has this one, so that
// Socket.Release can tell the past from the present. Positions are above 0, and
// those that are emitted one after the other in a namespace grow.
func (sel Selection) At(position int64) Selection {
	sel.position = position
	return sel
}

// Emit sends an event to the selected sockets: those that are selected now,
// whatever they join or leave afterwards.
func (sel Selection) Emit(ctx context.Context, event string, args ...Arg) error {
	n := sel.namespace
	if n.audience.Load() == 0 {
		return nil
	}
	out, err := n.event(event, args, nil)
	if err != nil {
		return err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if err := n.awaitVacancy(ctx); err != nil {
		return err
	}
	if n.journal != nil && !sel.volatile {
		n.record(out, sel.rooms, sel.except)
	}
	out.seal()
	return sel.publish(out)
}

// publish puts out at its place in the order, unless it has no recipient. Held:
// the namespace's mu, as by pick.
func (sel Selection) publish(out *outgoing) error {
	n := sel.namespace
	out.position = sel.position
	d := delivery{out: out, volatile: sel.volatile}
	if sel.rooms == nil && len(sel.except) == 0 {
		if len(n.members) == 0 {
			return nil
		}
		return n.publish(d)
	}
	if d.some = sel.pick(); len(d.some) == 0 {
		return nil
	}
	return n.publish(d)
}

// Sockets returns the selected sockets.
func (sel Selection) Sockets() []*Socket {
	sel.namespace.mu.Lock()
	defer sel.namespace.mu.Unlock()
	return sel.pick()
}

func (sel Selection) pick() []*Socket {
	n := sel.namespace
	n.stamp++
	for _, room := range sel.except {
		for s := range n.inRoom(room) {
			s.stamp = n.stamp
		}
	}
	var picked []*Socket
	take := func(s *Socket) {
		if s.stamp != n.stamp && !s.gone {
			s.stamp = n.stamp
			picked = append(picked, s)
		}
	}
	if sel.rooms == nil {
		picked = make([]*Socket, 0, len(n.members))
		for _, s := range n.members {
			take(s)
		}
	}
	for _, room := range sel.rooms {
		for s := range n.inRoom(room) {
			take(s)
		}
	}
	return picked
}

// seal makes out ready for many sessions.
func (out *outgoing) seal() { out.batch = engineio.NewBatch(out.msgs...) }
