// Package websocket is the sink that serves events to socket.io clients, as Evolution API does.
//
// # Namespaces
//
// In global mode (WEBSOCKET_GLOBAL_EVENTS) every event reaches the namespace "/". An event reaches the namespace of its
// instance, "/sales", if the instance has enabled its websocket by POST /websocket/set/sales and listed the event. Both
// at once are additive. The name of the socket.io event is the event's wire name, its one argument the envelope. Events
// called connect, connect_error, disconnect, disconnecting, newListener or removeListener are left out: to socket.io
// these names mean something else.
//
// A namespace exists as soon as its instance has enabled it, also before its first event and after every restart.
//
// # Keys
//
// Each namespace is authorised by itself, at CONNECT. The key comes from the auth payload of CONNECT ("apikey" or
// "token"), or from the handshake: the query or header "apikey", or "Authorization: Bearer". The global key opens every
// namespace. The token of an instance opens the namespace of that instance. It may also join "/", because some clients
// join "/" before anything else (elephant.io, socket.io version 2). Such a socket never receives an event of the
// namespace, gets no replay, is not recovered, and its commands are answered with "forbidden".
//
// A client needs no key if its address is in WEBSOCKET_ALLOWED_HOSTS (by default none), or if it is at loopback while
// the operator has set no key and the server listens on loopback only. All of these must hold in addition:
//
//   - The request shows no sign of a proxy, or comes through a trusted one that names its client. A trusted proxy
//     that names no client, or a loopback address, makes its clients unknown.
//   - The Host header is a loopback address, "localhost", or listed in WEBSOCKET_ALLOWED_HOSTS: not the name of
//     a page that was made to resolve to this machine (DNS rebinding), nor the outer address of a tunnel.
//   - The Origin header is absent, loopback, or named in CORS_ORIGIN ("*" names none).
//
// Nothing in a request tells a program on this machine from a proxy or tunnel on it that hides what it is. With
// one of those, leave WEBSOCKET_ALLOWED_HOSTS unset. A key that is presented decides, also for a client that needs
// none.
//
// Pages whose origin CORS_ORIGIN does not allow are refused by polling and websocket alike, unless
// WEBSOCKET_CHECK_ORIGIN is off. Wrong keys are limited per connection and answered late once an address has presented
// many; right keys from the same address are always taken. A refused client is a line in the log, at level info so
// often per address, with what to do about it.
//
// # The past
//
// A client may ask for some events only, auth: {events: [...]}, and for what it missed, auth: {since: "<event id>"}.
// The events after that one are sent from the engine's log, filtered and authorised like live ones; then the client
// goes live, without a gap and without repeats. The event replay.expired tells it that the log does not hold the event
// it named. So many replays read the log at once, per namespace and in all; further ones wait for their turn, and a
// turn ends when its client does not keep up.
//
// Clients of version 4.6 and newer that lose their connection for less than WEBSOCKET_RECOVERY get what they missed
// without asking, filtered by what they ask for when they come back. If that is not kept any more, because it took too
// long or was more than WEBSOCKET_RECOVERY_BYTES, the event recovery.expired says so to clients that ask for no replay.
// What belongs to an instance goes with it: a later instance of the same name inherits nothing, nor an event that was
// accepted before and comes late.
//
// # Bounds
//
// An event is encoded once per namespace, and not at all if no client listens. What waits for one client is bounded; a
// client that does not keep up is disconnected without effect on others. What a client sends along with CONNECT has at
// most 16 KiB and 256 names of events; clients that ask for the same events share one filter. WEBSOCKET_SOCKETS_EACH
// bounds the sockets that are there by one instance's token; the refusal of one more has data
// {"status":429,"limit":"websocket.sockets_each","retryAfter":5}.
//
// # Where to look
//
// access.go decides what a key opens (access.principal) and which namespaces (access.mayJoin); join.go is the way of a
// socket into a namespace and out of it. replay.go gives a client what it asked for by since; recovery after a lost
// connection is package socketio's (recovery.go, journal.go there).
package websocket

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/rs/zerolog"

	"github.com/evosink/evosink/core/event"
	"github.com/evosink/evosink/core/sink"
	"github.com/evosink/evosink/sinks/websocket/engineio"
	"github.com/evosink/evosink/sinks/websocket/internal/tasks"
	"github.com/evosink/evosink/sinks/websocket/socketio"
)

// Name is the sink's name.
const Name = "websocket"

// Spec describes the sink to the core.
var Spec = sink.Spec[Config]{
	Name: Name, Mode: sink.Live,
	Defaults: DefaultConfig,
	Enabled:  func(c *Config) bool { return c.Enabled },
	Rule:     func(c *Config) sink.Rule { return sink.Rule{Global: c.GlobalEvents} },
	Settings: &sink.Settings{Schema: json.RawMessage(schema)},
	New:      func(c Config, h sink.Host) (sink.Sink, error) { return New(c, h) },
}

const schema = `{
	"type": "object",
	"required": ["enabled"],
	"properties": {
		"enabled": {"type": "boolean"},
		"events": {"type": "array", "items": {"type": "string", "minLength": 1}}
	}
}`

// A Sink is the websocket sink.
type Sink struct {
	log       zerolog.Logger
	codec     event.Codec
	directory sink.Directory
	access    access
	commander sink.Commander // nil: clients only listen
	commands  commandLimits
	history   sink.Log // nil: there is none
	reached   func(context.Context, int64) error
	global    bool // global mode
	filters   filters
	server    *socketio.Server
	replays   tasks.Group
	turns     *turns
	counts    counts
	shares    *shares
	unwatch   func()
}

