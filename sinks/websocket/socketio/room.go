package socketio

import (
	"iter"
	"slices"
)

// joinRooms adds s to rooms. Held: mu, as by all in this file.
func (n *Namespace) joinRooms(s *Socket, rooms []string) {
	for _, room := range rooms {
		if room == s.id || slices.Contains(s.rooms, room) {
			continue
		}
		s.rooms = append(s.rooms, room)
		if n.rooms == nil {
			n.rooms = make(map[string]map[*Socket]struct{})
		}
		if n.rooms[room] == nil {
			n.rooms[room] = make(map[*Socket]struct{})
		}
		n.rooms[room][s] = struct{}{}
	}
}

// leaveRooms takes s out of rooms.
func (n *Namespace) leaveRooms(s *Socket, rooms []string) {
	for _, room := range rooms {
		if i := slices.Index(s.rooms, room); i >= 0 {
			s.rooms = slices.Delete(s.rooms, i, i+1)
			n.forget(s, room)
		}
	}
}

// forget takes s out of the index of a room.
func (n *Namespace) forget(s *Socket, room string) {
	delete(n.rooms[room], s)
	if len(n.rooms[room]) == 0 {
		delete(n.rooms, room)
	}
}

// inRoom yields the sockets in a room; a socket's id is a room of its own.
func (n *Namespace) inRoom(room string) iter.Seq[*Socket] {
	return func(yield func(*Socket) bool) {
		if s := n.byID[room]; s != nil && !yield(s) {
			return
		}
		for s := range n.rooms[room] {
			if !yield(s) {
				return
			}
		}
	}
}
