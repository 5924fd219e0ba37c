package pusher

import (
	"encoding/json"
	"fmt"

	"github.com/evosink/evosink/core/event"
	"github.com/evosink/evosink/core/sink"
)

// keys are those of the envelope in Evolution API's order (evolution.md 2.2), with the id behind them.
var keys = []string{"event", "instance", "data", "destination", "date_time", "sender", "server_url", "apikey", "id"}

// Limits of Pusher, in bytes.
const (
	maxChannel = 164
	maxName    = 200
)

// A message is an event on its way to a channel of an app.
type message struct {
	app     app
	channel string
	name    string
	data    string // the envelope
}

// message makes the message of a delivery.
func (s *Sink) message(d *sink.Delivery) (*message, error) {
	a, err := s.appOf(d)
	if err != nil {
		return nil, err
	}
	m := &message{app: a, channel: escape(d.Event.Instance), name: d.Event.Name}
	switch {
	case len(m.channel) > maxChannel:
		return nil, sink.Permanent(fmt.Errorf("the name of the channel has %d bytes, Pusher allows %d", len(m.channel), maxChannel))
	case len(m.name) > maxName:
		return nil, sink.Permanent(fmt.Errorf("the event's name has %d bytes, Pusher allows %d", len(m.name), maxName))
	}
	if m.channel != d.Event.Instance {
		s.tell(d.Event.Instance, m.channel)
	}
	body, err := s.fit(d, s.destination(d))
	m.data = string(body)
	return m, err
}

// destination is the id of the instance's app if it has one, else that of the global one, on both (evolution.md 2.2).
func (s *Sink) destination(d *sink.Delivery) string {
	var own struct{ AppID string }
	if json.Unmarshal(d.Settings, &own) == nil && own.AppID != "" {
		return own.AppID
	}
	return s.config.AppID
}

// escape makes what the names of channels can hold of a name.
func escape(name string) string { return sink.Escape(name, "_-=@,.;") }

// tell says in the log, once, that an instance's name is not what clients have to ask for.
func (s *Sink) tell(instance, channel string) {
	if s.told.First(instance) {
		s.log.Warn().Str("instance", instance).Str("channel", channel).Msg("the instance's name has bytes that channels' names cannot hold and is escaped in them")
	}
}

// appendTrigger appends the body of POST /apps/<id>/events.
func (m *message) appendTrigger(b []byte) []byte {
	b = append(event.AppendString(append(b, `{"name":`...), m.name), `,"channels":[`...)
	b = append(event.AppendString(b, m.channel), `],"data":`...)
	return append(event.AppendString(b, m.data), '}')
}

// appendBatch appends the body of POST /apps/<id>/batch_events.
func appendBatch(b []byte, messages []parcel) []byte {
	b = append(b, `{"batch":[`...)
	for i, m := range messages {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(event.AppendString(append(b, `{"channel":`...), m.channel), `,"name":`...)
		b = append(event.AppendString(b, m.name), `,"data":`...)
		b = append(event.AppendString(b, m.data), '}')
	}
	return append(b, "]}"...)
}
