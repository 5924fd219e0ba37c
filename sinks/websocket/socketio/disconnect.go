package socketio

import (
	"errors"
	"sync/atomic"

	"github.com/evosink/evosink/sinks/websocket/engineio"
)

// fail ends the connection for something the client did. err, if any, goes to
// the Error hooks.
func (c *Client) fail(why Reason, err error) {
	if err != nil {
		c.server.log.Debug().Err(err).Str("remote", c.RemoteAddr()).Msg("client broke the protocol")
		c.inbox.post(c, func() { c.reportError(err) })
	}
	c.end(why)
}

// misplaced ends the connection for a packet out of place. The reason is the
// reference server's, whose own close comes to its application behind that of the
// transport where the latter can be closed at once.
func (c *Client) misplaced() {
	why := ReasonForcedServerClose
	if c.session.Writable() {
		why = ReasonForcedClose
	}
	c.fail(why, nil)
}

func (c *Client) reportError(err error) {
	for _, s := range c.all() {
		if s.announced && s.namespace.hooks.Error != nil {
			s.namespace.hooks.Error(s, err)
		}
	}
}

// all returns the client's sockets.
func (c *Client) all() []*Socket {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.sockets.all()
}

// end ends the session for why. Closed follows.
func (c *Client) end(why Reason) {
	c.mu.Lock()
	if c.why == "" {
		c.why = why
	}
	c.mu.Unlock()
	c.session.Close(why.farewell())
}

// abandon ends the session of a client that has no place in the lobby any more. Closed follows.
func (c *Client) abandon() {
	c.mu.Lock()
	if c.why == "" {
		c.why = ReasonForcedServerClose
	}
	c.mu.Unlock()
	c.session.Abandon(ReasonForcedServerClose.farewell())
}

// Closed lets the end of the sockets follow what is left to handle: what the
// client did before it left counts, also for what it comes back to unless it comes
// before that is done. Nothing waits for the client from now on.
func (c handler) Closed(reason engineio.Reason, err error) {
	if tell := c.server.config.Refused; tell != nil && !c.joined.Load() {
		if c.early > c.server.config.MaxConnect {
			err = errEarly
		}
		if err != nil && (errors.Is(err, errEarly) || reason == engineio.ReasonTransportError || reason == engineio.ReasonParseError) {
			tell(c.Client, "", err)
		}
	}
	c.server.lobby.leave(c.Client)
	c.mu.Lock()
	c.closed = true
	if c.why == "" {
		c.why = Reason(reason)
	}
	why, sockets := c.why, c.sockets.all()
	if c.stopAsking != nil {
		c.stopAsking()
	}
	c.connectAttempts = nil
	c.stopImpatience()
	c.mu.Unlock()

	for _, s := range sockets {
		s.retire()
	}
	if len(sockets) > 0 {
		c.inbox.post(c.Client, func() { c.leaveNamespaces(sockets, why) })
	}
}

// mayBeTakenOver reports whether s may be taken over by a client that comes back: its own
// has gone, but has hooks to run before s leaves, or Recovery.TakeOver says so.
func (c *Client) mayBeTakenOver(s *Socket) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s.quitting || c.closed && !c.why.recoverable() {
		return false
	}
	return c.closed || c.server.config.Recovery.TakeOver
}

// leaveNamespaces takes the sockets out of their namespaces, and runs the last hooks of
// those that have not left before.
func (c *Client) leaveNamespaces(sockets []*Socket, why Reason) {
	for _, s := range sockets {
		s.namespace.cut(s, why)
		if c.take(s) {
			s.left(why)
		}
	}
}

// take takes s out of the client, and reports whether it was in it: the
// goroutine that takes a socket runs its last hooks.
func (c *Client) take(s *Socket) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.sockets.remove(s)
}

// disconnectedByClient handles the client's own DISCONNECT.
func (c *Client) disconnectedByClient(s *Socket) {
	if !c.take(s) {
		return
	}
	s.namespace.cut(s, ReasonClientDisconnect)
	s.retire()
	s.left(ReasonClientDisconnect)
}

// disconnect disconnects s for the server, then calls done, which may be nil, under
// the namespace's lock.
func (c *Client) disconnect(s *Socket, done func()) bool {
	if !c.beginDisconnect(s) {
		return false
	}
	s.namespace.disconnect(s, done)
	s.retire()
	c.inbox.post(c, func() {
		s.left(ReasonServerDisconnect)
		c.endDisconnect(s)
	})
	return true
}

// beginDisconnect is take for this side: a packet for s is not out of place until
// endDisconnect, when the client has been told.
func (c *Client) beginDisconnect(s *Socket) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	taken := c.sockets.remove(s)
	if taken {
		c.disconnecting.add(s.namespace.name)
	}
	return taken
}

func (c *Client) endDisconnect(s *Socket) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.disconnecting.remove(s.namespace.name)
}

// disconnectAll disconnects every socket, then ends the session. The session goes
// last, or the client would take the end of the transport for the reason.
func (c *Client) disconnectAll() {
	sockets := c.all()
	var remaining atomic.Int32
	remaining.Store(int32(len(sockets)) + 1)
	done := func() {
		if remaining.Add(-1) == 0 {
			c.end(ReasonServerDisconnect)
		}
	}
	for _, s := range sockets {
		if !c.disconnect(s, done) {
			done()
		}
	}
	done()
}

// stopImpatience: the client has joined a namespace, or is gone. Held: mu.
func (c *Client) stopImpatience() {
	if c.impatience != nil {
		c.impatience.Stop()
		c.impatience = nil
	}
}

// impatient ends the client if it has joined nothing.
func (c *Client) impatient() {
	c.mu.Lock()
	joined := c.impatience == nil
	c.mu.Unlock()
	if !joined {
		c.end(ReasonForcedServerClose)
	}
}
