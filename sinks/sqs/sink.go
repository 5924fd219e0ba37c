// Package sqs is the sink that sends events to Amazon SQS, or to what speaks its protocol, where consumers of Evolution
// API look for them.
//
//	            queue                                   message group
//	instance    <instance>_<event>.fifo                 evolution
//	global      <SQS_GLOBAL_PREFIX_NAME>_<event>.fifo   <SERVER_NAME>-<event>-<instance>
//
// Events are in lower case with underscores: sales_group_participants_update.fifo. These are the names that Evolution
// API creates queues with; where it sends to others, nothing ever arrives. SQS_GLOBAL_FORCE_SINGLE_QUEUE puts
// "singlequeue" in the place of the event. Global queues exclude instances' own.
//
// Events outside the catalogue share <instance>_custom. Those that SQS_CUSTOM_QUEUES lists have
// <instance>_custom_<event>. So the queues that an instance can have are known before its first event, whatever it
// calls its events, on all nodes and after restarts: one for each event of the catalogue and of the list, and the
// shared one. A queue is never deleted.
//
// No two instances have one queue: where Evolution API's name would be another's (instance shop_send and Evolution Go's
// Message), all underscores of the instance's name and its first byte are escaped too.
//
// Bytes of an instance's name that queues' names cannot hold are escaped as _xHH. The deduplication id is the
// delivery's key, or its SHA-256 if SQS does not take that, so what is sent again within five minutes is there once.
// Standard queues (SQS_FIFO=false) have names without .fifo, no groups, and no order.
//
// The body is the envelope; the message attributes event, instance, id, key and attempt say the same to consumers that
// do not parse it. An event whose message would be larger than SQS_MAX_PAYLOAD_SIZE is put into a bucket and the
// message has "dataType":"s3" and "data":{"fileUrl":...}, an address that is good for seven days; the file is the
// envelope as it would have been. Without a bucket the event becomes a dead letter.
//
// Queues are created when an instance's settings ask for them, the global ones at the start, and any with its first
// event.
//
// # Delivery
//
// Deliver returns nil when SQS has taken the message. A batch becomes requests of up to ten messages, each with one
// message of a group at most: if SQS refuses one, nothing may have overtaken it. So in a FIFO queue the order of a
// group holds without repeats, and that the deduplication id drops what is sent again does no harm. Between queues, and
// in standard queues, there is no order.
//
//	what happened                                          outcome
//	no answer, 5xx, throttled, key unknown, expired        unavailable
//	no such queue, no right to it, any other refusal       failed: tried again
//	contents that SQS does not allow, too large            permanent
//	a name of more than 80 bytes                           permanent
package sqs

import (
	"context"
	"net/http"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	awssqs "github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/rs/zerolog"

	"github.com/evosink/evosink/core/event"
	"github.com/evosink/evosink/core/sink"
)

// Name is the sink's name.
const Name = "sqs"

// Spec describes the sink to the core.
var Spec = sink.Spec[Config]{
	Name: Name, Mode: sink.Queued,
	Defaults: Defaults,
	Enabled:  func(c *Config) bool { return c.Enabled },
	Rule:     (*Config).rule,
	Settings: sink.PlainSettings(),
	New:      func(c Config, h sink.Host) (sink.Sink, error) { return New(c, h) },
}

// A Sink sends to the queues of one account and region.
type Sink struct {
	config    Config
	codec     event.Codec
	log       zerolog.Logger
	transport *http.Transport
	client    *awssqs.Client
	s3        *s3.Client // nil when off
	queues    *queues
	settler   *settler
	addresses *addresses
	told      sink.Told // instances with names that are escaped
	uses      *sink.Uses
	stop      func() // ends the settler and waits for it; nil before Start
}

var _ sink.Sink = (*Sink)(nil)

// New makes the sink of a valid configuration. It starts nothing and makes no request.
func New(c Config, h sink.Host) (*Sink, error) {
	c.Enabled = true // New is called only for a sink that is wanted
	if err := c.Validate(); err != nil {
		return nil, err
	}
	s := &Sink{config: c, codec: h.Envelope, log: h.Logger, uses: sink.NewUses()}
	s.codec.Keys, s.addresses = keys, newAddresses(&s.config)
	from, err := s.config.loadAWS()
	if err != nil {
		return nil, err
	}
	s.transport = ownTransport(&from)
	s.client = s.config.newSQS(from)
	if c.S3.Enabled {
		s.s3 = s.config.newS3(from)
	}
	s.queues = &queues{client: s.client, config: &s.config, log: h.Logger, urls: map[string]string{}}
	s.settler = newSettler(&s.config, s.addresses, s.queues, h)
	return s, nil
}

// Start begins to create queues.
func (s *Sink) Start(ctx context.Context) error {
	s.stop = s.settler.start(ctx)
	return nil
}

// Deliver sends one event.
func (s *Sink) Deliver(ctx context.Context, d *sink.Delivery) error {
	return s.DeliverBatch(ctx, []*sink.Delivery{d})[0]
}

// DeliverBatch sends events in as few requests as their order allows.
func (s *Sink) DeliverBatch(ctx context.Context, deliveries []*sink.Delivery) []error {
	ctx, end, err := s.uses.Begin(ctx)
	if err != nil {
		return sink.FailAll(deliveries, err)
	}
	defer end()
	b := sink.Prepare(deliveries, func(d *sink.Delivery) (*message, error) { return s.message(ctx, d) })
	return b.Answer(s.send(ctx, b.Messages))
}

// Close waits for deliveries under way until ctx ends, then ends them.
func (s *Sink) Close(ctx context.Context) error {
	s.uses.Close(ctx)
	if s.stop != nil {
		s.stop()
		s.stop = nil
	}
	s.transport.CloseIdleConnections()
	return nil
}
