package socketio

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/evosink/evosink/sinks/websocket/engineio"
	"github.com/evosink/evosink/sinks/websocket/socketio/parser"
)

// Config is everything a Server is told. Begin with DefaultConfig, whose
// values are those of the reference server where that has them.
type Config struct {
	// Engine configures the sessions below. Its Accept belongs to the server
	// and must be nil; AllowRequest may refuse whole connections.
	Engine engineio.Config
	// ConnectTimeout ends a connection that has not joined any namespace.
	// Default 45 s.
	ConnectTimeout time.Duration
	// Limits bounds the packets clients send. JSON follows Engine.MaxPayload
	// if it is 0.
	Limits parser.Limits
	// Recovery gives clients that come back what they missed. Off by default.
	Recovery Recovery

	// Attach is called once per connection with its first request, and what
	// it returns is shown as Client.Value for as long as the connection lasts.
	// Nothing else of the request is kept, so this is the place to take what
	// authorisation will need from its headers and query; KeepRequest takes
	// all of both.
	Attach func(*http.Request) any

	// MaxConnect is the largest payload of a CONNECT, and how much a client may
	// send in all before it has joined its first namespace, in bytes; above that
	// the connection ends. Default 64 KiB.
	MaxConnect int

	// MaxLobby is how many connections may have joined no namespace yet, and
	// MaxLobbyEach how many of one site. For one more the oldest of them is
	// ended. Sessions of polling cost a client next to nothing, and nothing else
	// bounds them. Defaults 20,000 and 5,000.
	MaxLobby, MaxLobbyEach int
	// Site tells, by a connection's first request, where the client is, such as
	// its address. It returns a value that can be compared. nil: all are at one.
	Site func(*http.Request) any

	// Refused, if not nil, is told of every CONNECT that is refused without
	// asking the Authorize hook of a namespace: there is no such namespace, or
	// the client sends along more than MaxConnect. Namespace is "" for a client
	// whose connection was ended before it had joined one, because it sent too
	// much or broke the protocol. It must be fast.
	Refused func(c *Client, namespace string, err error)

	// MaxNamespaces is how many namespaces one client may be in, or ask to join,
	// at a time. Default 1024.
	MaxNamespaces int
	// MaxInbound is how many bytes of events may wait for the handlers of one
	// client. Above it nothing more is read from that client; if the handlers
	// do not get on within StallTimeout the client is disconnected. Default
	// 1 MiB.
	MaxInbound int
	// StallTimeout: see MaxInbound. Default 20 s.
	StallTimeout time.Duration
	// MaxPending is how many bytes of emitted events may wait in a namespace
	// for being written to its clients. Above it Emit waits. Default 4 MiB.
	MaxPending int
	// MaxHeld is how many bytes are kept aside for one socket that is held.
	// What is more is dropped, as Socket.Release tells. Default 4 MiB.
	MaxHeld int
}

// Recovery configures connection state recovery: a
// client that lost its connection comes back under the same socket id, in its
// rooms, and gets the events it missed.
//
// Events are kept per namespace, in memory, and only while a client is
// there, or may come back, that could miss them.
type Recovery struct {
	// Window is how long after its disconnection a client may come back. 0,
	// the default, turns recovery off.
	Window time.Duration
	// MaxBytes of events are kept per namespace, the newest. A client that
	// missed older ones is a new one. Default 8 MiB.
	MaxBytes int
	// MaxSessions is how many absent clients are remembered per namespace,
	// the last to leave. Default 65,536.
	MaxSessions int
	// SkipAuthorize spares a client that is recovered the Authorize hook.
	SkipAuthorize bool
	// TakeOver lets a client come back before the server noticed that it was
	// gone: the old connection, known by its private id, is cut. The reference
	// server would see a new client.
	TakeOver bool
}

// DefaultConfig returns the defaults described at the fields.
func DefaultConfig() Config {
	return Config{
		Engine:         engineio.DefaultConfig(),
		ConnectTimeout: 45 * time.Second,
		MaxConnect:     64 << 10,
		MaxLobby:       20_000,
		MaxLobbyEach:   5_000,
		MaxNamespaces:  1024,
		MaxInbound:     1 << 20,
		StallTimeout:   20 * time.Second,
		MaxPending:     4 << 20,
		MaxHeld:        4 << 20,
		Recovery:       Recovery{MaxBytes: 8 << 20, MaxSessions: 1 << 16},
	}
}

// Validate reports every setting that cannot work, by its field name. What
// concerns Engine is checked by New.
func (c Config) Validate() error {
	var errs []error
	positive := func(name string, value int64) {
		if value <= 0 {
			errs = append(errs, fmt.Errorf("%s must be above 0, not %d", name, value))
		}
	}
	positive("ConnectTimeout", int64(c.ConnectTimeout))
	positive("MaxConnect", int64(c.MaxConnect))
	positive("MaxLobby", int64(c.MaxLobby))
	positive("MaxLobbyEach", int64(c.MaxLobbyEach))
	positive("MaxNamespaces", int64(c.MaxNamespaces))
	positive("MaxInbound", int64(c.MaxInbound))
	positive("StallTimeout", int64(c.StallTimeout))
	positive("MaxPending", int64(c.MaxPending))
	positive("MaxHeld", int64(c.MaxHeld))
	if c.Recovery.Window < 0 {
		errs = append(errs, fmt.Errorf("Recovery.Window must not be below 0, not %v", c.Recovery.Window))
	}
	if c.Recovery.Window > 0 {
		positive("Recovery.MaxBytes", int64(c.Recovery.MaxBytes))
		positive("Recovery.MaxSessions", int64(c.Recovery.MaxSessions))
	}
	if c.Engine.Accept != nil {
		errs = append(errs, errors.New("Engine.Accept must be nil: it is the server's own"))
	}
	return errors.Join(errs...)
}

// Request is what KeepRequest keeps.
type Request struct {
	Header http.Header
	// RawQuery is the query of the URL, undecoded.
	RawQuery string
	// Secure reports whether the client came over TLS.
	Secure bool
}

// KeepRequest is an Attach function that keeps headers and query: Client.Value
// is then a *Request. It costs a few KiB per client; a server with many idle
// clients should take only what it needs.
func KeepRequest(r *http.Request) any {
	return &Request{Header: r.Header.Clone(), RawQuery: r.URL.RawQuery, Secure: r.TLS != nil}
}
