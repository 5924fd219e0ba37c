package socketio

import (
	"maps"
	"sync"
	"sync/atomic"
)

// Stats is what a server has done and has now.
type Stats struct {
	// Sessions are the connections that are open.
	Sessions int
	// Namespaces that are there.
	Namespaces int
	// Joined is how many sockets have ever joined a namespace.
	Joined uint64
	// Received and Sent count packets; one sent to many sockets counts for
	// each.
	Received, Sent uint64
	// Disconnects counts the sockets that left, by reason.
	Disconnects map[Reason]uint64
}

// counters is what a Server counts as it goes.
type counters struct {
	joined, received, sent atomic.Uint64

	mu          sync.Mutex
	disconnects map[Reason]uint64 // guarded by mu
}

func (c *counters) left(why Reason) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.disconnects == nil {
		c.disconnects = make(map[Reason]uint64)
	}
	c.disconnects[why]++
}

// Stats returns the server's counters. For the sockets of one namespace see
// Namespace.Len.
func (srv *Server) Stats() Stats {
	c := &srv.stats
	c.mu.Lock()
	disconnects := maps.Clone(c.disconnects)
	c.mu.Unlock()
	srv.mu.RLock()
	namespaces := len(srv.namespaces)
	srv.mu.RUnlock()
	return Stats{
		Sessions:    srv.engine.Sessions(),
		Namespaces:  namespaces,
		Joined:      c.joined.Load(),
		Received:    c.received.Load(),
		Sent:        c.sent.Load(),
		Disconnects: disconnects,
	}
}
