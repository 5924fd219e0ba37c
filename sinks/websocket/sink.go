// Package websocket is the sink that serves events to socket.io clients, as Evolution API does (evolution.md, section 4).
//
// An event reaches the namespace / in global mode (WEBSOCKET_GLOBAL_EVENTS), and the namespace of its instance, /sales, if
// that instance has enabled it by POST /websocket/set/sales and listed the event; both at once are additive. The name of the
// socket.io event is the event's wire name, its one argument the envelope. Events called connect, connect_error, disconnect, disconnecting,
// newListener or removeListener are left out: to socket.io these names mean something else.
//
// A namespace exists as soon as its instance has enabled it, also before its first event and after every restart. It
// is authorised by itself, at CONNECT: the global key opens all, an instance's token its own namespace only, never /. The key comes from
// the auth payload of CONNECT ("apikey" or "token"), or from the handshake: query or header apikey, or Authorization: Bearer. Clients at one of
// WEBSOCKET_ALLOWED_HOSTS need none, unless they come through a proxy. Who presents a key is
// whoever that key says, also at such a host.
//
// A client may ask for some events only, auth: {events: [...]}, and for what it missed, auth: {since: "<event id>"}: the
// events after that one are sent from the engine's log, filtered and authorised like live ones, and then it goes live without
// gap or double; replay.expired tells it that the log does not hold that event. Clients of version 4.6 and newer that lose their connection
// for less than WEBSOCKET_RECOVERY get what they missed by themselves, filtered by what they ask for when they come back; recovery.expired tells
// those that ask for no replay that it is not kept any more, because it took them too long or was more than WEBSOCKET_RECOVERY_BYTES. What belongs to
// an instance goes with it: a later one of that name inherits nothing.
//
// An event is encoded once per namespace, not at all if nobody listens. What waits for one client is bounded; a client that does
// not keep up is disconnected, and nobody else notices.
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
		access: newAccess(c, h), turns: newTurns(c.Replays, c.ReplaysEach),
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
	o.Attach = s.access.visit
	e := &o.Engine
	e.PingInterval, e.PingTimeout = c.PingInterval, c.PingTimeout
	e.MaxPayload, e.MaxQueueBytes = c.MaxPayload, c.QueueBytes
	if c.Compression {
		e.PerMessageDeflate = 1024
	}
	e.AllowEIO3, e.AllowRequest, e.Logger = c.EIO3, s.access.admit, s.log
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

// changed disconnects those whom a change shuts out (evolution.md 4.3: the reference leaves them connected).
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

// Deliver emits the event on the namespace of the delivery's scope. It returns at once if nobody is there.
func (s *Sink) Deliver(ctx context.Context, d *sink.Delivery) error {
	n := s.server.Namespace(namespaceOf(d))
	if n == nil || !n.Listening() {
		return nil
	}
	return unlessReserved(n.WithKey(d.Event.ID).Emit(ctx, d.Event.Name, s.envelope(d.Event)))
}

// unlessReserved leaves out events with a name that means something else to socket.io, such as "disconnect". Other sinks take them.
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
