package socketio

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/evosink/evosink/sinks/websocket/socketio/parser"
)

// A connectAttempt is a CONNECT on its way to a socket.
type connectAttempt struct {
	request  *ConnectRequest
	hooks    *Hooks
	size     int              // of the payload, while it is being authorised
	recovery *recoveryRequest // not nil: it joins as the socket that it was, or not at all
}

// attemptConnect answers a CONNECT to the namespace called name.
func (c *Client) attemptConnect(name string, auth json.RawMessage) {
	if most := c.server.config.MaxConnect; len(auth) > most {
		c.turnAway(name, fmt.Errorf("auth has %d bytes, at most %d are allowed", len(auth), most))
		return
	}
	hooks := c.server.hooksOf(name)
	if hooks == nil {
		c.turnAway(name, &invalidNamespace)
		return
	}
	k := &connectAttempt{request: &ConnectRequest{Client: c, Namespace: name, Auth: auth}, hooks: hooks}
	if t := c.server.recoveryRequest(auth); t == nil || !c.comeBack(k, t) {
		c.ask(k)
	}
}

// turnAway refuses a CONNECT without asking any namespace.
func (c *Client) turnAway(name string, err error) {
	if c.server.config.Refused != nil {
		c.server.config.Refused(c, name, err)
	}
	c.refuse(name, err)
}

// comeBack handles a CONNECT with a recovery request. It returns false if the recovery request is
// of no use.
func (c *Client) comeBack(k *connectAttempt, t *recoveryRequest) bool {
	n := c.server.Namespace(k.request.Namespace)
	if n == nil {
		return false
	}
	again := &connectAttempt{request: n.recollect(*k.request, t), hooks: k.hooks, recovery: t}
	switch {
	case again.request == nil:
		return false
	case c.server.config.Recovery.SkipAuthorize:
		return c.enter(again)
	}
	c.ask(again)
	return true
}

// ask lets k enter if Authorize agrees.
func (c *Client) ask(k *connectAttempt) {
	switch {
	case k.hooks.Authorize != nil:
		c.authorize(k)
	case !c.enter(k):
		c.askAnew(k)
	}
}

// askAnew is for a client that was about to be recovered and cannot be any more.
func (c *Client) askAnew(k *connectAttempt) {
	r := k.request
	c.ask(&connectAttempt{request: &ConnectRequest{Client: c, Namespace: r.Namespace, Auth: r.Auth}, hooks: k.hooks})
}

// authorize asks the hook in a goroutine of its own.
func (c *Client) authorize(k *connectAttempt) {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return
	}
	var over error
	switch k.size = len(k.request.Auth); {
	case c.sockets.len()+c.authorising >= c.server.config.MaxNamespaces:
		over = errNamespaces
	case c.authBytes+k.size > c.server.config.MaxInbound:
		over = errAuth
	}
	if over != nil {
		c.mu.Unlock()
		c.fail(ReasonForcedServerClose, over)
		return
	}
	c.authBytes += k.size
	if c.connectAttempts == nil {
		c.connectAttempts = make(map[string]*connectAttempt)
	}
	c.connectAttempts[k.request.Namespace] = k
	if c.authorising++; c.authorising == 1 {
		c.asking, c.stopAsking = context.WithCancel(context.Background())
	}
	ctx := c.asking
	c.mu.Unlock()

	c.server.tasks.Go(func() {
		err := k.hooks.Authorize(ctx, k.request)
		c.inbox.post(c, func() { c.admit(k, err) })
	})
}

var (
	// errNamespaces means that a client is in more namespaces than is allowed.
	errNamespaces = errors.New("socketio: client is in too many namespaces")
	// errAuth means that the CONNECTs being authorised hold more than is allowed.
	errAuth = errors.New("socketio: the client's CONNECTs hold too much at once")
)

// admit acts on what Authorize said. Every CONNECT that is refused is answered;
// of several to one namespace that are on their way at a time the last may enter.
func (c *Client) admit(k *connectAttempt, err error) {
	latest := c.authorised(k)
	switch {
	case err != nil:
		c.refuse(k.request.Namespace, err)
	case !latest:
	case !c.enter(k):
		c.askAnew(k)
	}
}

// authorised counts out k, and reports whether it is the latest to its namespace.
func (c *Client) authorised(k *connectAttempt) (latest bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	name := k.request.Namespace
	if latest = c.connectAttempts[name] == k; latest {
		delete(c.connectAttempts, name)
	}
	c.authBytes -= k.size
	if c.authorising--; c.authorising == 0 {
		c.stopAsking()
		c.asking, c.stopAsking = nil, nil
	}
	return latest
}

// enter makes the client a socket in the namespace. It returns false, and has
// done nothing, if k has a recovery request that is not valid any more.
func (c *Client) enter(k *connectAttempt) bool {
	n := c.server.enter(k.request.Namespace, k.hooks)
	if n == nil { // taken away meanwhile
		c.refuse(k.request.Namespace, &invalidNamespace)
		return true
	}
	s := &Socket{client: c, namespace: n, session: c.session}
	if k.recovery != nil {
		// What it missed may be more than may wait for it, unless nothing else does.
		_ = c.session.Flushed(context.Background()) // or it is gone, as add will say
	}
	if err := c.add(s); err != nil {
		c.server.leave(n)
		if !errors.Is(err, ErrDisconnected) {
			c.fail(ReasonForcedServerClose, err)
		}
		return true
	}
	switch n.join(s, k) {
	case joinRefused:
		c.take(s)
		return false
	case joinClosed:
		c.take(s)
		c.refuse(n.name, &invalidNamespace)
	case joinDone:
		c.welcome(s)
	}
	return true
}

// add adds s to the client's sockets, unless the client is gone or in too many
// namespaces.
func (c *Client) add(s *Socket) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.closed:
		return ErrDisconnected
	case c.sockets.len() >= c.server.config.MaxNamespaces:
		return errNamespaces
	}
	c.sockets.add(s)
	c.joined.Store(true)
	c.server.lobby.leave(c)
	c.session.SetMaxPayload(c.server.config.Engine.MaxPayload)
	return nil
}

// welcome runs when s has joined and its client been told so.
func (c *Client) welcome(s *Socket) {
	c.mu.Lock()
	c.stopImpatience()
	here := c.sockets.get(s.namespace.name) == s
	c.mu.Unlock()
	if !here {
		return // disconnected by the server already
	}
	s.announced = true
	c.server.stats.joined.Add(1)
	if hook := s.namespace.hooks.Connect; hook != nil {
		hook(s.context(), s)
	}
}

// refuse answers a CONNECT with err.
func (c *Client) refuse(name string, err error) {
	c.write(&parser.Packet{Type: parser.ConnectError, Namespace: name, Data: c.refusal(err)})
}

// refusal returns the payload of a CONNECT_ERROR: an object, or for revision 3
// the error's data, else its message. The answer for a namespace
// that does not exist is an object in both.
func (c *Client) refusal(err error) json.RawMessage {
	var refused *ConnectError
	if !errors.As(err, &refused) {
		refused = &ConnectError{Message: err.Error()}
	}
	message := parser.AppendString(nil, refused.Message)
	if c.Revision() == 3 && refused.Message != invalidNamespace.Message {
		if refused.Data != nil {
			return refused.Data
		}
		return message
	}
	object := append([]byte(`{"message":`), message...)
	if refused.Data != nil {
		object = append(object, `,"data":`...)
		object = append(object, refused.Data...)
	}
	return append(object, '}')
}
