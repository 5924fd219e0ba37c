// Package kafka is the sink that produces events to Kafka, where consumers of Evolution API look for them.
//
//	            topic                          key
//	instance    <prefix>.<instance>.<event>    <instance>
//	global      <prefix>.global.<event>        <instance>-<event>
//
// Events outside the catalogue share <prefix>.<instance>.custom. Those that KAFKA_CUSTOM_TOPICS lists have
// <prefix>.<instance>.custom.<event>. So the topics that an instance can have are known before its first event,
// whatever it calls its events, on all nodes and after restarts: one for each event of the catalogue and of the list,
// and the shared one. A topic is never deleted.
//
// No two instances have one topic: where Evolution API's name would be another's (instance shop.send and Evolution Go's
// Message, instance global), the instance's dots and its first byte are escaped too.
//
// Events have their wire names, in topics in lower case and with dots for underscores:
// evolution.sales.group-participants.update. Bytes of an instance's name that topics cannot hold are escaped as _xHH.
// The value is the envelope with "timestamp", epoch milliseconds, before the id; the headers are event, instance,
// origin (if the producer of the event names one), timestamp (the envelope's date_time), id (the event's), and key,
// which is the same in every attempt: a consumer that has seen a key has seen the delivery.
//
// With KAFKA_AUTO_CREATE_TOPICS topics are created with their first event, and those of the global switches as soon as
// a broker answers. Without, the brokers are asked to, as kafkajs does, which they do if their
// auto.create.topics.enable is on.
//
// # Delivery
//
// The producer is idempotent and waits for all in-sync replicas. Deliver returns nil when they have the event.
//
//	what happened                                   outcome
//	no broker answers, or stopped to meanwhile      unavailable, at once
//	not acknowledged in time, too few replicas      unavailable
//	no such topic, no right, batch refused          failed: tried again
//	larger than max_message_bytes, name too long    permanent
//
// A delivery that is given up while a broker has it may be there twice, with the same key; it is never behind its
// successors. If brokers refuse one event of a batch and take some behind it, those are produced again behind it: a
// consumer sees them twice, the second time in their order.
//
// # Connection
//
// The client makes its connections itself, one to each broker that it needs. One goroutine, from Start to Close,
// watches over them (see package link): when one is lost it asks whether any broker answers, and as long as none does
// it asks again, for ever, with pauses up to KAFKA_RECONNECT_MAX.
package kafka

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/rs/zerolog"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/evosink/evosink/core/event"
	"github.com/evosink/evosink/core/sink"
	"github.com/evosink/evosink/core/sink/link"
)

// Name is the sink's name.
const Name = "kafka"

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

// A Sink produces to one cluster.
type Sink struct {
	config Config
	codec  event.Codec
	log    zerolog.Logger
	link   *link.Link[*session]
	watch  watch
	topics *topics
	naming *sink.Naming
	told   sink.Told // instances with names that are escaped

	client *kgo.Client // nil before Start
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
	s := &Sink{config: c, codec: h.Envelope, log: h.Logger, watch: make(watch, 1)}
	s.naming = s.config.naming()
	s.codec.Keys = keys
	s.topics = &topics{config: &s.config, log: h.Logger, known: map[string]bool{}}
	s.link = link.New(link.Options[*session]{
		Broker: "Kafka at " + strings.Join(c.Brokers, ", "), Dial: s.dial, Attend: s.attend,
		Limit: maxUses, Pause: c.ReconnectMax, Logger: h.Logger, Available: h.Available,
	})
	_, err := s.config.options(s.watch)
	return s, err
}

// Start begins to connect.
func (s *Sink) Start(ctx context.Context) error {
	opts, err := s.config.options(s.watch)
	if err != nil {
		return err
	}
	if s.client, err = kgo.NewClient(opts...); err != nil {
		return err
	}
	s.link.Start(ctx)
	return nil
}

// Deliver produces one event and waits for the brokers' acknowledgement.
func (s *Sink) Deliver(ctx context.Context, d *sink.Delivery) error {
	return s.DeliverBatch(ctx, []*sink.Delivery{d})[0]
}

// DeliverBatch produces the events, which the client puts into as few requests as there are brokers that lead their
// topics, and waits for all.
func (s *Sink) DeliverBatch(ctx context.Context, deliveries []*sink.Delivery) []error {
	ctx, stop := context.WithTimeout(ctx, s.config.RequestTimeout)
	defer stop()
	session, end, err := s.link.Borrow(ctx)
	if err != nil {
		return sink.FailAll(deliveries, err)
	}
	defer end()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(session.ctx, func() { cancel(context.Cause(session.ctx)) })()

	b := sink.Prepare(deliveries, s.record)
	if s.config.AutoCreateTopics {
		s.topics.ensure(ctx, s.client, topicsOf(b.Messages)...)
	}
	return b.Answer(s.produce(ctx, b.Messages))
}

// produce returns what became of each record.
func (s *Sink) produce(ctx context.Context, records []*kgo.Record) []error {
	errs := make([]error, len(records))
	var wait sync.WaitGroup
	wait.Add(len(records))
	for i, r := range records {
		s.client.Produce(ctx, r, func(_ *kgo.Record, err error) {
			errs[i] = err
			wait.Done()
		})
	}
	wait.Wait() // the client ends what ctx ends
	for i, err := range errs {
		if err != nil {
			errs[i] = s.failure(ctx, records[i].Topic, err)
		}
	}
	return errs
}

func topicsOf(records []*kgo.Record) []string {
	names := make([]string, len(records))
	for i, r := range records {
		names[i] = r.Topic
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// Check returns nil while a broker answers.
func (s *Sink) Check(context.Context) error {
	_, err := s.link.Session()
	return err
}

// Connection tells operators since when brokers answer, zero if none does, and the last failure, nil if there was none.
func (s *Sink) Connection() (since time.Time, last error) { return s.link.History() }

// Close waits for deliveries under way until ctx ends, then disconnects.
func (s *Sink) Close(ctx context.Context) error {
	err := s.link.Close(ctx)
	if s.client != nil {
		s.client.Close()
	}
	return err
}
