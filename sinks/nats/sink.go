// Package nats is the sink that publishes events to NATS, where subscribers of Evolution API look for them.
//
//	            subject
//	instance    <instance>.<event>                 sales.group-participants.update
//	global      [<NATS_PREFIX_KEY>.]<event>        messages.upsert
//
// Events have their wire names in lower case. Those outside the catalogue share <instance>.custom. Those that
// NATS_CUSTOM_SUBJECTS lists have <instance>.custom.<event>, a token in which dots are %2E. So the subjects that an
// instance can have are known before its first event, whatever it calls its events, on all nodes and after restarts:
// one for each event of the catalogue and of the list, and the shared one.
//
// The message is the envelope; its header Nats-Msg-Id is the delivery's key, the same in every attempt: a subscriber
// that has seen a key has seen the delivery, and JetStream drops doubles by it. (For what happens when a stream is
// full see Order.)
//
// # Names that would break subjects
//
// White space ends a subject on the wire; dots separate its tokens, * and > are wildcards, and what begins with $ is
// the server's own. In an instance's name each such character becomes % and two hexadecimal digits, as in a URL: the
// instance "Loja 1" is at Loja%201.messages.upsert. Percent-decoding gives the name back, which is also in the
// envelope. A line in the log says so once for each such instance. With NATS_KEEP_DOTS dots stay what they are for
// Evolution API, separators. No two instances have one subject: where Evolution API's would be another's or a global
// one (instance send and Evolution Go's Message, an instance called like the prefix), the first byte of the instance's
// name and its dots are escaped too.
//
// # Delivery
//
// In core mode Deliver returns nil when the server has handled the event: a ping sent behind it was answered. Those
// subscribed at that moment get it, later subscribers do not. In JetStream mode it returns nil when a stream has stored
// it. Deliveries wait for their answers side by side.
//
// The streams are the operator's, or the one that NATS_JETSTREAM_STREAM names is made by the sink and gets the subjects
// of an instance with its first event, or those of NATS_JETSTREAM_SUBJECTS from the beginning.
//
//	what happened                                      outcome
//	no connection, or lost before the answer           unavailable, at once
//	no answer in time, no permission, no stream,       failed: tried again
//	a full stream
//	larger than the server or the stream takes         permanent
//
// # Order
//
// A batch is published at once. If a stream refuses one event of it (it is full, and discards new messages), it may
// have taken some behind it. They are published again behind the refused one: a consumer sees them twice, the second
// time in their order. JetStream would drop that repeat within its duplicate window; so where an acknowledgement says
// that an event is there already, before one that it was to come after, it is published under another id: the
// delivery's key, a slash and a number. The id in the envelope is the same.
//
// # Connection
//
// One goroutine, from Start to Close, owns the connection (see package link). The library's own reconnecting is off: it
// would confirm over a new connection what was lost with the old one.
package nats

import (
	"context"
	"strings"
	"time"

	natsgo "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"

	"github.com/evosink/evosink/core/event"
	"github.com/evosink/evosink/core/sink"
	"github.com/evosink/evosink/core/sink/link"
)

// Name is the sink's name.
const Name = "nats"

// maxUses is how many deliveries or batches may be under way at once.
const maxUses = 1024

// Spec describes the sink to the core.
var Spec = sink.Spec[Config]{
	Name: Name, Mode: sink.Queued,
	Defaults: Defaults,
	Enabled:  func(c *Config) bool { return c.Enabled },
	Rule:     (*Config).rule,
	Settings: sink.PlainSettings(),
	New:      func(c Config, h sink.Host) (sink.Sink, error) { return New(c, h) },
}

// A Sink publishes to one server or cluster.
type Sink struct {
	config Config
	codec  event.Codec
	log    zerolog.Logger
	link   *link.Link[*session]
	said   sink.Told // instances with names that are escaped

	subjects *subjects

	positions positions
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
	if err := c.checkFiles(); err != nil {
		return nil, err
	}
	servers, err := c.servers()
	if err != nil {
		return nil, err
	}
	var hosts []string
	for _, u := range servers {
		hosts = append(hosts, u.Host)
	}
	s := &Sink{config: c, codec: h.Envelope, log: h.Logger}
	s.codec.Keys, s.subjects = nil, newSubjects(&s.config)
	s.link = link.New(link.Options[*session]{
		Broker: "NATS at " + strings.Join(hosts, ", "), Dial: s.dial, Attend: s.attend,
		Limit: maxUses, Pause: c.ReconnectMax, Logger: h.Logger, Available: h.Available,
	})
	return s, nil
}

// checkFiles reports a file of the configuration that cannot be used. They are read again for each connection.
func (c *Config) checkFiles() error {
	options, err := c.options()
	if err != nil {
		return err
	}
	var o natsgo.Options
	for _, option := range options {
		if err := option(&o); err != nil {
			return err
		}
	}
	if o.RootCAsCB != nil {
		_, err = o.RootCAsCB()
	}
	return err
}

// Start begins to connect.
func (s *Sink) Start(ctx context.Context) error {
	s.link.Start(ctx)
	return nil
}

// Deliver publishes one event and waits until the server has it.
func (s *Sink) Deliver(ctx context.Context, d *sink.Delivery) error {
	return s.DeliverBatch(ctx, []*sink.Delivery{d})[0]
}

// DeliverBatch publishes the events one after the other and then waits until the server has them all.
func (s *Sink) DeliverBatch(ctx context.Context, deliveries []*sink.Delivery) []error {
	session, end, err := s.link.Borrow(ctx)
	if err != nil {
		return sink.FailAll(deliveries, err)
	}
	defer end()
	b := sink.Prepare(deliveries, func(d *sink.Delivery) (message, error) {
		m := message{s.message(d, session.conn.HeadersSupported()), lane{d.Target, d.Event.Instance, d.Event.InstanceID}}
		if err := session.fits(m.Msg); err != nil || session.stream == nil {
			return m, err
		}
		return m, session.ensure(ctx, s.subjects.pattern(d.Event, d.Scope))
	})
	return b.Answer(session.publish(ctx, b.Messages))
}

func (s *Sink) message(d *sink.Delivery, headers bool) *natsgo.Msg {
	e := d.Event
	m := &natsgo.Msg{Subject: s.subjects.of(e, d.Scope), Data: s.codec.Append(make([]byte, 0, len(e.Data)+512), e)}
	if headers {
		m.Header = natsgo.Header{jetstream.MsgIDHeader: {d.Key}}
	}
	if d.Scope == sink.Instance {
		s.tell(e.Instance)
	}
	return m
}

// tell says in the log, once, that an instance's name is not what subscribers have to ask for.
func (s *Sink) tell(instance string) {
	tokens := s.config.tokens(instance)
	if tokens == instance {
		return
	}
	if s.said.First(instance) {
		s.log.Warn().Str("instance", instance).Str("subjects", tokens+".>").
			Msg("the instance's name would break subjects and is escaped in them")
	}
}

// Check returns nil while the sink is connected.
func (s *Sink) Check(context.Context) error {
	_, err := s.link.Session()
	return err
}

// Connection tells operators since when the sink is connected, zero if it is not, and the last failure, nil if there
// was none.
func (s *Sink) Connection() (since time.Time, last error) { return s.link.History() }

// Close waits for deliveries under way until ctx ends, then disconnects.
func (s *Sink) Close(ctx context.Context) error { return s.link.Close(ctx) }
