package nats

import (
	"context"
	"errors"
	"fmt"

	natsgo "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/evosink/evosink/core/sink"
)

// fits reports whether the server takes messages as large as m: the library would refuse others, in the middle of a batch.
func (s *session) fits(m *natsgo.Msg) error {
	size, limit := int64(m.Size()-len(m.Subject)), s.conn.MaxPayload()
	if size <= limit {
		return nil
	}
	return sink.Permanent(fmt.Errorf("the event and its headers have %d bytes, the NATS server takes %d: raise its max_payload", size, limit))
}

// ensure makes sure of the stream before something is published to it.
func (s *session) ensure(ctx context.Context, pattern string) error {
	if s.stream.has(pattern) {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	err := s.stream.ensure(ctx, pattern)
	if err != nil && s.conn.IsClosed() {
		return lost(err)
	}
	return err
}

// publish sends messages in their order, waits until the server has them all, and returns what became of each.
func (s *session) publish(ctx context.Context, messages []message) []error {
	denied := make([]int, len(messages))
	for i, m := range messages {
		denied[i] = s.denials.of(m.Subject)
	}
	errs := make([]error, len(messages))
	if s.js == nil {
		s.toSubscribers(ctx, messages, errs)
	} else {
		s.toStream(ctx, messages, errs)
	}
	err := s.denials.catchUp(ctx, s.conn)
	for i, m := range messages {
		switch {
		case s.denials.of(m.Subject) != denied[i]:
			errs[i] = fmt.Errorf("the NATS user may not publish to %q: grant it the permission", m.Subject)
		case errs[i] == nil:
			errs[i] = err
		}
	}
	return errs
}

// toSubscribers publishes by core NATS and then sends a ping: when its answer is here, the server has handled what came before it.
func (s *session) toSubscribers(ctx context.Context, messages []message, errs []error) {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	for i, m := range messages {
		errs[i] = s.failure(s.conn.PublishMsg(m.Msg), m.Msg)
	}
	if err := s.conn.FlushWithContext(ctx); err != nil {
		for i, m := range messages {
			if errs[i] == nil {
				errs[i] = s.failure(err, m.Msg)
			}
		}
	}
}

// toStream publishes and then waits for the acknowledgement of each. The library ends that wait after the session's timeout.
func (s *session) toStream(ctx context.Context, messages []message, errs []error) {
	futures, acks := make([]jetstream.PubAckFuture, len(messages)), make([]*jetstream.PubAck, len(messages))
	for i, m := range messages {
		var err error // without the library's own retries: they would let later events overtake
		futures[i], err = s.js.PublishMsgAsync(m.Msg, jetstream.WithRetryAttempts(0))
		errs[i] = s.failure(err, m.Msg)
	}
	for i, m := range messages {
		if errs[i] != nil {
			continue
		}
		select {
		case acks[i] = <-futures[i].Ok():
		case err := <-futures[i].Err():
			errs[i] = s.failure(err, m.Msg)
		case <-s.closed:
			errs[i] = s.failure(natsgo.ErrConnectionClosed, m.Msg)
		case <-ctx.Done():
			errs[i] = s.failure(ctx.Err(), m.Msg)
		}
	}
	s.restore(ctx, messages, acks, errs)
}

// failure puts an error of the library into words and marks it.
func (s *session) failure(err error, m *natsgo.Msg) error {
	switch {
	case err == nil:
		return nil
	case s.conn.IsClosed(), errors.Is(err, natsgo.ErrConnectionClosed), errors.Is(err, natsgo.ErrDisconnected):
		return lost(err)
	case errors.Is(err, jetstream.ErrStreamMessageExceedsMaximum):
		return sink.Permanent(fmt.Errorf("the event has %d bytes, more than its stream takes: raise the stream's max_msg_size", len(m.Data)))
	case errors.Is(err, jetstream.ErrNoStreamResponse):
		s.stream.forget()
		return fmt.Errorf("no stream takes %q: create one, or add the subject to the one there is", m.Subject)
	}
	return fmt.Errorf("wait until the NATS server has %q: %w", m.Subject, err)
}
