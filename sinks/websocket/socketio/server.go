package socketio

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/evosink/evosink/sinks/websocket/engineio"
	"github.com/evosink/evosink/sinks/websocket/internal/tasks"
	"github.com/evosink/evosink/sinks/websocket/socketio/parser"
	"github.com/rs/zerolog"
)

// A Server is one Socket.IO endpoint: an http.Handler for its path, commonly
// "/socket.io/", and the namespaces its clients may join.
type Server struct {
	config Config
	limits parser.Limits
	log    zerolog.Logger
	engine *engineio.Server
	tasks  tasks.Group
	stats  counters
	lobby  *lobby

	// mu guards the fields below. A namespace's lock may be taken within it,
	// never around it.
	mu         sync.RWMutex
	namespaces map[string]*Namespace
	patterns   []pattern
}

// A pattern is namespaces that come to be when a client joins them.
type pattern struct {
	accept func(name string) bool
	hooks  *Hooks
}

// New returns a server without namespaces. It starts nothing: that is left to
// the first client.
func New(config Config) (*Server, error) {
	if err := config.Validate(); err != nil {
		return nil, fmt.Errorf("socketio: %w", err)
	}
	srv := &Server{config: config, log: config.Engine.Logger, namespaces: make(map[string]*Namespace)}
	if srv.config.Limits.JSON == 0 {
		srv.config.Limits.JSON = config.Engine.MaxPayload
	}
	srv.lobby = newLobby(config.MaxLobby, config.MaxLobbyEach)
	srv.limits = srv.config.Limits.WithDefaults()
	srv.config.Engine.Accept = srv.accept
	engine, err := engineio.New(srv.config.Engine)
	if err != nil {
		return nil, fmt.Errorf("socketio: %w", err)
	}
	srv.engine = engine
	return srv, nil
}

// Handle adds the namespace called name, which begins with a slash, and
// returns it. Like http.ServeMux it panics if that has been added before.
func (srv *Server) Handle(name string, hooks Hooks) *Namespace {
	if name == "" || name[0] != '/' {
		panic(fmt.Sprintf("socketio: the name of a namespace begins with a slash: %q", name))
	}
	srv.mu.Lock()
	defer srv.mu.Unlock()
	if srv.namespaces[name] != nil {
		panic(fmt.Sprintf("socketio: namespace %q is there already", name))
	}
	n := newNamespace(srv, name, &hooks, false)
	srv.namespaces[name] = n
	return n
}

// HandleFunc lets clients join every namespace whose name accept agrees to and
// that has not been added by Handle. Such a namespace comes to be with its
// first socket and goes with its last; of several patterns the first that
// agrees counts. accept must be fast, without memory, and call nothing of this
// package: a client that is not to know what there is should be refused by
// Authorize.
//
// Names are as clients write them: any characters but a comma, upper and lower
// case being different.
func (srv *Server) HandleFunc(accept func(name string) bool, hooks Hooks) {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	srv.patterns = append(srv.patterns, pattern{accept, &hooks})
}

// Namespace returns the namespace called name, nil if there is none at the
// moment.
func (srv *Server) Namespace(name string) *Namespace {
	srv.mu.RLock()
	defer srv.mu.RUnlock()
	return srv.namespaces[name]
}

// Namespaces returns the namespaces that there are at the moment.
func (srv *Server) Namespaces() []*Namespace {
	srv.mu.RLock()
	defer srv.mu.RUnlock()
	return slices.Collect(maps.Values(srv.namespaces))
}

// Remove takes the namespace called name away, disconnects its sockets and
// forgets the clients that might have come back to it.
func (srv *Server) Remove(name string) {
	srv.mu.Lock()
	n := srv.namespaces[name]
	delete(srv.namespaces, name)
	srv.mu.Unlock()
	if n != nil {
		n.close()
	}
}

// ServeHTTP serves the Engine.IO requests that carry everything.
func (srv *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { srv.engine.ServeHTTP(w, r) }

// Close turns new clients away, ends every connection with ReasonShutdown,
// lets the last hooks run and returns when nothing of the server is left
// running, or with the context's error when that ends first.
func (srv *Server) Close(ctx context.Context) error {
	err := srv.engine.Close(ctx)
	for _, n := range srv.Namespaces() {
		n.stopSweeping()
	}
	if waited := srv.tasks.Close(ctx); err == nil {
		err = waited
	}
	if err != nil {
		return fmt.Errorf("close socketio: %w", err)
	}
	return nil
}

// accept begins a client's life.
func (srv *Server) accept(session *engineio.Session, r *http.Request) engineio.Handler {
	c := &Client{server: srv, session: session, decoder: parser.NewDecoder(&srv.limits)}
	session.SetMaxPayload(srv.config.MaxConnect)
	if srv.config.Attach != nil {
		c.Value = srv.config.Attach(r)
	}
	var site any
	if srv.config.Site != nil {
		site = srv.config.Site(r)
	}
	if victim := srv.lobby.enter(c, site); victim != nil {
		victim.abandon()
	}
	c.mu.Lock()
	c.impatience = time.AfterFunc(srv.config.ConnectTimeout, c.impatient)
	c.mu.Unlock()
	if session.Protocol() == 3 { // joins "/" unasked
		c.inbox.post(c, func() { c.attemptConnect("/", nil) })
	}
	return handler{c}
}

// hooksOf returns the hooks of the namespace called name, nil if there can be
// none.
func (srv *Server) hooksOf(name string) *Hooks {
	srv.mu.RLock()
	defer srv.mu.RUnlock()
	return srv.hooksFor(name)
}

// hooksFor is hooksOf. Held: mu.
func (srv *Server) hooksFor(name string) *Hooks {
	if n := srv.namespaces[name]; n != nil {
		return n.hooks
	}
	for _, p := range srv.patterns {
		if p.accept(name) {
			return p.hooks
		}
	}
	return nil
}

// enter returns the namespace called name, which comes to be if it is not
// there, and keeps it until leave. It returns nil if the namespace is not the
// one of hooks any more.
func (srv *Server) enter(name string, hooks *Hooks) *Namespace {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	if srv.hooksFor(name) != hooks {
		return nil
	}
	n := srv.namespaces[name]
	if n == nil {
		n = newNamespace(srv, name, hooks, true)
		srv.namespaces[name] = n
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.entering++
	return n
}

// leave undoes enter.
func (srv *Server) leave(n *Namespace) {
	n.mu.Lock()
	n.entering--
	n.mu.Unlock()
	srv.tidy(n)
}

// tidy removes n if it is dynamic and no socket is left in it. Not held: n.mu.
func (srv *Server) tidy(n *Namespace) {
	if !n.dynamic || n.audience.Load() > 0 {
		return
	}
	srv.mu.Lock()
	defer srv.mu.Unlock()
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.empty() && srv.namespaces[n.name] == n {
		n.closed = true
		delete(srv.namespaces, n.name)
	}
}
