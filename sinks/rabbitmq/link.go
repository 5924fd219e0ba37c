package rabbitmq

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/evosink/evosink/core/sink"
)

// steady is how long a session must have lasted for the next attempt to connect to come at once.
const steady = 10 * time.Second

// firstPause is the longest pause after the first failure; it doubles with each further one.
const firstPause = 500 * time.Millisecond

var errClosed = errors.New("the sink is closed")

// A link keeps a session with the broker: while it has none it dials, again and again for as long as run lasts.
type link struct {
	dialer dialer
	log    zerolog.Logger

	mu sync.Mutex
	// mu guards the fields below.
	session *session      // nil: there is none
	since   time.Time     // when the session began
	err     error         // why there is none; nil while a first attempt is under way
	lastErr error         // the last failure, for operators; it stays when all is well again
	changed chan struct{} // closed, and replaced, by every change
}

func newLink(d dialer, log zerolog.Logger) *link {
	return &link{dialer: d, log: log, changed: make(chan struct{})}
}

// run owns the sessions: it makes one, gives it to serve, which returns why it ended, and makes the next.
func (l *link) run(ctx context.Context, serve func(context.Context, *session) error) {
	for failures := 0; ctx.Err() == nil; {
		s, err := l.dialer.dial(ctx)
		if err == nil {
			began := time.Now()
			l.up(s)
			err = serve(ctx, s)
			l.down(ctx, err)
			s.close()
			if time.Since(began) > steady {
				failures = 0
				l.set(nil, nil) // a first attempt again: deliveries wait for it
				continue
			}
		}
		l.down(ctx, err)
		failures++
		pause(ctx, backoff(failures, l.dialer.config.ReconnectMax))
	}
	l.set(nil, errClosed)
}

// current returns the session. It waits only while a first attempt is under way, never while the broker is known to be away.
func (l *link) current(ctx context.Context) (*session, error) {
	for {
		s, err, changed := l.state()
		switch {
		case s != nil:
			return s, nil
		case err != nil:
			return nil, sink.Unavailable(fmt.Errorf("not connected to %s: %w", l.dialer.address, err))
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, sink.Unavailable(fmt.Errorf("connect to %s: %w", l.dialer.address, ctx.Err()))
		}
	}
}

func (l *link) state() (*session, error, chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.session, l.err, l.changed
}

func (l *link) up(s *session) {
	l.log.Info().Str("broker", l.dialer.address).Msg("connected to RabbitMQ")
	l.set(s, nil)
}

// down says it in the log when it is news, and not the sink's own end.
func (l *link) down(ctx context.Context, err error) {
	if _, known, _ := l.state(); known == nil && ctx.Err() == nil {
		l.log.Warn().Err(err).Str("broker", l.dialer.address).Msg("not connected to RabbitMQ; events wait, connecting goes on")
	}
	l.set(nil, err)
}

func (l *link) set(s *session, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if s != nil {
		l.since = time.Now()
	}
	l.session, l.err = s, err
	if err != nil {
		l.lastErr = err
	}
	close(l.changed)
	l.changed = make(chan struct{})
}

// history tells since when there is a session, zero if there is none, and the last failure.
func (l *link) history() (since time.Time, last error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.session == nil {
		return time.Time{}, l.lastErr
	}
	return l.since, l.lastErr
}

// backoff returns the pause after the n-th failure in a row, half of it by chance so that many nodes do not come back at once.
func backoff(n int, longest time.Duration) time.Duration {
	d := min(firstPause<<min(n-1, 20), longest)
	return d/2 + rand.N(d/2+1)
}

func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}
