package sqs

import (
	"context"
	"sync"

	"github.com/rs/zerolog"

	"github.com/evosink/evosink/core/event"
	"github.com/evosink/evosink/core/sink"
)

// A settler creates queues before their first event, for consumers that wait for them: the global ones at the start, those of an
// instance when its settings ask for them (evolution.md 3.5). What it cannot create is tried again with the first event.
type settler struct {
	config    *Config
	addresses *addresses
	queues    *queues
	directory sink.Directory
	log       zerolog.Logger
	wake      chan struct{} // gets a value when there is something to do

	mu sync.Mutex
	// mu guards the field below.
	instances map[string]bool // whose settings were stored
}

func newSettler(c *Config, a *addresses, q *queues, h sink.Host) *settler {
	return &settler{config: c, addresses: a, queues: q, directory: h.Directory, log: h.Logger, wake: make(chan struct{}, 1), instances: map[string]bool{}}
}

// start starts the goroutine that creates queues. stop ends it and returns when it has ended.
func (s *settler) start(ctx context.Context) (stop func()) {
	if !s.config.CreateQueues {
		return func() {}
	}
	unwatch := func() {}
	if s.directory != nil {
		unwatch = s.directory.Watch(s.changed)
	}
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.run(ctx)
	}()
	return func() {
		unwatch()
		cancel()
		<-done
	}
}

// changed follows the directory.
func (s *settler) changed(c sink.Change) {
	if c.Kind != sink.NewSetting || s.config.GlobalEnabled {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.instances[c.Instance] = true
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

func (s *settler) run(ctx context.Context) {
	if rule := s.config.rule(); rule.Global {
		s.settle(ctx, "", sink.Global, rule.Events)
	}
	for {
		for _, instance := range s.take() {
			s.settleInstance(ctx, instance)
		}
		select {
		case <-ctx.Done():
			return
		case <-s.wake:
		}
	}
}

func (s *settler) take() (instances []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for instance := range s.instances {
		instances = append(instances, instance)
	}
	clear(s.instances)
	return instances
}

func (s *settler) settleInstance(ctx context.Context, instance string) {
	settings, _ := s.directory.Lookup(instance)
	if subscription, err := sink.ParseSubscription(settings); err == nil && subscription.Enabled {
		s.settle(ctx, instance, sink.Instance, event.NewFilter(subscription.Events...))
	}
}

// settle creates the queues of those events that settings can name.
func (s *settler) settle(ctx context.Context, instance string, scope sink.Scope, events event.Filter) {
	for _, name := range event.Settable() {
		name = event.Canonical(name)
		if !events.Has(name) {
			continue
		}
		q, err := s.addresses.queueOf(instance, name, scope)
		if err == nil {
			err = s.create(ctx, q)
		}
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			s.log.Warn().Err(err).Str("queue", q.name).Msg("a queue could not be created; it is tried again with its first event")
			return
		}
	}
}

func (s *settler) create(ctx context.Context, q queue) error {
	ctx, cancel := context.WithTimeout(ctx, s.config.Timeout)
	defer cancel()
	_, err := s.queues.url(ctx, q)
	return err
}
