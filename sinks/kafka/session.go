package kafka

import (
	"context"
	"errors"
	"net"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/evosink/evosink/core/event"
	"github.com/evosink/evosink/core/retry"
	"github.com/evosink/evosink/core/sink"
)

// calm is the shortest time between two looks at brokers that answer.
const calm = 100 * time.Millisecond

var errAway = errors.New("no broker answers any more")

// A session is a time during which some broker answers. The connections are the client's, which is the same in all sessions: so
// what one has left in flight cannot come in late in the next, see [Config.options].
type session struct {
	ctx context.Context // ends with the session, and with it what is under way
	end context.CancelCauseFunc
}

// Close ends the session.
func (s *session) Close() { s.end(sink.Unavailable(errAway)) }

// A watch gets a value when a connection has ended: does any broker answer?
type watch chan struct{}

// OnBrokerDisconnect is called by the client, see [kgo.HookBrokerDisconnect].
func (w watch) OnBrokerDisconnect(kgo.BrokerMetadata, net.Conn) { w.doubt() }

func (w watch) doubt() {
	select {
	case w <- struct{}{}:
	default:
	}
}

// dial begins a session if a broker answers.
func (s *Sink) dial(ctx context.Context) (*session, error) {
	if err := s.ping(ctx); err != nil {
		return nil, err
	}
	out := &session{}
	out.ctx, out.end = context.WithCancelCause(context.Background())
	return out, nil
}

// ping asks the brokers, one after the other, until one answers.
func (s *Sink) ping(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Duration(len(s.config.Brokers)+1)*2*s.config.ConnectTimeout)
	defer cancel()
	return s.client.Ping(ctx)
}

// attend asks again whenever a connection has ended, until none answers. The client says nothing of brokers that are away, and
// keeps what it is given until the caller gives up.
func (s *Sink) attend(ctx context.Context, _ *session) error {
	s.prepare(ctx)
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-s.watch:
		}
		if err := s.ping(ctx); err != nil {
			return err
		}
		if !retry.Sleep(ctx.Done(), calm) {
			return ctx.Err()
		}
	}
}

// prepare creates the global topics, for consumers that wait for them.
func (s *Sink) prepare(ctx context.Context) {
	rule := s.config.rule()
	if !rule.Global || !s.config.AutoCreateTopics {
		return
	}
	var names []string
	for _, name := range event.Settable() {
		name = event.Canonical(name)
		if !rule.Events.Has(name) {
			continue
		}
		if topic, err := s.topicOf(&event.Event{Name: name}, sink.Global); err == nil {
			names = append(names, topic)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, s.config.RequestTimeout)
	defer cancel()
	s.topics.ensure(ctx, s.client, names...)
}
