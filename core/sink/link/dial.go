package link

import (
	"context"
	"net"
	"time"
)

// A Dialer makes TCP connections for client libraries that know no context, neither when they connect nor when they
// write.
type Dialer struct {
	Timeout time.Duration // of connecting
	Write   time.Duration // of one write: a peer that stops reading for longer loses the connection
}

// Dial connects. Until [Conn.Established], the end of ctx closes the connection.
func (d Dialer) Dial(ctx context.Context, network, address string) (*Conn, error) {
	c, err := (&net.Dialer{Timeout: d.Timeout}).DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { c.Close() })
	return &Conn{Conn: c, write: d.Write, forget: stop}, nil
}

// A Conn is a connection made by a [Dialer].
type Conn struct {
	net.Conn
	write  time.Duration
	forget func() bool // the context
}

// Established says that the handshake is over: from now on its owner says goodbye and closes the connection.
func (c *Conn) Established() { c.forget() }

// Write writes within the dialer's time, or closes the connection.
func (c *Conn) Write(b []byte) (int, error) {
	if err := c.SetWriteDeadline(time.Now().Add(c.write)); err != nil {
		return 0, err
	}
	n, err := c.Conn.Write(b)
	if err != nil {
		c.Close() // the library's reader must learn of it too
	}
	return n, err
}

// Close closes the connection.
func (c *Conn) Close() error {
	c.forget()
	return c.Conn.Close()
}
