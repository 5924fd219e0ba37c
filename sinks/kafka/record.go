package kafka

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/evosink/evosink/core/event"
	"github.com/evosink/evosink/core/sink"
)

// keys are those of the envelope in Evolution API's order, with the id behind them.
var keys = []string{"event", "instance", "data", "server_url", "date_time", "sender", "apikey", "timestamp", "id"}

// maxTopic is how many bytes the name of a topic may have.
const maxTopic = 249

// topicOf returns the topic of an event as Evolution API forms it at emit time.
func (s *Sink) topicOf(e *event.Event, scope sink.Scope) (string, error) {
	part := s.naming.Part(e.Name)
	name := s.naming.Global(part)
	if scope == sink.Instance {
		name = s.naming.Name(e.Instance, part)
	}
	name = s.config.prefixed(name)
	if len(name) > maxTopic {
		return "", sink.Permanent(fmt.Errorf("the name of the topic for %s has %d bytes, Kafka allows %d",
			e.Name, len(name), maxTopic))
	}
	return name, nil
}

// naming forms the names of topics without the prefix.
func (c *Config) naming() *sink.Naming {
	return &sink.Naming{
		Separator: ".", Shared: "global", InUse: c.rule().Global, Spell: suffix, Escape: escape,
		Disguise: func(name string) string { return sink.EscapeFirst(name, "_-") },
		Token: func(name string, changed bool) string {
			if changed {
				return sink.EscapeFirst(name, "_-")
			}
			return sink.Escape(name, "_-")
		},
		Own: c.CustomTopics,
	}
}

func (c *Config) prefixed(name string) string {
	if c.TopicPrefix == "" {
		return name
	}
	return c.TopicPrefix + "." + name
}

func suffix(wire string) string { return strings.ToLower(strings.ReplaceAll(wire, "_", ".")) }

// escape makes what the names of topics can hold of a name.
func escape(name string) string { return sink.Escape(name, "._-") }

// record makes the record of a delivery.
func (s *Sink) record(d *sink.Delivery) (*kgo.Record, error) {
	e := d.Event
	topic, err := s.topicOf(e, d.Scope)
	if err != nil {
		return nil, err
	}
	key := e.Instance
	if d.Scope == sink.Global {
		key = e.Instance + "-" + e.Name
	} else {
		s.tell(e.Instance, topic)
	}
	ms := strconv.AppendInt(nil, e.Time.UnixMilli(), 10)
	r := &kgo.Record{
		Topic: topic, Key: []byte(key), Timestamp: e.Time, Headers: s.headers(d),
		Value: s.codec.Append(make([]byte, 0, len(e.Data)+512), e, event.Extra{Key: "timestamp", Value: json.RawMessage(ms)}),
	}
	if n := size(r); n > int(s.config.MaxMessageBytes) {
		return nil, sink.Permanent(fmt.Errorf("the event has %d bytes, max_message_bytes is %d (KAFKA_MAX_MESSAGE_BYTES; "+
			"the topic's max.message.bytes has to allow it)", n, s.config.MaxMessageBytes))
	}
	return r, nil
}

// tell says in the log, once, that an instance's name is not what consumers have to ask for.
func (s *Sink) tell(instance, topic string) {
	if escape(instance) == instance {
		return
	}
	if s.told.First(instance) {
		s.log.Warn().Str("instance", instance).Str("topic", topic).
			Msg("the instance's name has bytes that topics cannot hold and is escaped in them")
	}
}

func (s *Sink) headers(d *sink.Delivery) []kgo.RecordHeader {
	e := d.Event
	h := append(make([]kgo.RecordHeader, 0, 6),
		kgo.RecordHeader{Key: "event", Value: []byte(e.Name)}, kgo.RecordHeader{Key: "instance", Value: []byte(e.Instance)})
	if e.Origin != "" {
		h = append(h, kgo.RecordHeader{Key: "origin", Value: []byte(e.Origin)})
	}
	return append(h,
		kgo.RecordHeader{Key: "timestamp", Value: []byte(s.dateTime(e.Time))},
		kgo.RecordHeader{Key: "id", Value: []byte(e.ID)},
		kgo.RecordHeader{Key: "key", Value: []byte(d.Key)},
	)
}

// dateTime is the time as the envelope's date_time shows it.
func (s *Sink) dateTime(t time.Time) string {
	zone := time.UTC
	if s.codec.LocalTime != nil {
		zone = s.codec.LocalTime
	}
	return t.In(zone).Format("2006-01-02T15:04:05.000Z")
}

// size is what a record takes in a batch of its own, or a little more.
func size(r *kgo.Record) int {
	n := 128 + len(r.Key) + len(r.Value)
	for _, h := range r.Headers {
		n += 10 + len(h.Key) + len(h.Value)
	}
	return n
}
