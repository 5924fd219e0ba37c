// Package rabbitmq is the sink that publishes events to RabbitMQ, where consumers of Evolution API look for them.
//
//	            exchange (topic, durable)   queue (durable, quorum)             routing and binding key
//	instance    its name                    <instance>.<event>                  <event>
//	global      RABBITMQ_EXCHANGE_NAME      [<RABBITMQ_PREFIX_KEY>.]<event>     <event>
//
// Events outside the catalogue share the queue <instance>.custom, with the key "custom". Those that
// RABBITMQ_CUSTOM_QUEUES lists have queues <instance>.custom.<event>, in which dots are %2E, and keys custom.<event>.
// So the queues that an instance can have are known before its first event, whatever it calls its events, on all nodes
// and after restarts: one for each event of the catalogue and of the list, and the shared one.
//
// No two instances have one queue: where Evolution API's name would be another's or a global one (instance shop.send
// and Evolution Go's Message, an instance called like the prefix), it begins with a slash and the dots of the
// instance's name are slashes; and so does the exchange of an instance that is called like the global exchange, while
// that is in use.
//
// Events have their wire names, in queues in lower case and with dots for underscores:
// sales.group-participants.update. The body is the envelope; the properties are content type, persistence, message id
// (the event's), timestamp, type (the event's name) and the headers event, instance and key, which is the same in every
// attempt: a consumer that has seen a key has seen the delivery.
//
// Exchange, queue and binding are created with the first event and remembered for as long as the connection lasts;
// those of the global exchange as soon as there is a connection. A queue that exists with other properties is used as
// it is, which a line in the log says. One that is deleted is noticed with the next event, which is returned by the
// broker and tried again. With declare off nothing is created.
//
// With RABBITMQ_DELETE_WITH_INSTANCE each exchange and queue that did not exist before is marked with the id of the
// instance that it was made for, by an exchange evosink/<id>/<digest of the name>, which nothing is published to. When
// the instance is deleted, what has its mark is deleted, and the mark: never what others have made, or what an earlier
// instance of that name has left. What was made while this was off, or by a former version of evosink, has no mark and
// stays, and so do queues of events that the list does not name any more. What an earlier instance of a name has left
// goes before anything is made for a later one, so that one inherits no events.
//
// # Delivery
//
// Deliver returns nil when the broker has confirmed the event: for a quorum queue, when a majority has it on disk. Each
// delivery or batch has a channel for itself while it waits, so confirms overlap and the broker's closing of a channel
// hits one alone.
//
//	what happened                                   outcome
//	no connection, or lost before the confirm       unavailable, at once
//	the broker has blocked publishers (memory)      unavailable
//	no confirm in time, nack, no queue, no right    failed: tried again
//	a name RabbitMQ cannot carry, too large         permanent
//
// # Order
//
// A batch is published at once. If the broker refuses one event of it (a classic queue with x-max-length and x-overflow
// reject-publish nacks while it is full), it may have taken some behind it. They are published again behind the refused
// one: a consumer sees them twice, the second time in their order, and knows them by the header key.
//
// # Connection
//
// One goroutine, from Start to Close, owns the connection: it dials, declares the global queues, follows the broker's
// notices, deletes what belonged to deleted instances if told to, and dials again, for ever, with pauses up to
// RABBITMQ_RECONNECT_MAX.
package rabbitmq

import (
	"context"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/rs/zerolog"

	"github.com/evosink/evosink/core/event"
	"github.com/evosink/evosink/core/sink"
	"github.com/evosink/evosink/core/sink/link"
)

// Name is the sink's name.
const Name = "rabbitmq"

// Spec describes the sink to the core.
var Spec = sink.Spec[Config]{
	Name: Name, Mode: sink.Queued,
	Defaults: Defaults,
	Enabled:  func(c *Config) bool { return c.Enabled },
	Rule:     (*Config).rule,
	Settings: sink.PlainSettings(),
	New:      func(c Config, h sink.Host) (sink.Sink, error) { return New(c, h) },
}

// A Sink publishes to one broker.
type Sink struct {
	config    Config
	addresses *addresses
	codec     event.Codec
	log       zerolog.Logger
	directory sink.Directory
	link      *link.Link[*session]
	leftovers *leftovers
	unwatch   func()
	available func() // see sink.Host
}

var (
	_ sink.Sink    = (*Sink)(nil)
	_ sink.Batcher = (*Sink)(nil)
	_ sink.Checker = (*Sink)(nil)
)

