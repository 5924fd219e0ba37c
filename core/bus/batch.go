package bus

import (
	"context"
	"errors"
	"sync"

	"github.com/ThreeDotsLabs/watermill/message"
)

// A Batch is what a subscription hands over at once: messages that follow each other in a shard, or for a broadcast in
// all shards, at least one. It is answered as a whole, and the next one comes after the answer.
type Batch struct {
	// Messages are in order. Those behind the first are shared with other readers: they are not to be changed, acked or
	// nacked.
	Messages []*message.Message
	// Cursors are where the group, or the broadcast subscription, stands behind each message; nil where the engine has no
	// Positions.
	Cursors []Cursor

	kept bool
}

// Keep says before the ack that the group's cursor stays where it is: whoever handles the messages moves it, by the
// queue's store. The subscription goes on behind the batch; the next subscription of the group begins at the cursor. It
// is for engines with CursorWithQueue.
func (b *Batch) Keep() { b.kept = true }

// Kept reports whether Keep was called, for engines: after the ack.
func (b *Batch) Kept() bool { return b.kept }

// Context ends with the batch's subscription.
func (b *Batch) Context() context.Context { return b.Messages[0].Context() }

// Ack says that all messages are handled. Only the first answer counts.
func (b *Batch) Ack() { b.Messages[0].Ack() }

// Nack has the batch delivered again after a pause, perhaps with more messages.
func (b *Batch) Nack() { b.Messages[0].Nack() }

// A BatchSubscriber is a [message.Subscriber] of batches; the same holds for its two methods. [Bus] says when Subscribe
// waits and fails.
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
			first := b.Messages[0]
			c.put(first, b)
			select {
			case out <- first:
			case <-first.Context().Done():
				c.take(first)
			}
		}
	}()
	return out, nil
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
