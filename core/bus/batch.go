package bus

import (
	"context"
	"errors"
	"sync"

	"github.com/ThreeDotsLabs/watermill/message"
)

// A Batch is what a subscription of batches hands over at once: at least one message, and those that follow it in its
// shard, of whatever instances; for a broadcast, in all shards. It is answered as a whole, by its receiver alone.
type Batch struct {
	// Messages are in order. Those behind the first are shared with other readers, as the payloads of all are: they must
	// not be changed, acked or nacked.
	Messages []*message.Message
	// Cursors are where the group, or the broadcast subscription, stands behind each message; nil where the engine has no
	// Positions. They must not be changed.
	Cursors []Cursor

	kept bool
}

// Keep has the ack leave the group's cursor where it is, for a group whose cursor the queue's store moves when it has
// what became of the messages (CursorWithQueue). It is called before [Batch.Ack]. The subscription goes on behind the
// batch; the next one of the group begins at the cursor, wherever the store has put it by then, and until then the log
// keeps what is behind it. The ack of a later batch that is not kept moves the cursor behind that one, and so behind
// everything that was kept before. On a broadcast, and on engines without CursorWithQueue, it changes nothing.
func (b *Batch) Keep() { b.kept = true }

// Kept reports whether Keep was called. An engine asks after the ack.
func (b *Batch) Kept() bool { return b.kept }

// Context ends with the batch's subscription, and once the batch is answered.
func (b *Batch) Context() context.Context { return b.Messages[0].Context() }

// Ack says that all messages are handled, or taken over ([Batch.Keep]). Only the first answer counts.
func (b *Batch) Ack() { b.Messages[0].Ack() }

// Nack has the engine deliver the messages again after a pause, in a batch that begins with the same one and may have
// more of them.
func (b *Batch) Nack() { b.Messages[0].Nack() }

// A BatchSubscriber is a [message.Subscriber] of batches; the same holds for its two methods. A subscription has one
// batch under way at a time: the next one comes after the answer. [Bus] says when Subscribe waits and fails.
type BatchSubscriber interface {
	Subscribe(ctx context.Context, topic string) (<-chan *Batch, error)
	Close() error
}

// A Carrier takes batches through watermill's router, which carries single messages: it is the subscriber of a handler
// that [Carrier.Handler] makes. The router gets the first message of each batch, and its answer is the batch's.
type Carrier struct {
	from BatchSubscriber

	mu sync.Mutex
	// mu guards the field below.
	under map[*message.Message]*Batch // handed to the router and not handled yet, by the first message
}

// Carry returns a carrier of batches from a subscriber, which it closes when the router closes it.
func Carry(from BatchSubscriber) *Carrier {
	return &Carrier{from: from, under: map[*message.Message]*Batch{}}
}

// Subscribe implements [message.Subscriber]. If ctx ends before the subscription has begun, it is one that has ended:
// after an error the router would leave goroutines behind.
func (c *Carrier) Subscribe(ctx context.Context, topic string) (<-chan *message.Message, error) {
	out := make(chan *message.Message)
	in, err := c.from.Subscribe(ctx, topic)
	if err != nil && ctx.Err() != nil {
		close(out)
		return out, nil
	}
	if err != nil {
		return nil, err
	}
	go func() { // ends with the subscription
		defer close(out)
		for b := range in {
			c.Send(out, b)
		}
	}()
	return out, nil
}

// Send hands a batch to the router through a channel that it reads, unless the batch's subscription ends first.
func (c *Carrier) Send(out chan<- *message.Message, b *Batch) {
	first := b.Messages[0]
	c.put(first, b)
	select {
	case out <- first:
	case <-first.Context().Done():
		c.take(first)
	}
}

// Close implements [message.Subscriber].
func (c *Carrier) Close() error { return c.from.Close() }

var errNotCarried = errors.New("the router was given a message that came by another way")

// Handler returns the router's handler that gives f each batch once. An error has the batch delivered again.
func (c *Carrier) Handler(f func(*Batch) error) message.NoPublishHandlerFunc {
	return func(m *message.Message) error {
		b := c.take(m)
		if b == nil {
			return errNotCarried
		}
		return f(b)
	}
}

func (c *Carrier) put(m *message.Message, b *Batch) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.under[m] = b
}

func (c *Carrier) take(m *message.Message) *Batch {
	c.mu.Lock()
	defer c.mu.Unlock()
	b := c.under[m]
	delete(c.under, m)
	return b
}

// NewPublisher returns the way in to a bus for users of watermill. Closing it does nothing.
func NewPublisher(b Bus) message.Publisher { return publisher{b} }

type publisher struct{ bus Bus }

// Publish implements [message.Publisher].
func (p publisher) Publish(topic string, messages ...*message.Message) error {
	shard, err := ParseTopic(topic, p.bus.Shards())
	if err != nil || len(messages) == 0 {
		return err
	}
	entries := make([]Entry, len(messages))
	for i, m := range messages {
		entries[i].Message = m
	}
	_, err = p.bus.Append(messages[0].Context(), shard, entries...)
	return err
}

// Close implements [message.Publisher].
func (publisher) Close() error { return nil }