// New makes the sink. It connects once started.
func New(c Config, h sink.Host) (*Sink, error) {
	c.Enabled = true // New is called only for a sink that is wanted
	if err := c.Validate(); err != nil {
		return nil, err
	}
	d, err := newDialer(c, h.Logger)
	if err != nil {
		return nil, err
	}
	s := &Sink{
		config: c, codec: h.Envelope, log: h.Logger, directory: h.Directory,
		leftovers: newLeftovers(), unwatch: func() {}, available: h.Available,
	}
	s.codec.Keys, s.addresses = nil, newAddresses(&s.config)
	s.link = link.New(link.Options[*session]{
		Broker: d.broker, Dial: d.dial, Attend: s.attend, Limit: c.Channels, Pause: c.ReconnectMax, Logger: h.Logger,
		Available: h.Available,
	})
	return s, nil
}

// Start begins to connect.
func (s *Sink) Start(ctx context.Context) error {
	if s.config.DeleteWithInstance {
		s.unwatch = s.directory.Watch(s.leftovers.changed)
	}
	s.link.Start(ctx)
	return nil
}

// attend does what a session needs besides publishing, until the session or ctx ends.
func (s *Sink) attend(ctx context.Context, session *session) error {
	s.prepare(ctx, session)
	for {
		_ = s.clean(ctx, session, "") // what could not be done is tried with the next session
		select {
		case <-ctx.Done():
			return ctx.Err()
		case reason := <-session.closed:
			if reason == nil {
				reason = amqp.ErrClosed
			}
			return reason
		case b, ok := <-session.blocks:
			if !ok {
				session.blocks = nil // the end of the session is in closed
				continue
			}
			s.follow(session, b)
		case <-s.leftovers.wake:
		}
	}
}

// follow heeds the broker's notice that it is blocked, by an alarm of its memory or disk, or is not any more.
func (s *Sink) follow(session *session, b amqp.Blocking) {
	session.note(b)
	if b.Active {
		s.log.Warn().Str("reason", b.Reason).Msg("RabbitMQ has blocked publishers; events wait")
		return
	}
	s.log.Info().Msg("RabbitMQ has unblocked publishers; events go on")
	if s.available != nil {
		s.available()
	}
}

// prepare creates the global queues, for consumers that wait for them.
func (s *Sink) prepare(ctx context.Context, session *session) {
	rule := s.config.rule()
	if !rule.Global || !s.config.Declare {
		return
	}
	for _, name := range event.Settable() {
		name = event.Canonical(name)
		if !rule.Events.Has(name) {
			continue
		}
		a, err := s.addresses.of(&event.Event{Name: name}, sink.Global)
		if err != nil {
			continue // its first event tells
		}
		if err := session.ensure(ctx, a, ""); err != nil {
			s.log.Warn().Err(err).Str("event", name).Msg("a global queue could not be prepared")
			return
		}
	}
}

// Deliver publishes one event and waits for the broker's confirm.
func (s *Sink) Deliver(ctx context.Context, d *sink.Delivery) error {
	return s.DeliverBatch(ctx, []*sink.Delivery{d})[0]
}

// DeliverBatch publishes the events one after the other and then waits for all confirms.
func (s *Sink) DeliverBatch(ctx context.Context, deliveries []*sink.Delivery) []error {
	session, end, err := s.link.Borrow(ctx)
	if err != nil {
		return sink.FailAll(deliveries, err)
	}
	defer end()
	if err := session.takes(); err != nil {
		return sink.FailAll(deliveries, err)
	}
	b := sink.Prepare(deliveries, func(d *sink.Delivery) (message, error) {
		m, err := s.message(d)
		if err == nil && s.config.DeleteWithInstance && d.Scope == sink.Instance {
			err = s.clean(ctx, session, d.Event.Instance)
		}
		if err == nil && s.config.Declare {
			err = session.ensure(ctx, m.address, m.owner)
		}
		return m, err
	})
	return b.Answer(session.publish(ctx, b.Messages))
}

// Check returns nil while the sink is connected and the broker takes messages.
func (s *Sink) Check(context.Context) error {
	session, err := s.link.Session()
	if err != nil {
		return err
	}
	return session.takes()
}

// Connection tells operators since when the sink is connected, zero if it is not, and the last failure, nil if there
// was none.
func (s *Sink) Connection() (since time.Time, last error) { return s.link.History() }

// Close waits for deliveries under way until ctx ends, then disconnects.
func (s *Sink) Close(ctx context.Context) error {
	s.unwatch()
	s.unwatch = func() {}
	return s.link.Close(ctx)
}
