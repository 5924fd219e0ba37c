package bus

import (
	"context"
	"errors"
	"fmt"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/evosink/evosink/core/retry"
)

// A source is what comes from one or more topics, for one reader at a time.
type source struct {
	bus    *Adapted
	life   context.Context
	end    context.CancelFunc
	in     chan *message.Message
	turn   chan struct{}    // holds a token while no subscription reads
	held   *message.Message // read and not acked; the reader's
	shared bool             // outlives its readers
}

// open makes a source that lasts until life ends, and returns when the Pub/Sub knows all its subscriptions, or ctx
// ends.
func (a *Adapted) open(ctx, life context.Context, shards []int, from func() (message.Subscriber, error)) (*source, error) {
	src := &source{bus: a, in: make(chan *message.Message, a.o.Buffer), turn: make(chan struct{}, 1)}
	src.turn <- struct{}{}
	src.life, src.end = context.WithCancel(life)
	known := make(chan struct{}, len(shards))
	for _, shard := range shards {
		if !a.start(func() { src.pump(a.o.Prefix+Topic(shard), from, known) }) {
			src.end()
			return nil, ErrClosed
		}
	}
	for range shards {
		select {
		case <-known:
		case <-a.life.Done():
			src.end()
			return nil, ErrClosed
		case <-ctx.Done():
			src.end()
			return nil, ctx.Err()
		}
	}
	return src, nil
}

// pump reads a topic until the source's life ends, subscribing again whenever a subscription has ended or could not be
// made.
func (src *source) pump(topic string, subscriber func() (message.Subscriber, error), known chan<- struct{}) {
	defer src.note(topic, nil)
	told := false
	for src.life.Err() == nil {
		var s message.Subscriber
		var messages <-chan *message.Message
		if !Retry(src.life, func() bool {
			var err error
			if s, err = subscriber(); err == nil {
				if messages, err = s.Subscribe(src.life, topic); err != nil {
					s.Close()
				}
			}
			src.note(topic, err)
			return err == nil
		}) {
			return
		}
		if !told {
			told = true
			known <- struct{}{}
		}
		for m := range messages {
			src.take(m)
		}
		s.Close()
		if src.life.Err() == nil {
			src.note(topic, errors.New("the subscription has ended"))
			retry.Sleep(src.life.Done(), pauses.First)
		}
	}
}

// take passes a message on. What cannot be any more is nacked, for a Pub/Sub that delivers it again.
func (src *source) take(m *message.Message) {
	ours := m
	if src.bus.o.Buffer > 0 {
		ours = m.Copy()
	}
	select {
	case src.in <- ours:
		if ours != m {
			m.Ack()
			return
		}
	case <-src.life.Done():
		m.Nack()
		return
	}
	select { // the next one after this one's answer, whatever the Pub/Sub does
	case <-m.Acked():
	case <-m.Nacked():
	case <-src.life.Done():
		m.Nack()
	}
}

// feed hands the source's messages over until ctx ends, when no other subscription does.
func (src *source) feed(ctx context.Context, out *Outlet) {
	if !src.shared {
		defer src.end()
	}
	select {
	case <-src.turn:
	case <-ctx.Done():
		return
	}
	defer func() { src.turn <- struct{}{} }()
	for {
		if src.held == nil {
			select {
			case src.held = <-src.in:
			case <-ctx.Done():
				return
			}
		}
		if acked, _ := out.Hand(ctx, Batch{Messages: []*message.Message{src.held}}); !acked {
			if !src.shared {
				src.held.Nack()
			}
			return
		}
		src.held.Ack()
		src.held = nil
	}
}

// note keeps why a subscription could not be made, for Check.
func (src *source) note(topic string, err error) {
	a := src.bus
	a.mu.Lock()
	defer a.mu.Unlock()
	if err == nil || src.life.Err() != nil {
		delete(a.faults, fault{src, topic})
	} else {
		a.faults[fault{src, topic}] = fmt.Errorf("subscribe to %s: %w", topic, err)
	}
}
