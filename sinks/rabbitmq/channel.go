package rabbitmq

import (
	"context"
	"errors"
	"fmt"
	"strings"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/evosink/evosink/core/sink"
)

// maxBatch is how many messages may wait for their confirms on one channel.
const maxBatch = 256

var (
	errRefused    = errors.New("RabbitMQ refused the event (nack): a full queue with overflow reject-publish, or trouble of its own")
	errUnroutable = errors.New("no queue takes the event: its queue or binding was deleted; with declare on, it is created again before the next attempt")
)

// A channel publishes for one goroutine at a time. So a confirm, a returned message and the broker's closing of the
// channel, which it does when an exchange is missing, concern no other goroutine's events.
type channel struct {
	*amqp.Channel
	conn    *amqp.Connection
	closed  chan *amqp.Error
	returns chan amqp.Return // holds as many as may be under way: the library's reader would wait for room
	owed    bool             // answers are still to come
	reason  *amqp.Error      // why the broker closed the channel
}

func openChannel(conn *amqp.Connection) (*channel, error) {
	ch, err := conn.Channel()
	if err != nil {
		return nil, err
	}
	c := &channel{
		Channel: ch, conn: conn,
		closed: ch.NotifyClose(make(chan *amqp.Error, 1)), returns: ch.NotifyReturn(make(chan amqp.Return, maxBatch)),
	}
	return c, ch.Confirm(false)
}

// publish sends at most maxBatch messages and then waits for all their confirms.
func (c *channel) publish(ctx context.Context, messages []message) []error {
	errs := make([]error, len(messages))
	confirms := make([]*amqp.DeferredConfirmation, 0, len(messages))
	for i, m := range messages {
		confirm, err := c.PublishWithDeferredConfirm(m.exchange, m.key, m.mandatory, false, m.Publishing)
		if err != nil {
			fill(errs[i:], c.failure(err, m))
			break
		}
		confirms = append(confirms, confirm)
	}
	for i, confirm := range confirms {
		acked, err := confirm.WaitContext(ctx)
		switch {
		case err != nil:
			c.owed = true
			errs[i] = fmt.Errorf("wait for RabbitMQ's confirm: %w", err)
		case !acked:
			errs[i] = c.failure(errRefused, messages[i])
		}
	}
	c.markReturned(messages, errs)
	return errs
}

// markReturned turns the success of what the broker gave back into failure: it confirms that too, right after.
func (c *channel) markReturned(messages []message, errs []error) {
	for {
		select {
		case r, ok := <-c.returns:
			if !ok {
				return
			}
			for i, m := range messages {
				if errs[i] == nil && m.Headers["key"] == r.Headers["key"] && m.exchange == r.Exchange && m.key == r.RoutingKey {
					errs[i] = errUnroutable
				}
			}
		default:
			return
		}
	}
}

// failure tells why m was not confirmed, err being all that the library says.
func (c *channel) failure(err error, m message) error {
	select {
	case reason, ok := <-c.closed:
		if ok {
			c.reason = reason
		}
	default:
	}
	switch {
	case c.conn.IsClosed() && c.reason != nil:
		return lost(c.reason)
	case c.reason != nil:
		return refusal(c.reason, m)
	case errors.Is(err, errRefused) && !c.IsClosed():
		return err
	}
	return lost(err)
}

// refusal puts the broker's reason for closing the channel into words. One message of a batch is to blame, and the
// broker says which only where it tells a size.
func refusal(reason *amqp.Error, m message) error {
	if reason.Code == amqp.PreconditionFailed && strings.Contains(reason.Reason, fmt.Sprintf("message size %d ", len(m.Body))) {
		return sink.Permanent(fmt.Errorf("the event is too large for RabbitMQ (raise its max_message_size): %s", reason.Reason))
	}
	return fmt.Errorf("publish to exchange %q: %s", m.exchange, reason.Reason)
}
