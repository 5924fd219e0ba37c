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
	running sync.RWMutex // read-held by Append
}

// Features implements [bus.Bus].
func (b *Bus) Features() bus.Features {
	return bus.Features{
		Reopens: true, Backlog: true, AtomicBatches: true, Once: true, Positions: true, Replay: true, CursorWithQueue: true,
		Nodes: true,
	}
}

// Publisher implements [bus.Bus].
func (b *Bus) Publisher() message.Publisher { return bus.NewPublisher(b) }

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

// Close implements [bus.Bus]. An Append that waits for room ends with [bus.ErrClosed]. The log stays.
func (b *Bus) Close(context.Context) error {
	b.once.Do(func() { close(b.closed) })
	b.running.Lock() // waits for every Append, and none of them waits for a reader any more
	defer b.running.Unlock()
	b.Node.Close()
	return nil
}

// Append implements [bus.Bus].
func (b *Bus) Append(ctx context.Context, shard int, entries ...bus.Entry) ([]bus.Position, error) {
	b.running.RLock()
	defer b.running.RUnlock()
	if err := b.Check(ctx); err != nil {
		return nil, err
	}
	if err := bus.CheckShard(shard, b.Shards()); err != nil {
		return nil, err
	}
	if ctx.Err() != nil {
		return nil, fmt.Errorf("%w: %w", bus.ErrOverloaded, ctx.Err())
	}
	return b.engine.append(ctx, b.closed, shard, entries)
}
