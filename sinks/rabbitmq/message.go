package rabbitmq

import (
	"context"
	"errors"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/evosink/evosink/core/sink"
)

// A batch is what of some deliveries can be published, and which of them each message is.
type batch struct {
	messages []message
	index    []int
}

// batch prepares deliveries. What cannot be published gets its error in errs, and so does what comes behind it in its lane.
func (s *Sink) batch(ctx context.Context, session *session, deliveries []*sink.Delivery, errs []error) (b batch) {
	type lane struct {
		target   sink.Target
		instance string
	}
	failed := map[lane]bool{}
	for i, d := range deliveries {
		l := lane{d.Target, d.Event.Instance}
		if failed[l] {
			errs[i] = errBehind
			continue
		}
		m, err := s.message(d)
		if err == nil && s.config.Declare {
			err = session.ensure(ctx, m.address)
		}
		if err != nil {
			errs[i], failed[l] = err, true
			continue
		}
		b.messages, b.index = append(b.messages, m), append(b.index, i)
	}
	return b
}

var (
	errBehind = errors.New("an earlier event of its lane failed")
	errGone   = errors.New("the instance and its queues are deleted")
)

func (s *Sink) message(d *sink.Delivery) (message, error) {
	e := d.Event
	a, err := s.config.addressOf(e, d.Scope)
	if err != nil {
		return message{}, err
	}
	if s.config.DeleteWithInstance && d.Scope == sink.Instance {
		if _, exists := s.directory.Lookup(e.Instance); !exists {
			return message{}, sink.Permanent(errGone) // publishing would create the queues again
		}
	}
	return message{address: a, mandatory: s.config.Declare || s.config.Mandatory, Publishing: amqp.Publishing{
		ContentType: "application/json", DeliveryMode: amqp.Persistent,
		MessageId: e.ID, Timestamp: e.Time, Type: e.Name, AppId: "evosink",
		Headers: amqp.Table{"event": e.Name, "instance": e.Instance, "key": d.Key},
		Body:    s.codec.Append(make([]byte, 0, len(e.Data)+512), e),
	}}, nil
}
