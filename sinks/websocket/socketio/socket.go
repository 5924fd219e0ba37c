package socketio

import (
	"context"
	"errors"
	"slices"

	"github.com/evosink/evosink/sinks/websocket/engineio"
	"github.com/evosink/evosink/sinks/websocket/socketio/parser"
)

// A Socket is one client in one namespace. Its methods are safe for use by
// many goroutines, and do nothing, or return ErrDisconnected, once it has left.
type Socket struct {
	client    *Client
	namespace *Namespace

	// What a broadcast looks at stands together, because with many sockets
	// each further cache line costs: the client's session, and the rest guarded
	// by the namespace's mu.
	session *engineio.Session
	filter  func(event string) bool
	held    *heldBuffer // what is kept aside, nil unless held
	live    bool        // the client has been told that it has joined
	silent  bool        // takes no broadcasts; see ConnectRequest.NoEvents

	// Set by Namespace.join, not changed afterwards.
	id, pid   string
	recovered bool

	// announced: the Connect hook has been called. It belongs to the client's
	// goroutine.
	announced bool

	// Guarded by the namespace's mu.
	place int  // in the namespace's members
	gone  bool // left, for everything emitted from now on
	stamp uint32
	rooms []string // without its own id, which is a room too
	floor uint64   // the number of the least offset it can be recovered from

	// Guarded by the client's mu.
	data     any
	acks     map[uint64]ackWaiter
	ctx      context.Context
	cancel   context.CancelFunc
	ended    bool
	quitting bool // its client's DISCONNECT has come
}

// ID returns the socket's id: unique, public, and the name of a room that it
// is always in. A recovered socket has the id it had before.
func (s *Socket) ID() string { return s.id }

// Client returns the connection.
func (s *Socket) Client() *Client { return s.client }

// Namespace returns the namespace the socket is in.
func (s *Socket) Namespace() *Namespace { return s.namespace }

// Recovered reports whether the socket is one that came back, and got what it
// missed.
func (s *Socket) Recovered() bool { return s.recovered }

// Data returns what Authorize or SetData stored. A socket that is recovered
// has what it had.
func (s *Socket) Data() any {
	s.client.mu.Lock()
	defer s.client.mu.Unlock()
	return s.data
}

// SetData stores a value with the socket.
func (s *Socket) SetData(v any) {
	s.client.mu.Lock()
	defer s.client.mu.Unlock()
	s.data = v
}

// Emit sends an event to the socket's client, behind everything emitted to it
// or its namespace before. It waits only while too much waits in the
// namespace.
func (s *Socket) Emit(ctx context.Context, event string, args ...Arg) error {
	out, err := s.namespace.event(event, args, nil)
	if err != nil {
		return err
	}
	return s.send(ctx, out, direct{journal: true})
}

// EmitVolatile is Emit for an event that may be lost: it is dropped, without
// error, if the client cannot be written to at this moment, and not kept for
// recovery.
func (s *Socket) EmitVolatile(ctx context.Context, event string, args ...Arg) error {
	out, err := s.namespace.event(event, args, nil)
	if err != nil {
		return err
	}
	return s.send(ctx, out, direct{volatile: true})
}

// Await returns when what was emitted to the socket before has been written,
// and little of it still waits for the client (see engineio.Session.Await). Between
// calls of Emit it paces a caller that has much for one socket. It returns ErrDisconnected
// if the client has gone, or ctx's error.
func (s *Socket) Await(ctx context.Context) error {
	select {
	case <-s.passed():
	case <-ctx.Done():
		return ctx.Err()
	}
	err := s.session.Await(ctx)
	if errors.Is(err, engineio.ErrClosed) {
		return ErrDisconnected
	}
	return err
}

// passed returns what is closed when everything emitted before has been
// written.
func (s *Socket) passed() <-chan struct{} {
	n := s.namespace
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.inOrder(func() {})
}

// Join adds the socket to rooms.
func (s *Socket) Join(rooms ...string) {
	n := s.namespace
	n.mu.Lock()
	defer n.mu.Unlock()
	if !s.gone {
		n.joinRooms(s, rooms)
	}
}

// Leave removes the socket from rooms.
func (s *Socket) Leave(rooms ...string) {
	n := s.namespace
	n.mu.Lock()
	defer n.mu.Unlock()
	if !s.gone {
		n.leaveRooms(s, rooms)
	}
}

