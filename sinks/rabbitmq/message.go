package rabbitmq

import (
	"errors"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/evosink/evosink/core/sink"
)

var errGone = errors.New("the instance and its queues are deleted")

// A message is a publishing and where it goes.
type message struct {
	address
	owner     string // the id of the instance whose queue it is, "" if it is a global one
	mandatory bool
	amqp.Publishing
}

func (s *Sink) message(d *sink.Delivery) (message, error) {
	e := d.Event
	a, err := s.addresses.of(e, d.Scope)
	if err != nil {
		return message{}, err
	}
	if s.config.DeleteWithInstance && d.Scope == sink.Instance {
		if _, exists := s.directory.Lookup(e.Instance); !exists {
			return message{}, sink.Permanent(errGone) // publishing would create the queues again
		}
	}
	owner := ""
	if d.Scope == sink.Instance {
		owner = e.InstanceID
	}
	return message{address: a, owner: owner, mandatory: s.config.Declare || s.config.Mandatory, Publishing: amqp.Publishing{
		ContentType: "application/json", DeliveryMode: amqp.Persistent,
		MessageId: e.ID, Timestamp: e.Time, Type: e.Name, AppId: "evosink",
		Headers: amqp.Table{"event": e.Name, "instance": e.Instance, "key": d.Key},
		Body:    s.codec.Append(make([]byte, 0, len(e.Data)+512), e),
	}}, nil
}
