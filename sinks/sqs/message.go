package sqs

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/evosink/evosink/core/event"
	"github.com/evosink/evosink/core/sink"
)

// keys are those of the envelope in Evolution API's order (evolution.md 2.2), with the id behind them.
var keys = []string{"event", "instance", "dataType", "data", "server", "server_url", "date_time", "sender", "apikey", "id"}

// A message is an event on its way to a queue.
type message struct {
	queue queue
	entry types.SendMessageBatchRequestEntry
	size  int // as SQS counts: body and attributes
}

// group is what must stay in order; "" if nothing must.
func (m *message) group() string { return aws.ToString(m.entry.MessageGroupId) }

// message makes the message of a delivery. If it would be too large, it puts the event into the bucket first.
func (s *Sink) message(ctx context.Context, d *sink.Delivery) (*message, error) {
	e := d.Event
	q, err := s.addresses.queueOf(e.Instance, e.Name, d.Scope)
	if err != nil {
		return nil, err
	}
	if d.Scope == sink.Instance {
		s.tell(e.Instance, q.name)
	}
	m := &message{queue: q}
	m.entry.MessageAttributes = attributes(d)
	if q.fifo {
		m.entry.MessageGroupId, m.entry.MessageDeduplicationId = aws.String(s.addresses.groupOf(e, d.Scope)), aws.String(id(d.Key))
	}
	m.setBody(s.envelope(e, "json"))
	if m.size <= s.config.MaxPayloadSize {
		return m, nil
	}
	body, err := s.offload(ctx, d, m)
	if err != nil {
		return nil, err
	}
	m.setBody(body)
	return m, nil
}

func (m *message) setBody(body []byte) {
	text := legal(string(body))
	m.entry.MessageBody, m.size = &text, len(text)
	for name, a := range m.entry.MessageAttributes {
		m.size += len(name) + len(aws.ToString(a.DataType)) + len(aws.ToString(a.StringValue))
	}
}

func (s *Sink) envelope(e *event.Event, dataType string) []byte {
	return s.codec.Append(make([]byte, 0, len(e.Data)+512), e,
		event.Extra{Key: "dataType", Value: quote(dataType)}, event.Extra{Key: "server", Value: quote(s.config.ServerName)})
}

func quote(text string) json.RawMessage { return event.AppendString(nil, text) }

// noncharacters are what SQS refuses in a text that JSON and the hub let pass; it refuses the whole request.
var noncharacters = strings.NewReplacer("\ufffe", `\ufffe`, "\uffff", `\uffff`)

// legal escapes, as in JSON, what SQS does not take. In a body that changes nothing for its readers.
func legal(text string) string {
	if !strings.Contains(text, "\xef\xbf") { // which both begin with
		return text
	}
	return noncharacters.Replace(text)
}

func attributes(d *sink.Delivery) map[string]types.MessageAttributeValue {
	out := map[string]types.MessageAttributeValue{}
	for name, value := range map[string]string{"event": d.Event.Name, "instance": d.Event.Instance, "id": d.Event.ID, "key": d.Key, "attempt": strconv.Itoa(d.Attempt)} {
		if value != "" {
			out[name] = types.MessageAttributeValue{DataType: aws.String("String"), StringValue: aws.String(legal(value))}
		}
	}
	return out
}

// tell says in the log, once, that an instance's name is not what consumers have to ask for.
func (s *Sink) tell(instance, queue string) {
	if escape(instance) == instance {
		return
	}
	if s.told.First(instance) {
		s.log.Warn().Str("instance", instance).Str("queue", queue).Msg("the instance's name has bytes that queues' names cannot hold and is escaped in them")
	}
}

// tooLarge is what becomes of an event that fits nowhere.
func (s *Sink) tooLarge(m *message) error {
	return sink.Permanent(fmt.Errorf("the event has %d bytes, max_payload_size is %d: set s3.enabled to put such events into a bucket (S3_ENABLED)", m.size, s.config.MaxPayloadSize))
}