var (
	_ sink.Sink    = (*Sink)(nil)
	_ sink.Mounter = (*Sink)(nil)
)

// New makes the sink. It serves as soon as it is mounted, and follows changes of instances once started.
func New(c Config, h sink.Host) (*Sink, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	s := &Sink{
		log: h.Logger, directory: h.Directory, history: h.Log, reached: h.Reached, global: c.GlobalEvents,
		codec:     h.Envelope,
		commander: h.Commander, commands: commandLimits{c.CommandRate, c.CommandBytes, c.CommandTimeout},
		access: newAccess(c, h), turns: newTurns(c.Replays, c.ReplaysEach), shares: newShares(c.SocketsEach),
	}
	var err error
	if s.server, err = socketio.New(s.serverConfig(c)); err != nil {
		return nil, fmt.Errorf("socket.io server: %w", err)
	}
	s.server.Handle(root, s.hooks())
	s.server.HandleFunc(func(name string) bool { return event.ValidateInstance(instanceOf(name)) == nil }, s.hooks())
	return s, nil
}

func (s *Sink) serverConfig(c Config) socketio.Config {
	o := socketio.DefaultConfig()
	o.ConnectTimeout, o.MaxConnect = c.ConnectTimeout, maxConnect
	o.Recovery.Window, o.Recovery.MaxBytes = c.Recovery, c.RecoveryBytes
	o.Recovery.TakeOver = true // a client notices sooner than the heartbeat that its connection is dead
	o.Attach, o.Site = s.access.attach, s.access.site
	o.Limits.AttachmentBytes = c.MaxPayload // no message costs more, in however many pieces it comes
	o.Refused = s.refused
	e := &o.Engine
	e.PingInterval, e.PingTimeout = c.PingInterval, c.PingTimeout
	e.MaxPayload, e.MaxQueueBytes = c.MaxPayload, c.QueueBytes
	if c.Compression {
		e.PerMessageDeflate = 1024
	}
	e.AllowEIO3, e.AllowRequest, e.Logger = c.EIO3, s.access.allowRequest, s.log
	if len(c.Origins) > 0 {
		e.CORS = &engineio.CORS{Origins: c.Origins, Credentials: c.Credentials}
	}
	return o
}

// Start begins to follow changes of instances.
func (s *Sink) Start(context.Context) error {
	s.unwatch = s.directory.Watch(s.changed)
	return nil
}

// changed disconnects clients that may not stay after a change. Evolution API leaves them connected.
func (s *Sink) changed(c sink.Change) {
	if c.Kind == sink.NewToken || c.Kind == sink.Deleted {
		s.server.Namespace(root).Disconnect(func(k *socketio.Socket) bool { return holdsTokenOf(k, c.Instance) })
	}
	n := s.server.Namespace(root + c.Instance)
	if n == nil {
		return
	}
	var gone int
	switch c.Kind {
	case sink.NewToken:
		gone = n.Disconnect(func(k *socketio.Socket) bool { return !holdsGlobalKey(k) })
	case sink.Deleted:
		gone = n.Disconnect(nil)
		s.server.Remove(n.Name()) // a later instance of that name inherits nothing
	case sink.NewSetting:
		settings, _ := s.directory.Lookup(c.Instance)
		if sub, err := sink.ParseSubscription(settings); err == nil && sub.Enabled {
			return
		}
		gone = n.Disconnect(nil)
	}
	if gone > 0 {
		s.log.Info().Str("instance", c.Instance).Int("sockets", gone).Msg("sockets disconnected after a change of their instance")
	}
}

// Deliver emits the event on the namespace of the delivery's scope. It returns at once if no client is there. That the
// event is one of the present instance of that name is checked after the namespace is looked up: a namespace of a later
// instance is made after the directory knows that instance.
func (s *Sink) Deliver(ctx context.Context, d *sink.Delivery) error {
	n := s.server.Namespace(namespaceOf(d))
	if n == nil || !n.Listening() || d.Scope == sink.Instance && !s.directory.Owns(d.Event) {
		return nil
	}
	return unlessReserved(n.At(d.Position).Emit(ctx, d.Event.Name, s.envelope(d.Event)))
}

// unlessReserved leaves out events with a name that means something else to socket.io, such as "disconnect". Other
// sinks take them.
func unlessReserved(err error) error {
	if errors.Is(err, socketio.ErrReserved) {
		return nil
	}
	return err
}

func (s *Sink) envelope(e *event.Event) socketio.Arg {
	return socketio.Raw(s.codec.Append(make([]byte, 0, len(e.Data)+512), e))
}

// Pattern is where the sink is mounted.
func (s *Sink) Pattern() string { return "/socket.io/" }

// ServeHTTP serves the protocol.
func (s *Sink) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.server.ServeHTTP(w, r) }

// farewell is how long clients may take, when the sink closes, to be told what waits for them. Those that do not
// listen are cut off: a restart does not wait for them.
const farewell = 2 * time.Second

// Close disconnects all clients.
func (s *Sink) Close(ctx context.Context) error {
	if s.unwatch != nil {
		s.unwatch()
	}
	brief, cancel := context.WithTimeout(ctx, farewell)
	defer cancel()
	err := s.server.Close(brief)
	if err != nil && ctx.Err() == nil {
		err = s.server.Close(ctx)
	}
	return errors.Join(err, s.replays.Close(ctx)) // which have ended with their sockets
}
