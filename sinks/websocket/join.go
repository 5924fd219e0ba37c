package websocket

import (
	"context"

	"github.com/rs/zerolog"

	"github.com/evosink/evosink/core/event"
	"github.com/evosink/evosink/sinks/websocket/socketio"
)

// A socketState is what the sink keeps of a socket that has joined a namespace.
type socketState struct {
	credentials               // what the client's key opens
	events      *event.Filter // what it asked for, shared by those that asked for the same
	since       string        // replay what came after the event with this id; "" for no replay
	lost        bool          // it wanted what it missed, which is not kept any more
}

// silent reports whether the socket is in / by an instance's token. Some clients cannot but join / first (elephant.io,
// socket.io version 2), so it is let in, but never gets an event there and cannot command.
func (m *socketState) silent(namespace string) bool { return namespace == root && !m.Global }

// recoveryExpired is the event that tells a client that it was to be recovered and could not be: it has missed events. It has no
// argument. A client that asks for a replay is not told: the replay has them.
const recoveryExpired = "recovery.expired"

func holdsGlobalKey(s *socketio.Socket) bool {
	m, ok := s.Data().(*socketState)
	return ok && m.Global
}

func holdsTokenOf(s *socketio.Socket, instance string) bool {
	m, ok := s.Data().(*socketState)
	return ok && !m.Global && m.Instance == instance
}

// hooks is what every namespace does.
func (s *Sink) hooks() socketio.Hooks {
	return socketio.Hooks{Authorize: s.authorize, Connect: s.connect, Event: s.command, Disconnect: s.left}
}

// authorize decides about a CONNECT.
func (s *Sink) authorize(ctx context.Context, r *socketio.ConnectRequest) error {
	err := s.admit(ctx, r)
	if err != nil {
		s.refused(r.Client, r.Namespace, err)
	}
	return err
}

// refused counts and logs a CONNECT that was refused.
func (s *Sink) refused(c *socketio.Client, namespace string, err error) {
	s.counts.refused.Add(1)
	s.access.refusals.report(c.Value.(*handshake).client, namespace, err)
}

// admit sets up the socket of a client that may join.
func (s *Sink) admit(ctx context.Context, r *socketio.ConnectRequest) error {
	given, err := parseAuth(r.Auth)
	if err != nil {
		return err
	}
	v := r.Client.Value.(*handshake)
	p, err := s.access.principal(ctx, v, given)
	if err != nil {
		return err
	}
	if s.access.mayJoin(p.Principal, r.Namespace) != nil { // its instance may have been made, or enabled, on another node
		s.access.directory.Recheck(ctx, v.client.Bucket().String(), "namespace "+r.Namespace)
	}
	if err := s.access.mayJoin(p.Principal, r.Namespace); err != nil {
		return err
	}
	if err := s.shares.full(&socketState{credentials: p}); err != nil && !r.Recovering {
		return err
	}
	m := &socketState{credentials: p, events: s.filters.get(given.Events), since: given.Since, lost: r.Refused() && given.Since == ""}
	if m.silent(r.Namespace) {
		m.since, m.lost = "", false
		r.Data, r.NoEvents = m, true
		return nil
	}
	r.Data, r.Filter = m, nil // a client that is recovered gets what it missed by what it asks for now
	if !m.events.All() {
		r.Filter = m.events.Has
	}
	r.Hold = m.since != "" && !r.Recovering
	return nil
}

// connect runs when a socket has joined. What was decided about it is looked at once more: a change of its instance in
// the moment between did not find it among the sockets to disconnect.
func (s *Sink) connect(ctx context.Context, k *socketio.Socket) {
	m := k.Data().(*socketState)
	room := s.shares.enter(m) || k.Recovered() // which may be counted twice until its former connection is gone
	if !room || !s.mayStay(m, k.Namespace().Name()) {
		k.Disconnect()
		return
	}
	if k.Recovered() {
		s.counts.recovered.Add(1)
	}
	s.logged(k).Bool("recovered", k.Recovered()).Str("since", m.since[:min(len(m.since), 64)]).Msg("client joined")
	if m.lost {
		_ = k.Emit(ctx, recoveryExpired) // a client that it does not reach is told again
	}
	if m.since != "" && !k.Recovered() {
		s.replays.Go(func() { s.catchUp(ctx, k, m) })
	}
}

func (s *Sink) left(k *socketio.Socket, why socketio.Reason) {
	s.shares.leave(k.Data().(*socketState))
	s.logged(k).Str("reason", string(why)).Msg("client left")
}

// logged begins what is logged of a socket.
func (s *Sink) logged(k *socketio.Socket) *zerolog.Event {
	return s.log.Debug().Str("remote", k.Client().RemoteAddr()).Str("namespace", k.Namespace().Name())
}

// mayStay reports whether the socket would be let in now.
func (s *Sink) mayStay(m *socketState, namespace string) bool {
	p := m.Principal
	if m.key != "" {
		var ok bool
		if p, ok = s.directory.Authenticate(m.key); !ok {
			return false
		}
	}
	return s.access.mayJoin(p, namespace) == nil
}
