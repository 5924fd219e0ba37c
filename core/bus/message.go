package bus

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/evosink/evosink/core/event"
)

// Metadata keys of a message that carries an event. The payload is the event's data, as the producer gave it; the
// message's UUID is the event's id.
const (
	metaName      = "event"
	metaInstance  = "instance"
	metaRecord    = "instance_id"
	metaTime      = "time"
	metaSender    = "sender"
	metaServerURL = "server_url"
	metaOrigin    = "origin"
	metaAPIKey    = "apikey"
	metaSinks     = "sinks"
	metaExtras    = "extras"
	metaRevision  = "revision"
)

// ErrUndecodable says that a message carries no event: something else wrote to the engine.
var ErrUndecodable = errors.New("the message carries no event")

// Message returns the message that carries e. It shares e's data.
func Message(e *event.Event) *message.Message {
	m := message.NewMessage(e.ID, message.Payload(e.Data))
	m.Metadata[metaName] = e.Name
	m.Metadata[metaInstance] = e.Instance
	m.Metadata[metaTime] = e.Time.UTC().Format(time.RFC3339Nano)
	set(m, metaRecord, e.InstanceID)
	set(m, metaSender, e.Sender)
	set(m, metaServerURL, e.ServerURL)
	set(m, metaOrigin, e.Origin)
	set(m, metaAPIKey, e.APIKey)
	set(m, metaSinks, strings.Join(e.Sinks, "\n"))
	set(m, metaExtras, string(e.Extras))
	return m
}

func set(m *message.Message, key, value string) {
	if value != "" {
		m.Metadata[key] = value
	}
}

// SetRevision notes in a message the revision of the instances by which its event was accepted, for other nodes: see
// [Revision]. 0 notes nothing.
func SetRevision(m *message.Message, revision int64) {
	if revision > 0 {
		m.Metadata[metaRevision] = strconv.FormatInt(revision, 10)
	}
}

// Revision returns the revision of the instances by which the event of a message was accepted; 0 if it carries none. A
// node handles the event when it has caught up with that revision, so that what was set before the event holds for it.
func Revision(m *message.Message) int64 {
	s := m.Metadata[metaRevision]
	if s == "" {
		return 0
	}
	revision, err := strconv.ParseInt(s, 10, 64)
	if err != nil { // not written by SetRevision
		return 0
	}
	return revision
}

// RecordOf returns the id of the record of the instance whose event a message carries; "" if it has none.
func RecordOf(m *message.Message) string { return m.Metadata[metaRecord] }

// Event returns the event that a message carries. It shares the payload. Its error wraps [ErrUndecodable].
func Event(m *message.Message) (*event.Event, error) {
	at, err := time.Parse(time.RFC3339Nano, m.Metadata[metaTime])
	if err != nil {
		return nil, fmt.Errorf("%w: time: %w", ErrUndecodable, err)
	}
	e := &event.Event{
		ID: m.UUID, Name: m.Metadata[metaName], Instance: m.Metadata[metaInstance], InstanceID: m.Metadata[metaRecord], Time: at,
		Sender: m.Metadata[metaSender], ServerURL: m.Metadata[metaServerURL], Origin: m.Metadata[metaOrigin],
		APIKey: m.Metadata[metaAPIKey], Data: []byte(m.Payload),
	}
	if s := m.Metadata[metaSinks]; s != "" {
		e.Sinks = strings.Split(s, "\n")
	}
	if s := m.Metadata[metaExtras]; s != "" {
		e.Extras = []byte(s)
	}
	if e.ID == "" || e.Name == "" || e.Instance == "" {
		return nil, fmt.Errorf("%w: id, event or instance is missing", ErrUndecodable)
	}
	return e, nil
}
