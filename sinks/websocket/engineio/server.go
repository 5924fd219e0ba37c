package engineio

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"

	"github.com/evosink/evosink/sinks/websocket/internal/tasks"
	"github.com/gorilla/websocket"
)

// A Server is one Engine.IO endpoint: an http.Handler for its path, whatever
// that is, and the sessions opened through it. Methods are safe for use by
// many goroutines.
type Server struct {
	config    Config
	upgrader  *websocket.Upgrader
	deadlines *deadlines
	tasks     tasks.Group
	large     atomic.Int64 // sessions that send a large message, see readInto

	// mu guards the fields below.
	mu       sync.RWMutex
	closed   bool
	sessions map[string]*Session // by id, those included that are leaving
	live     int                 // how many of them are open
	conns    map[*conn]struct{}  // every websocket connection
	poller   *poller             // made for the first connection that can use it
}

// New returns a server. It starts nothing: that is left to the first session.
func New(config Config) (*Server, error) {
	if err := config.Validate(); err != nil {
		return nil, fmt.Errorf("engineio: %w", err)
	}
	s := &Server{
		config:    config,
		deadlines: newDeadlines(config),
		sessions:  make(map[string]*Session),
		conns:     make(map[*conn]struct{}),
	}
	s.upgrader = newUpgrader(s)
	return s, nil
}

// ServeHTTP answers handshakes, polls, posts and upgrades. A websocket
// handshake returns at once; the connection lives on without the request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodOptions && s.config.CORS != nil {
		s.config.CORS.preflight(w, r)
		return
	}
	if !wantsWebSocket(r) { // else the answer is gorilla's
		s.config.CORS.allow(w.Header(), r)
	}
	params, refused := s.verify(r)
	switch {
	case refused != nil:
		s.refuse(w, r, refused)
	case r.Method == http.MethodGet && r.ContentLength != 0 && params.transport == Polling && !takeBody(w, r):
	case params.session == nil && params.transport == WebSocket:
		s.openWebSocket(w, r, params.dialect)
	case params.session == nil:
		s.openPolling(w, r, params.dialect)
	case params.transport == WebSocket:
		params.session.upgrade(w, r)
	case r.Method == http.MethodGet:
		params.session.poll(w, r)
	case r.Method == http.MethodPost:
		params.session.post(w, r)
	default:
		s.refuse(w, r, badRequest)
	}
}

// Sessions returns how many sessions are open.
func (s *Server) Sessions() int {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.live
}

// Close turns new clients away, ends every session with ReasonShutdown and
// returns when no goroutine of the server is left, which takes handlers that
// return and up to a few seconds for clients that are slow to hang up. When
// ctx ends first it cuts the remaining connections and returns the context's
// error.
//
// http.Server.Shutdown neither closes nor waits for websockets: call Close.
func (s *Server) Close(ctx context.Context) error {
	for _, session := range s.shut() {
		session.Close(ReasonShutdown)
	}
	err := s.tasks.Wait(ctx)
	if err != nil {
		s.cut()
		return fmt.Errorf("engineio: close: %w", err)
	}
	s.deadlines.close()
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.sessions) // what is left of polling sessions
	if s.poller != nil {
		s.poller.close()
		s.poller = nil
	}
	return nil
}

// shut refuses what comes from now on and returns the sessions there are.
func (s *Server) shut() []*Session {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	sessions := make([]*Session, 0, len(s.sessions))
	for _, session := range s.sessions {
		sessions = append(sessions, session)
	}
	return sessions
}

// cut breaks every connection that is left.
func (s *Server) cut() {
	s.mu.Lock()
	conns := make([]*conn, 0, len(s.conns))
	for c := range s.conns {
		conns = append(conns, c)
	}
	s.mu.Unlock()
	for _, c := range conns {
		c.abort()
	}
}
