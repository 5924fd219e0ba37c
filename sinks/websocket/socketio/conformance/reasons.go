package main

import (
	"context"
	"sync"

	"github.com/evosink/evosink/sinks/websocket/socketio"
)

// reasons keeps why sockets left, by the tag they gave, for others to ask.
type reasons struct {
	mu   sync.Mutex
	seen map[string]*farewell // guarded by mu
}

type farewell struct {
	Reason socketio.Reason `json:"reason"`
	Rooms  []string        `json:"rooms"`
}

func newReasons() *reasons { return &reasons{seen: make(map[string]*farewell)} }

// pending holds the rooms between the two hooks of one socket.
type pending struct {
	tag   string
	rooms []string
}

func (r *reasons) disconnecting(s *socketio.Socket, _ socketio.Reason) {
	tag, _ := s.Data().(string)
	s.SetData(pending{tag, selfRooms(s)})
}

func (r *reasons) disconnect(s *socketio.Socket, why socketio.Reason) {
	p, _ := s.Data().(pending)
	if p.tag == "" {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.seen[p.tag] = &farewell{why, p.rooms}
}

// tell acknowledges with what is known of a tag.
func (r *reasons) tell(ctx context.Context, _ *socketio.Socket, e *socketio.Event) error {
	tag, _ := e.Arg(0).Text()
	r.mu.Lock()
	seen := r.seen[tag]
	r.mu.Unlock()
	return e.Ack(ctx, value(seen))
}
