package socketio

import (
	"context"
	"encoding/json"
	"errors"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/evosink/evosink/sinks/websocket/engineio"
	"github.com/evosink/evosink/sinks/websocket/socketio/parser"
)

// A Client is one connection, in any number of namespaces.
type Client struct {
	// Value is what Config.Attach returned, nil without it.
	Value any

	server  *Server
	session *engineio.Session
	decoder parser.Decoder // belongs to Message
	early   int            // bytes that came before it joined a namespace; belongs to Message
	joined  atomic.Bool    // it is, or was, in a namespace

	inbox inbox
	place *place // in the lobby, whose lock guards it; nil once the client has joined a namespace

	// mu guards the fields below. A namespace's lock is never taken within it.
	mu              sync.Mutex
	sockets         socketSet
	disconnecting   names                      // where this side is disconnecting the client
	connectAttempts map[string]*connectAttempt // CONNECTs being authorised, the latest for each namespace
	authorising     int                        // Authorize hooks that run, those for earlier ones included
	authBytes       int                        // of the payloads that they look at
	asking          context.Context            // theirs, while there are any
	stopAsking      context.CancelFunc
	impatience      *time.Timer // ends the client unless it joins a namespace in time
	why             Reason      // set when this side ends the session
	closed          bool        // the session has ended
}

// RemoteAddr returns the network address the connection came from. Behind a
// proxy that is the proxy's.
func (c *Client) RemoteAddr() string { return c.session.RemoteAddr() }

// Revision returns the Engine.IO revision the client speaks: 4, or 3 for
// socket.io clients before version 3.
func (c *Client) Revision() int { return c.session.Protocol() }

// Transport returns the transport in use now.
func (c *Client) Transport() engineio.Transport { return c.session.Transport() }

// handler is the session's end of a Client.
type handler struct{ *Client }

var _ engineio.Handler = handler{}

// Message takes what the client sent.
func (c handler) Message(m engineio.Message) {
	if !c.joined.Load() {
		if c.early += len(m.Data); c.early > c.server.config.MaxConnect {
			c.fail(ReasonForcedClose, errEarly)
			return
		}
	}
	decode := c.decoder.Text
	if m.Binary {
		decode = c.decoder.Binary
	}
	p, complete, err := decode(m.Data)
	switch {
	case err != nil:
		c.fail(ReasonForcedClose, err)
	case !complete:
	case p.Type == parser.Ack:
		c.acknowledge(p)
	default:
		c.receive(p)
	}
}

// errEarly means that a client sends much without having joined a namespace.
var errEarly = errors.New("socketio: the client sends too much before it has joined a namespace")

// receive leaves p to the client's goroutine, and waits if that has much to
// do. Acknowledgements never come this way: the goroutine may be waiting for
// one.
func (c *Client) receive(p parser.Packet) {
	c.server.stats.received.Add(1)
	size := p.Size()
	for _, arg := range p.Args {
		for _, a := range arg.Attachments {
			size += len(a)
		}
	}
	name, auth := p.Namespace, p.Data
	if c.Revision() == 3 {
		name, auth = splitQuery(p)
	}
	expected := c.expects(name, p.Type)
	if !c.inbox.put(c, func() { c.handle(p, name, auth, expected) }, size) {
		c.fail(ReasonForcedServerClose, errStalled)
	}
}

// expects reports whether a packet that comes now for a namespace is in place: the
// client has a socket there and has not said that it leaves, or its socket is just
// being disconnected by this side. A DISCONNECT is noted before it is its turn:
// its client does not want to come back, however its connection ends.
func (c *Client) expects(name string, t parser.Type) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.sockets.get(name)
	expected := s != nil && !s.quitting || c.disconnecting.has(name)
	if s != nil && t == parser.Disconnect {
		s.quitting = true
	}
	return expected
}

// handle does what p says. A packet out of place ends the connection; one that was in place when it came was on its way when this side
// disconnected the socket.
func (c *Client) handle(p parser.Packet, name string, auth json.RawMessage, expected bool) {
	s := c.socket(name)
	switch {
	case s == nil && p.Type == parser.Connect:
		c.attemptConnect(name, auth)
	case p.Type == parser.Connect, p.Type == parser.ConnectError, s == nil && !expected:
		c.misplaced()
	case s == nil:
	case p.Type == parser.Disconnect:
		c.disconnectedByClient(s)
	default:
		s.handle(p)
	}
}

// splitQuery returns the name and query of a namespace of revision 3, the
// query as JSON. A repeated key has its last value.
func splitQuery(p parser.Packet) (name string, auth json.RawMessage) {
	name, query, _ := strings.Cut(p.Namespace, "?")
	values, _ := url.ParseQuery(query) // what cannot be parsed is left out
	if p.Type != parser.Connect || len(values) == 0 {
		return name, nil
	}
	object := []byte{'{'}
	for key, all := range values {
		if len(object) > 1 {
			object = append(object, ',')
		}
		object = append(parser.AppendString(object, key), ':')
		object = parser.AppendString(object, all[len(all)-1])
	}
	return name, append(object, '}')
}

// acknowledge gives p to the call that waits for it.
func (c *Client) acknowledge(p parser.Packet) {
	c.server.stats.received.Add(1)
	c.mu.Lock()
	s := c.sockets.get(p.Namespace)
	if s == nil {
		disconnecting := c.disconnecting.has(p.Namespace)
		c.mu.Unlock()
		if !disconnecting {
			c.misplaced()
		}
		return
	}
	var waiter ackWaiter
	if p.HasID {
		waiter = s.acks[p.ID]
		delete(s.acks, p.ID)
	}
	c.mu.Unlock()
	if waiter != nil {
		waiter.answered(s, p.Args)
	}
}

// socket returns the client's socket in the namespace called name, nil if it
// is not there.
func (c *Client) socket(name string) *Socket {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.sockets.get(name)
}

// write sends p past any namespace: the client is in none of that name.
func (c *Client) write(p *parser.Packet) {
	c.server.stats.sent.Add(1)
	text, _ := p.Encode(make([]byte, 0, p.Size()))
	_ = c.session.Send(engineio.Message{Data: text}) // that it has ended is told to Closed
}
