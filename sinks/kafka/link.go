package kafka

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/rs/zerolog"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/evosink/evosink/core/sink"
)

const (
	firstPause = 500 * time.Millisecond // longest pause after the first failure; it doubles with each further one
	calm       = 100 * time.Millisecond // shortest time between two looks at brokers that answer
)

var errClosed = errors.New("the sink is closed")

// A link knows whether any broker answers. The client connects by itself, but only when it has something to send, and says
// nothing of brokers that are away: it keeps records until somebody gives up. So the link asks the brokers
// when a connection is lost, and again and again while none answers; meanwhile deliveries fail at once.
type link struct {
	brokers string // for operators
	most    time.Duration
	log     zerolog.Logger
	doubts  chan struct{} // gets a value when a connection has ended

	mu sync.Mutex
	// mu guards the fields below.
	up      context.Context // ends when the link goes down; nil while it is
	drop    context.CancelCauseFunc
	since   time.Time
	err     error         // why it is down; nil while a first attempt is under way
	lastErr error         // the last failure, for operators; it stays when all is well again
	changed chan struct{} // closed, and replaced, by every change
}

func newLink(c *Config, log zerolog.Logger) *link {
	return &link{
		brokers: strings.Join(c.Brokers, ", "), most: c.ReconnectMax, log: log,
		doubts: make(chan struct{}, 1), changed: make(chan struct{}),
	}
}

// OnBrokerDisconnect is called by the client, see [kgo.HookBrokerDisconnect].
func (l *link) OnBrokerDisconnect(kgo.BrokerMetadata, net.Conn) { l.doubt() }

// doubt makes the link look at the brokers.
func (l *link) doubt() {
	select {
	case l.doubts <- struct{}{}:
	default:
	}
}

// run looks at the brokers with ping until ctx ends, and calls risen each time that they answer again.
func (l *link) run(ctx context.Context, ping func(context.Context) error, risen func(context.Context)) {
	for failures := 0; ctx.Err() == nil; {
		err := ping(ctx)
		if ctx.Err() != nil {
			break
		}
		if err != nil {
			l.fall(err)
			failures++
			pause(ctx, backoff(failures, l.most))
			continue
		}
		failures = 0
		if l.rise() {
			risen(ctx)
		}
		pause(ctx, calm)
		select {
		case <-ctx.Done():
		case <-l.doubts:
		}
	}
	l.fall(errClosed)
}

// current returns a context that ends when the link goes down. It waits only while the first attempt is under way.
func (l *link) current(ctx context.Context) (context.Context, error) {
	for {
		up, err, changed := l.state()
		switch {
		case up != nil:
			return up, nil
		case err != nil:
			return nil, l.away(err)
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, l.away(ctx.Err())
		}
	}
}

func (l *link) away(err error) error {
	return sink.Unavailable(fmt.Errorf("no broker of %s answers: %w", l.brokers, err))
}

func (l *link) state() (context.Context, error, chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.up, l.err, l.changed
}

// rise reports whether it is news.
func (l *link) rise() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.up != nil {
		return false
	}
	l.log.Info().Str("brokers", l.brokers).Msg("connected to Kafka")
	l.up, l.drop = context.WithCancelCause(context.Background())
	l.since, l.err = time.Now(), nil
	l.tell()
	return true
}

// fall says it in the log when it is news.
func (l *link) fall(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err == nil && !errors.Is(err, errClosed) {
		l.log.Warn().Err(err).Str("brokers", l.brokers).Msg("no broker of Kafka answers; events wait, connecting goes on")
	}
	if l.up != nil {
		l.drop(l.away(err))
	}
	l.up, l.err, l.lastErr = nil, err, err
	l.tell()
}

// tell is called with mu held.
func (l *link) tell() {
	close(l.changed)
	l.changed = make(chan struct{})
}

// history tells since when brokers answer, zero if none does, and the last failure.
func (l *link) history() (since time.Time, last error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.up == nil {
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