// Rooms returns the rooms the socket is in, its own id first. In the
// Disconnecting and Disconnect hooks it returns those it was in.
func (s *Socket) Rooms() []string {
	s.namespace.mu.Lock()
	defer s.namespace.mu.Unlock()
	return slices.Concat([]string{s.id}, s.rooms)
}

// To selects the sockets in any of rooms, without s.
func (s *Socket) To(rooms ...string) Selection { return s.Broadcast().To(rooms...) }

// Broadcast selects all sockets of the namespace but s.
func (s *Socket) Broadcast() Selection {
	return Selection{namespace: s.namespace, except: []string{s.id}}
}

// Disconnect makes the socket leave its namespace, and tells the client, after
// everything emitted before. The client does not come back by itself.
func (s *Socket) Disconnect() { s.client.disconnect(s, nil) }

// Close disconnects the client from all its namespaces and ends the
// connection, after everything emitted before.
func (c *Client) Close() { c.disconnectAll() }

// Drop ends the connection without a word, as if it had been lost: the client
// comes back by itself, and may be recovered.
func (c *Client) Drop() { c.end(ReasonForcedClose) }

// handle runs the Event hook. Without payload there is nothing to handle.
func (s *Socket) handle(p parser.Packet) {
	hooks := s.namespace.hooks
	if hooks.Event == nil || p.Bare {
		return
	}
	e := &Event{Name: p.Name, Args: p.Args, socket: s, id: p.ID, wantsAck: p.HasID}
	if err := hooks.Event(s.context(), s, e); err != nil && hooks.Error != nil {
		hooks.Error(s, err)
	}
}

// context returns the context of the socket's hooks. Most sockets never need
// one.
func (s *Socket) context() context.Context {
	c := s.client
	c.mu.Lock()
	defer c.mu.Unlock()
	if s.ctx == nil {
		s.ctx, s.cancel = context.WithCancel(context.Background())
		if s.ended {
			s.cancel()
		}
	}
	return s.ctx
}

// retire ends what waits for the socket: its context, and calls that wait for
// its acknowledgements.
func (s *Socket) retire() {
	c := s.client
	c.mu.Lock()
	acks, cancel := s.acks, s.cancel
	s.acks, s.ended = nil, true
	c.mu.Unlock()
	if cancel != nil {
		cancel()
	}
	for _, waiter := range acks {
		waiter.lost(s)
	}
}

// left runs the last hooks.
func (s *Socket) left(why Reason) {
	if !s.announced {
		return
	}
	s.client.server.stats.left(why)
	hooks := s.namespace.hooks
	if hooks.Disconnecting != nil {
		hooks.Disconnecting(s, why)
	}
	if hooks.Disconnect != nil {
		hooks.Disconnect(s, why)
	}
}

// direct says how an event for one socket travels.
type direct struct {
	journal  bool // keep it for recovery
	volatile bool
}

// send sends out at its place in the namespace's order: at once if nothing
// waits there.
func (s *Socket) send(ctx context.Context, out *outgoing, d direct) error {
	n := s.namespace
	n.mu.Lock()
	if err := n.awaitVacancy(ctx); err != nil {
		n.mu.Unlock()
		return err
	}
	if s.gone {
		n.mu.Unlock()
		return ErrDisconnected
	}
	if d.journal && n.journal != nil && s.held == nil {
		n.record(out, []string{s.id}, nil)
	}
	if n.busy {
		n.push(delivery{out: out, one: s, volatile: d.volatile})
		n.mu.Unlock()
		return nil
	}
	if n.journal != nil { // the client must see the offsets in their order
		defer n.mu.Unlock()
		return s.write(out, d.volatile)
	}
	n.mu.Unlock()
	return s.write(out, d.volatile)
}

// write hands out to the session.
func (s *Socket) write(out *outgoing, volatile bool) error {
	s.client.server.stats.sent.Add(1)
	var err error
	switch session := s.client.session; {
	case volatile:
		session.SendVolatile(out.msgs...)
	case out.batch != nil:
		err = session.SendBatch(out.batch)
	default:
		err = session.Send(out.msgs...)
	}
	if err != nil {
		return ErrDisconnected
	}
	return nil
}
