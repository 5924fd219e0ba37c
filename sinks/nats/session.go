package nats

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	natsgo "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/evosink/evosink/core/sink"
	"github.com/evosink/evosink/core/sink/link"
)

// maxPending is how many events may wait for their acknowledgement by JetStream.
const maxPending = 1 << 14

// A session is one connection to a server. It does not reconnect: what was published before a loss must not be
// confirmed by a connection that came after it. Any number of goroutines may publish at once.
type session struct {
	conn    *natsgo.Conn
	timeout time.Duration // of the server's answer
	closed  chan struct{}
	denials denials

	// In JetStream mode; else they are nil.
	js        jetstream.JetStream
	stream    *keeper
	positions *positions
}

// dial connects.
func (s *Sink) dial(ctx context.Context) (*session, error) {
	options, err := s.config.options()
	if err != nil {
		return nil, err
	}
	d := &dialer{ctx: ctx, Dialer: link.Dialer{Timeout: s.config.ConnectTimeout, Write: s.config.WriteTimeout}}
	session := &session{timeout: s.config.Timeout, closed: make(chan struct{})}
	session.denials.init()
	options = append(options, natsgo.SetCustomDialer(d),
		natsgo.ClosedHandler(func(*natsgo.Conn) { close(session.closed) }),
		natsgo.ErrorHandler(func(_ *natsgo.Conn, _ *natsgo.Subscription, err error) { session.denials.note(err, s.log) }))
	session.conn, err = natsgo.Connect(s.config.URI, options...)
	if err != nil {
		return nil, d.explain(err)
	}
	d.established()
	if !s.config.JetStream.Enabled {
		return session, nil
	}
	session.js, err = jetstream.New(session.conn, jetstream.WithPublishAsyncMaxPending(maxPending), jetstream.WithPublishAsyncTimeout(s.config.Timeout))
	if err != nil {
		session.Close()
		return nil, err
	}
	session.positions = &s.positions
	session.stream = newKeeper(session.js, &s.config.JetStream)
	return session, nil
}

// options are the library's, for everything but what a session needs. It fails when a file cannot be read.
func (c *Config) options() ([]natsgo.Option, error) {
	options := append([]natsgo.Option{
		natsgo.Name("evosink"), natsgo.NoReconnect(), natsgo.SkipHostLookup(),
		natsgo.Timeout(c.ConnectTimeout), natsgo.PingInterval(c.PingInterval), natsgo.MaxPingsOutstanding(2),
	}, c.TLS.options()...)
	switch {
	case c.Username != "":
		options = append(options, natsgo.UserInfo(c.Username, c.Password))
	case c.Token != "":
		options = append(options, natsgo.Token(c.Token))
	case c.CredsFile != "":
		options = append(options, natsgo.UserCredentials(c.CredsFile))
	case c.NKeyFile != "":
		nkey, err := natsgo.NkeyOptionFromSeed(c.NKeyFile)
		if err != nil {
			return nil, fmt.Errorf("nkey_file: %w", err)
		}
		options = append(options, nkey)
	}
	return options, nil
}

// A dialer lets ctx end what the library would not, and keeps the reason that it drops.
type dialer struct {
	link.Dialer
	ctx  context.Context // of one call to dial
	conn *link.Conn
	err  error
}

// Dial is called by the library, from within dial.
func (d *dialer) Dial(network, address string) (net.Conn, error) {
	d.conn, d.err = d.Dialer.Dial(d.ctx, network, address)
	if d.err != nil {
		return nil, d.err
	}
	return d.conn, nil
}

func (d *dialer) established() { d.conn.Established() }

func (d *dialer) explain(err error) error {
	if errors.Is(err, natsgo.ErrNoServers) && d.err != nil {
		return d.err
	}
	return err
}

// attend waits for the end of the session or ctx.
func (s *Sink) attend(ctx context.Context, session *session) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-session.closed:
		if err := session.conn.LastError(); err != nil {
			return err
		}
		return natsgo.ErrConnectionClosed
	}
}

// Close ends the connection and waits for its last callback.
func (s *session) Close() {
	s.conn.Close()
	<-s.closed
}

// lost marks an error that tells of the connection, not of an event.
func lost(err error) error {
	return sink.Unavailable(fmt.Errorf("the connection to NATS was lost: %w", err))
}
