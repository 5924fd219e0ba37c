package memory

import (
	"context"
	"fmt"
	"sync"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/evosink/evosink/core/bus"
	"github.com/evosink/evosink/core/bus/tail"
)

// A Bus is one node on an [Engine]'s log. It implements [bus.Bus].
type Bus struct {
	*tail.Node
	engine *Engine

	once    sync.Once
	closed  chan struct{}
	running sync.RWMutex // read-held by Publish
}

// Publisher implements [bus.Bus]. Closing a publisher does nothing.
func (b *Bus) Publisher() message.Publisher { return publisher{b} }

// Shards implements [bus.Bus].
func (b *Bus) Shards() int { return b.engine.config.Shards }

// Check implements [bus.Bus].
func (b *Bus) Check(context.Context) error {
	select {
	case <-b.closed:
		return bus.ErrClosed
	default:
		return nil
	}
}

// Close implements [bus.Bus]. A Publish that waits for room ends with [bus.ErrClosed]. The log stays.
func (b *Bus) Close(context.Context) error {
	b.once.Do(func() { close(b.closed) })
	b.running.Lock() // waits for every Publish, and none of them waits for a reader any more
	defer b.running.Unlock()
	b.Node.Close()
	return nil
}

type publisher struct{ bus *Bus }

// Publish implements [message.Publisher] as [bus.Bus] wants it.
func (p publisher) Publish(topic string, messages ...*message.Message) error {
	p.bus.running.RLock()
	defer p.bus.running.RUnlock()
	if err := p.bus.Check(context.Background()); err != nil {
		return err
	}
	shard, err := bus.ParseTopic(topic, p.bus.Shards())
	if err != nil || len(messages) == 0 {
		return err
	}
	ctx := messages[0].Context()
	if ctx.Err() != nil {
		return fmt.Errorf("%w: %w", bus.ErrOverloaded, ctx.Err())
	}
	return p.bus.engine.append(ctx, p.bus.closed, shard, messages)
}

// Close implements [message.Publisher].
func (publisher) Close() error { return nil }
