package core

import (
	"context"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/evosink/evosink/core/bus"
)

// A shardSubscriber subscribes to a shard again and again: each subscription lasts while this node holds the shard.
type shardSubscriber struct {
	held    *heldShards
	shard   int
	from    bus.BatchSubscriber
	carrier *bus.Carrier // of what is sent to the router
}

// Subscribe implements [message.Subscriber]. If the shard is held, it returns when the engine knows the subscription.
func (s *shardSubscriber) Subscribe(ctx context.Context, topic string) (<-chan *message.Message, error) {
	out := make(chan *message.Message)
	sub, changed := s.held.subscribe(ctx, s.shard)
	if sub != nil {
		if err := sub.open(s.from, topic); err != nil {
			sub.end()
			if ctx.Err() != nil { // after an error the router would leave goroutines behind
				close(out)
				return out, nil
			}
			return nil, err
		}
	}
	go func() { // ends with ctx
		defer close(out)
		for {
			if sub != nil {
				sub.handOn(s.carrier, out)
				sub.end()
			} else {
				select {
				case <-changed:
				case <-ctx.Done():
				}
			}
			if ctx.Err() != nil {
				return
			}
			if sub, changed = s.held.subscribe(ctx, s.shard); sub != nil {
				bus.Retry(sub.ctx, func() bool { return sub.open(s.from, topic) == nil })
			}
		}
	}()
	return out, nil
}

// Close implements [message.Subscriber].
func (s *shardSubscriber) Close() error { return s.from.Close() }

// A subscription lasts while its shard is held.
type subscription struct {
	shard   *heldShard
	ctx     context.Context // ends with the subscriber's, or when the shard's work is cut off
	cancel  context.CancelFunc
	unwatch func() bool
	in      <-chan *bus.Batch // nil if ctx ended before the engine knew the subscription
}

// open returns when the engine knows the subscription.
func (s *subscription) open(from bus.BatchSubscriber, topic string) error {
	in, err := from.Subscribe(s.ctx, topic)
	if err == nil { // else an engine may return a channel that is never closed
		s.in = in
	}
	return err
}

// end lets a handover go on that waits for the subscription.
func (s *subscription) end() {
	s.unwatch()
	s.cancel()
	s.shard.subscriptions.End()
}

// handOn hands batches on until nothing more is to be taken, and the last is answered or cut off.
func (s *subscription) handOn(carrier *bus.Carrier, out chan<- *message.Message) {
	if s.in == nil {
		return
	}
	var last *bus.Batch // an engine hands over the next one after the answer
	for taking := true; taking; {
		select {
		case b, ok := <-s.in:
			if !ok {
				return
			}
			carrier.Send(out, b)
			last = b
		case <-s.shard.taking.Done():
			taking = false
		}
	}
	if last != nil {
		select {
		case <-last.Messages[0].Acked():
		case <-last.Messages[0].Nacked():
		case <-s.ctx.Done():
		}
	}
	s.cancel()
	for range s.in { // until the engine has ended the subscription
	}
}

// closed reports whether a channel is closed on which nothing is sent.
func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
