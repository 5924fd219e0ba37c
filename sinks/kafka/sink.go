// Package kafka is the sink that produces events to Kafka, where consumers of Evolution API look for them (evolution.md, section 3.7).
//
//	            topic                          key
//	instance    <prefix>.<instance>.<event>    <instance>
//	global      <prefix>.global.<event>        <instance>-<event>
//
// Events have their wire names, in topics in lower case and with dots for underscores: evolution.sales.group-participants.update. Bytes of an
// instance's name that topics cannot hold are escaped as _xHH. The value is the envelope with "timestamp", epoch milliseconds, before the id; the headers are
// event, instance, origin (if the producer of the event names one), timestamp (the envelope's date_time), id (the event's), and key, which
// is the same in every attempt: a consumer that has seen a key has seen the delivery.
//
// With KAFKA_AUTO_CREATE_TOPICS topics are created with their first event, and those of the global switches as soon as a broker answers. Without, the
// brokers are asked to, as kafkajs does, which they do if their auto.create.topics.enable is on.
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
// A delivery that is given up while a broker has it may be there twice, with the same key; it is never behind its successors.
//
// # Connection
//
// The client makes its connections itself. One goroutine, from Start to Close, watches over them: when one is lost it asks whether any
// broker answers, and as long as none does it asks again, for ever, with pauses up to KAFKA_RECONNECT_MAX.
package kafka

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/rs/zerolog"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/evosink/evosink/core/event"
	"github.com/evosink/evosink/core/sink"
)

// Name is the sink's name.
const Name = "kafka"

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
	link   *link
	topics *topics
	told   sync.Map // instances whose names are escaped, which the log has said

	client *kgo.Client // nil before Start
	stop   func()      // ends the watching goroutine and waits for it; nil before Start

	running sync.WaitGroup // deliveries
	mu      sync.Mutex
	// mu guards the field below.
	closed bool
}

var (
	_ sink.Sink    = (*Sink)(nil)
	_ sink.Batcher = (*Sink)(nil)
	_ sink.Checker = (*Sink)(nil)
)

// New makes the sink. It connects once started.
func New(c Config, h sink.Host) (*Sink, error) {
	c.Enabled = true // whoever makes it wants it
	if err := c.Validate(); err != nil {
		return nil, err
	}
	codec := c.Envelope
	codec.Keys = keys
	s := &Sink{config: c, codec: codec, log: h.Logger, link: newLink(&c, h.Logger)}
	s.topics = &topics{config: &s.config, log: h.Logger, known: map[string]bool{}}
	_, err := s.config.options(s.link)
	return s, err
}

// Start begins to connect.
func (s *Sink) Start(ctx context.Context) error {
	opts, err := s.config.options(s.link)
	if err != nil {
		return err
	}
	if s.client, err = kgo.NewClient(opts...); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.link.run(ctx, s.ping, s.prepare)
	}()
	s.stop = func() {
		cancel()
		<-done
		s.client.Close()
	}
	return nil
}

// ping asks the brokers, one after the other, until one answers.
func (s *Sink) ping(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Duration(len(s.config.Brokers)+1)*2*s.config.ConnectTimeout)
	defer cancel()
	return s.client.Ping(ctx)
}

// prepare creates the global topics, for consumers that wait for them.
func (s *Sink) prepare(ctx context.Context) {
	rule := s.config.rule()
	if !rule.Global || !s.config.AutoCreateTopics {
		return
	}
	var names []string
	for _, name := range event.Settable() {
		name = event.Canonical(name)
		if !rule.Events.Has(name) {
			continue
		}
		if topic, err := s.config.topicOf(&event.Event{Name: name}, sink.Global); err == nil {
			names = append(names, topic)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, s.config.RequestTimeout)
	defer cancel()
	s.topics.ensure(ctx, s.client, names...)
}

// Deliver produces one event and waits for the brokers' acknowledgement.
func (s *Sink) Deliver(ctx context.Context, d *sink.Delivery) error {
	return s.DeliverBatch(ctx, []*sink.Delivery{d})[0]
}

// DeliverBatch produces the events, which the client puts into as few requests as there are brokers that lead their topics, and waits for all.
func (s *Sink) DeliverBatch(ctx context.Context, deliveries []*sink.Delivery) []error {
	errs := make([]error, len(deliveries))
	if !s.begin() {
		return fill(errs, sink.Unavailable(errClosed))
	}
	defer s.running.Done()
	up, err := s.link.current(ctx)
	if err != nil {
		return fill(errs, err)
	}
	ctx, stop := context.WithTimeout(ctx, s.config.RequestTimeout)
	defer stop()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(up, func() { cancel(context.Cause(up)) })()

	b := s.batch(deliveries, errs)
	if s.config.AutoCreateTopics {
		s.topics.ensure(ctx, s.client, b.topics()...)
	}
	for i, err := range s.produce(ctx, b.records) {
		errs[b.index[i]] = err
	}
	return errs
}

func (b batch) topics() []string {
	names := make([]string, len(b.records))
	for i, r := range b.records {
		names[i] = r.Topic
	}
	slices.Sort(names)
	return slices.Compact(names)
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

func (s *Sink) begin() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.running.Add(1)
	return true
}

func fill(errs []error, err error) []error {
	for i := range errs {
		errs[i] = err
	}
	return errs
}

// Check returns nil while a broker answers.
func (s *Sink) Check(context.Context) error {
	up, err, _ := s.link.state()
	switch {
	case up != nil:
		return nil
	case err != nil:
		return s.link.away(err)
	}
	return fmt.Errorf("connecting to %s", s.link.brokers)
}

// Connection tells operators since when brokers answer, zero if none does, and the last failure, nil if there was none.
func (s *Sink) Connection() (since time.Time, last error) { return s.link.history() }

// Close waits for deliveries under way until ctx ends, then disconnects.
func (s *Sink) Close(ctx context.Context) error {
	s.mu.Lock()
	again := s.closed
	s.closed = true
	s.mu.Unlock()
	if s.stop == nil || again {
		return nil
	}
	idle := make(chan struct{})
	go func() {
		defer close(idle)
		s.running.Wait()
	}()
	select {
	case <-idle:
	case <-ctx.Done():
	}
	s.stop() // ends what is under way
	<-idle
	return nil
}
