package rabbitmq

import (
	"context"
	"net"
	"strconv"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/rs/zerolog"

	"github.com/evosink/evosink/core/sink/link"
)

// A dialer makes sessions.
type dialer struct {
	config Config
	log    zerolog.Logger
	broker string // "RabbitMQ at host:port/vhost": what may be shown of the URI
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
	return dialer{config: c, log: log, broker: "RabbitMQ at " + address}, err
}

// dial connects within the time that the configuration allows, and gives up when ctx ends.
func (d dialer) dial(ctx context.Context) (*session, error) {
	c, err := d.options()
	if err != nil {
		return nil, err
	}
	var raw *link.Conn
	c.Dial = func(network, address string) (_ net.Conn, err error) {
		raw, err = link.Dialer{Timeout: d.config.ConnectTimeout, Write: d.config.WriteTimeout}.Dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		return raw, raw.SetDeadline(time.Now().Add(d.config.ConnectTimeout)) // the library lifts it after its handshake
	}
	conn, err := amqp.DialConfig(d.config.URI, c)
	if err != nil {
		if raw != nil {
			raw.Close() // the library leaves it, and its reader, after a failed handshake
		}
		return nil, err
	}
	raw.Established()
	return newSession(conn, &d.config, d.log), nil
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
