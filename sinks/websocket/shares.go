package websocket

import (
	"fmt"
	"sync"

	"github.com/evosink/evosink/core/uses"
	"github.com/evosink/evosink/sinks/websocket/socketio"
)

// shares bounds how many sockets may be in namespaces by one instance's token, so that a tenant uses up no more than its share of the
// server's connections. Holders of the global key are the operator's, and not counted. Any number of goroutines may use it at once.
type shares struct {
	each int

	mu sync.Mutex
	// mu guards the field below.
	sockets uses.Counts[string, int] // by instance
}

func newShares(each int) *shares { return &shares{each: each, sockets: uses.Counts[string, int]{}} }

// full returns the refusal for one more socket, nil if there is room. Its data says to programs what a 429 with Retry-After would.
func (s *shares) full(m *socketState) error {
	if m.Global {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.sockets[m.Instance] < s.each {
		return nil
	}
	return &socketio.ConnectError{
		Message: fmt.Sprintf("Too many sockets of this instance: %d are allowed (websocket.sockets_each); disconnect some, then try again", s.each),
		Data:    []byte(`{"status":429,"limit":"websocket.sockets_each","retryAfter":5}`),
	}
}

// enter counts a socket that has joined. It reports whether there was room: several may have been let in for the last place.
func (s *shares) enter(m *socketState) bool {
	if m.Global {
		return true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sockets.Add(m.Instance, 1) <= s.each
}

// leave is for every socket that enter has counted.
func (s *shares) leave(m *socketState) {
	if m.Global {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sockets.Add(m.Instance, -1)
}
