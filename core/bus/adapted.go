package bus

import (
	"context"
	"fmt"
	"sync"

	"github.com/ThreeDotsLabs/watermill/message"
)

// An adaptedSubscriber is the handle that watermill's router gets and closes. All its subscriptions end with life.
type adaptedSubscriber struct {
	bus   *Adapted
	group string // "" broadcasts
	life  context.Context
	end   context.CancelFunc

	running sync.WaitGroup // subscriptions; grows under bus.mu while life lasts
}

func (a *Adapted) subscriberOf(group string) *adaptedSubscriber {
	s := &adaptedSubscriber{bus: a, group: group}
	s.life, s.end = context.WithCancel(a.life)
	return s
}

// Subscribe implements [message.Subscriber] as [Bus] wants it.
func (s *adaptedSubscriber) Subscribe(ctx context.Context, topic string) (<-chan *message.Message, error) {
	out, c := NewOutlet()
	return c, s.begin(ctx, topic, out)
}

type adaptedBatches struct{ *adaptedSubscriber }

// Subscribe implements [BatchSubscriber].
func (s adaptedBatches) Subscribe(ctx context.Context, topic string) (<-chan *Batch, error) {
	out, c := NewBatchOutlet()
	return c, s.begin(ctx, topic, out)
}

// Close implements [message.Subscriber].
func (s *adaptedSubscriber) Close() error {
	s.bus.mu.Lock()
	s.end()
	s.bus.mu.Unlock()
	s.running.Wait()
	return nil
}

// begin waits until the Pub/Sub knows the subscription, and runs it.
func (s *adaptedSubscriber) begin(ctx context.Context, topic string, out *Outlet) error {
	shards, err := s.shards(topic)
	if err != nil {
		return err
	}
	if s.life.Err() != nil {
		return ErrClosed
	}
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(s.life, cancel)
	src, err := s.source(ctx, shards)
	s.bus.mu.Lock()
	defer s.bus.mu.Unlock()
	if s.life.Err() != nil {
		err = ErrClosed
	}
	if err != nil {
		stop()
		cancel()
		return err
	}
	s.running.Add(1)
	s.bus.running.Go(func() {
		defer s.running.Done()
		defer out.Close()
		defer stop()
		defer cancel()
		src.feed(ctx, out)
	})
	return nil
}

func (s *adaptedSubscriber) shards(topic string) ([]int, error) {
	if s.group != "" {
		shard, err := ParseTopic(topic, s.bus.o.Shards)
		return []int{shard}, err
	}
	if topic != All {
		return nil, fmt.Errorf("%w %q: a broadcast subscribes to all shards at once, topic %s", ErrTopic, topic, All)
	}
	var all []int
	for shard := range s.bus.o.Shards {
		all = append(all, shard)
	}
	return all, nil
}

// source returns what a subscription reads: one of its own, or that of a group which this process makes.
func (s *adaptedSubscriber) source(ctx context.Context, shards []int) (*source, error) {
	a := s.bus
	switch {
	case s.group == "":
		return a.open(ctx, ctx, shards, func() (message.Subscriber, error) { return keptOpen{a.subscriber}, nil })
	case a.o.Group != nil:
		return a.open(ctx, ctx, shards, func() (message.Subscriber, error) { return a.o.Group(s.group) })
	}
	at := seat{s.group, shards[0]}
	a.mu.Lock()
	src := a.groups[at]
	a.mu.Unlock()
	if src != nil {
		return src, nil
	}
	src, err := a.open(ctx, a.life, shards, func() (message.Subscriber, error) { return keptOpen{a.subscriber}, nil })
	if err != nil {
		return nil, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if first := a.groups[at]; first != nil {
		src.end()
		return first, nil
	}
	src.shared = true
	a.groups[at] = src
	return src, nil
}

// keptOpen is a subscriber that others use too.
type keptOpen struct{ message.Subscriber }

func (keptOpen) Close() error { return nil }
