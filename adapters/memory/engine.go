// Package memory is the engine that keeps nothing: bus, log, store and delivery queue in this process's memory, for tests, for embedding
// where a lost process may lose events, and as the smallest example of an engine.
//
// An [Engine] is the log; each [Bus] is one node of it, so that a test has a cluster by opening several. The log is bounded. It
// drops its oldest events to stay within the bounds, but none that a group has not acked or an open broadcast
// subscription has not been given: then Publish waits, until its context ends with [bus.ErrOverloaded]. So a reader that is slow
// holds up nobody until the whole log is full of what it has not read, and never loses anything.
package memory

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/evosink/evosink/core/bus"
	"github.com/evosink/evosink/core/bus/tail"
	"github.com/evosink/evosink/core/instances"
	"github.com/evosink/evosink/core/sink"
)

// An Engine is a log of events and a store of instances, with a queue of deliveries beside it, see [Engine.Queue]. It runs nothing, so it need not be closed.
// Any number of goroutines may use it at once.
type Engine struct {
	config Config
	log    *tail.Log
	queue  *Queue

	mu sync.Mutex
	// mu guards the fields below.
	newest int64         // position of the last entry
	ids    ids           // of the entries
	room   chan struct{} // closed when a reader moves; nil while no publisher waits for that

	store
}

var (
	_ sink.Log        = (*Engine)(nil)
	_ instances.Store = (*Engine)(nil)
	_ bus.Bus         = (*Bus)(nil)
)

// New returns an empty engine.
func New(c Config) (*Engine, error) {
	if err := c.Validate(); err != nil {
		return nil, fmt.Errorf("memory engine: %w", err)
	}
	e := &Engine{config: c, log: &tail.Log{Tail: tail.New(c.Shards, 0), Readers: tail.NewReaders()}}
	e.store = newStore(e.log)
	e.log.Moved = e.moved
	e.queue = newQueue(e)
	return e, nil
}

// Bus opens a node on the log. The caller closes it.
func (e *Engine) Bus() *Bus {
	return &Bus{Node: tail.NewNode(e.log), engine: e, closed: make(chan struct{})}
}

// append adds the messages of one Publish behind the log as soon as there is room for all of them.
func (e *Engine) append(ctx context.Context, closed <-chan struct{}, shard int, messages []*message.Message) error {
	if err := e.fits(messages); err != nil {
		return err
	}
	for {
		room := e.tryAppend(shard, messages)
		if room == nil {
			return nil
		}
		select {
		case <-room:
		case <-closed:
			return bus.ErrClosed
		case <-ctx.Done():
			return fmt.Errorf("%w: the log is full of what readers have not acked: %w", bus.ErrOverloaded, ctx.Err())
		}
	}
}

func (e *Engine) fits(messages []*message.Message) error {
	for _, m := range messages {
		if n := bus.Size(m); n > e.config.MaxEventBytes {
			return fmt.Errorf("%w: it has %d bytes, max_event_bytes is %d", bus.ErrTooLarge, n, e.config.MaxEventBytes)
		}
	}
	if len(messages) > e.config.MaxEvents || size(messages) > e.config.MaxBytes {
		return fmt.Errorf("%w: %d events at once are more than the log holds", bus.ErrTooLarge, len(messages))
	}
	return nil
}

func size(messages []*message.Message) (bytes int) {
	for _, m := range messages {
		bytes += bus.Size(m)
	}
	return bytes
}

// tryAppend returns nil when it has added the messages, else what is closed when there may be room.
func (e *Engine) tryAppend(shard int, messages []*message.Message) (room <-chan struct{}) {
	e.mu.Lock()
	defer e.mu.Unlock()
	messages = e.unknown(messages)
	if !e.log.Trim(e.config.MaxEvents-len(messages), e.config.MaxBytes-size(messages), e.log.Need) {
		if e.room == nil {
			e.room = make(chan struct{})
		}
		return e.room
	}
	entries := make([]tail.Entry, len(messages))
	for i, m := range messages {
		e.newest++
		entries[i] = tail.Entry{Position: e.newest, Shard: shard, Message: m.Copy()}
		e.ids.add(m, e.newest)
	}
	e.log.Append(entries...)
	e.ids.forget(e.log.Floor())
	return nil
}

// unknown returns the messages without those marked by [bus.Once] that the log holds, or that come twice.
func (e *Engine) unknown(messages []*message.Message) []*message.Message {
	if !slices.ContainsFunc(messages, func(m *message.Message) bool { return bus.IsOnce(m.Context()) }) {
		return messages
	}
	var out []*message.Message
	if e.ids.last == nil {
		e.ids.last = map[key]int64{}
		for position := int64(0); ; {
			entries, _, _ := e.log.After(tail.All, position)
			if len(entries) == 0 {
				break
			}
			for _, entry := range entries {
				position = entry.Position
				e.ids.add(entry.Message, position)
			}
		}
	}
	seen := map[key]bool{}
	for _, m := range messages {
		k := keyOf(m)
		if bus.IsOnce(m.Context()) && (seen[k] || e.ids.last[k] > e.bornAt(k.instance)) {
			continue
		}
		seen[k] = true
		out = append(out, m)
	}
	return out
}

// ids are the entries of the log by what they are known by. They are kept from the first time on that somebody asks.
type ids struct {
	last  map[key]int64 // position of the last one
	order []id          // oldest first
}

type key struct{ instance, id string }

type id struct {
	key
	position int64
}

func keyOf(m *message.Message) key { return key{bus.InstanceOf(m), m.UUID} }

func (i *ids) add(m *message.Message, position int64) {
	if i.last == nil {
		return
	}
	k := keyOf(m)
	i.last[k] = position
	i.order = append(i.order, id{k, position})
}

// forget drops the entries up to a position.
func (i *ids) forget(floor int64) {
	for len(i.order) > 0 && i.order[0].position <= floor {
		if oldest := i.order[0]; i.last[oldest.key] == oldest.position {
			delete(i.last, oldest.key)
		}
		i.order[0] = id{}
		i.order = i.order[1:]
	}
}

// moved tells waiting publishers that a reader needs less than before.
func (e *Engine) moved(*tail.Reader) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.room != nil {
		close(e.room)
		e.room = nil
	}
}
