package kafka

import (
	"context"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/evosink/evosink/core/sink"
)

var errLate = errors.New("the brokers did not acknowledge the event in time")

// failure says what it means that a record was not acknowledged. The package comment has the table.
func (s *Sink) failure(ctx context.Context, topic string, err error) error {
	var protocol *kerr.Error
	switch {
	case errors.Is(err, kerr.UnknownTopicOrPartition), errors.Is(err, kerr.UnknownTopicID):
		s.topics.forget(topic)
		s.client.PurgeTopicsFromProducing(topic) // the client stays with the id of a topic that was made anew
		return fmt.Errorf("there is no topic %s: create it, or set auto_create_topics: %w", topic, err)
	case errors.Is(err, kerr.MessageTooLarge):
		return fmt.Errorf("topic %s takes less than max_message_bytes at once: lower that, or raise the topic's max.message.bytes: %w", topic, err)
	case errors.Is(err, kerr.TopicAuthorizationFailed), errors.Is(err, kerr.ClusterAuthorizationFailed):
		return fmt.Errorf("the user may not write to topic %s: %w", topic, err)
	case errors.Is(err, kerr.InvalidTopicException), errors.Is(err, kerr.InvalidRecord):
		return sink.Permanent(fmt.Errorf("produce to topic %s: %w", topic, err))
	case errors.As(err, &protocol):
		return fmt.Errorf("produce to topic %s: %w", topic, err)
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		s.watch.doubt()
		return sink.Unavailable(fmt.Errorf("%w: %w", errLate, err))
	case ctx.Err() != nil:
		return context.Cause(ctx) // the session's reason, if it has ended
	}
	s.watch.doubt()
	return sink.Unavailable(fmt.Errorf("produce to topic %s: %w", topic, err))
}
