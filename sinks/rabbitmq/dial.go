package rabbitmq

import (
	"context"
	"net"
	"strconv"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/rs/zerolog"
)

// A dialer makes sessions.
type dialer struct {
	config  Config
	log     zerolog.Logger
	address string // host:port/vhost: what may be shown of the URI
}

func newDialer(c Config, log zerolog.Logger) (dialer, error) {
	uri, err := c.uri()
	if err != nil {
		return dialer{}, err
	}
	address := net.JoinHostPort(uri.Host, strconv.Itoa(uri.Port))
	if uri.Vhost != "/" {
		address += "/" + uri.Vhost
	}
	_, err = c.TLS.config()
	return dialer{config: c, log: log, address: address}, err
}

// dial connects within the time that the configuration allows, and gives up when ctx ends.
func (d dialer) dial(ctx context.Context) (*session, error) {
	c, err := d.options()
	if err != nil {
		return nil, err
	}
	var raw net.Conn
	stop := func() bool { return true }
	c.Dial = func(network, address string) (net.Conn, error) {
		conn, err := (&net.Dialer{Timeout: d.config.ConnectTimeout}).DialContext(ctx, network, address)
		if err != nil {
			return nil, err
		}
		raw = &timedConn{Conn: conn, timeout: d.config.WriteTimeout}
		stop = context.AfterFunc(ctx, func() { raw.Close() })
		return raw, raw.SetDeadline(time.Now().Add(d.config.ConnectTimeout)) // the library lifts it after its handshake
	}
	conn, err := amqp.DialConfig(d.config.URI, c)
	stop()
	if err != nil {
		if raw != nil {
			raw.Close() // the library leaves it, and its reader, after a failed handshake
		}
		return nil, err
	}
	return newSession(conn, &d.config.Queues, d.log), nil
}

// options reads the TLS files again each time: certificates are renewed.
func (d dialer) options() (amqp.Config, error) {
	c := amqp.Config{
		Heartbeat: d.config.Heartbeat, FrameSize: d.config.FrameMax,
		Properties: amqp.Table{"product": "evosink", "connection_name": "evosink"},
	}
	if d.config.Username != "" {
		c.SASL = []amqp.Authentication{&amqp.PlainAuth{Username: d.config.Username, Password: d.config.Password}}
	}
	var err error
	c.TLSClientConfig, err = d.config.TLS.config()
	return c, err
}

// A timedConn bounds each write: a broker that stops reading, as RabbitMQ does when it is short of
// memory or disk, would hold whoever publishes for ever, because the library's writes know no context.
type timedConn struct {
	net.Conn
	timeout time.Duration
}

func (c *timedConn) Write(b []byte) (int, error) {
	if err := c.SetWriteDeadline(time.Now().Add(c.timeout)); err != nil {
		return 0, err
	}
	return c.Conn.Write(b)
}
