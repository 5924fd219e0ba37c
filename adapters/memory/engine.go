// Package memory is the engine that keeps nothing: bus, log, store and delivery queue in this process's memory, for
// tests, for embedding where a lost process may lose events, and as the smallest example of an engine.
//
// An [Engine] is the log; each [Bus] is one node of it, so that a test has a cluster by opening several. The log is
// bounded. To stay within the bounds it drops the oldest events of instances that hold an equal part of it or more, so
// that none loses events to another as long as it holds less; but no event that a group has not acked or an open
// broadcast subscription has not been given: then Publish waits, until its context ends with [bus.ErrOverloaded]. So a
// slow reader delays nothing until the log is full of what it has not read, and never loses an event.
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

// An Engine is a log of events and a store of instances, with a queue of deliveries beside it, see [Engine.Queue]. It
// runs nothing, so it need not be closed. Any number of goroutines may use it at once.
type Engine struct {
	config Config
	log    *tail.Log
	queue  *Queue
	leases *bus.LocalLeases

	mu sync.Mutex
	// mu guards the fields below.
	newest int64 // position of the last entry
	ids    ids   // of the entries
	shares map[string]*share
	held   share            // all of them together
	cut    int64            // position of the newest entry that was dropped while older ones stayed
	cuts   map[string]int64 // the same by instance, of those above the tail's floor
	room   chan struct{}    // closed when a reader moves; nil while no publisher waits for that

	store
}

var (
	_ sink.Log        = (*Engine)(nil)
	_ instances.Store = (*Engine)(nil)
	_ bus.Bus         = (*Bus)(nil)
	_ bus.Eraser      = (*Bus)(nil)
)

// New returns an empty engine.
func New(c Config) (*Engine, error) {
	if err := c.Validate(); err != nil {
		return nil, fmt.Errorf("memory engine: %w", err)
	}
	e := &Engine{
		config: c, log: &tail.Log{Tail: tail.New(c.Shards, 0), Readers: tail.NewReaders()},
		shares: map[string]*share{}, cuts: map[string]int64{},
	}
	e.store = newStore(e.log)
	e.log.Moved = e.moved
	e.queue = newQueue(e)
	e.leases = bus.NewLocalLeases(c.lease(), c.now())
	return e, nil
}

// Bus opens a node on the log. The caller closes it.
func (e *Engine) Bus() *Bus {
	return &Bus{Node: tail.NewNode(e.log), engine: e, closed: make(chan struct{})}
}

// Leases returns what shares the shards among the engine's nodes.
func (e *Engine) Leases() *bus.LocalLeases { return e.leases }

// append adds the entries of one call behind the log as soon as there is room for all of them.
func (e *Engine) append(
	ctx context.Context, closed <-chan struct{}, shard int, entries []bus.Entry,
) ([]bus.Position, error) {
	if err := e.fits(entries); err != nil {
		return nil, err
	}
	for {
		positions, room := e.tryAppend(shard, entries)
		if room == nil {
			return positions, nil
		}
		select {
		case <-room:
		case <-closed:
			return nil, bus.ErrClosed
		case <-ctx.Done():
			return nil, fmt.Errorf("%w: the log is full of what readers have not acked: %w", bus.ErrOverloaded, ctx.Err())
		}
	}
}

func (e *Engine) fits(entries []bus.Entry) error {
	bytes := 0
	for _, entry := range entries {
		n := bus.Size(entry.Message)
		if n > e.config.MaxEventBytes {
			return fmt.Errorf("%w: it has %d bytes, max_event_bytes is %d", bus.ErrTooLarge, n, e.config.MaxEventBytes)
		}
		bytes += n
	}
	if len(entries) > e.config.MaxEvents || bytes > e.config.MaxBytes {
		return fmt.Errorf("%w: %d events at once are more than the log holds", bus.ErrTooLarge, len(entries))
	}
	return nil
}

// tryAppend returns the entries' positions when it has added those that are new, else what is closed when there may be
// room.
func (e *Engine) tryAppend(shard int, entries []bus.Entry) (positions []bus.Position, room <-chan struct{}) {
	e.mu.Lock()
	defer e.mu.Unlock()
	positions, added, bytes := e.place(shard, entries)
	if !e.trim(e.config.MaxEvents-len(added), e.config.MaxBytes-bytes) {
		if e.room == nil {
			e.room = make(chan struct{})
		}
		return nil, e.room
	}
	for _, a := range added {
		e.newest = a.Position
		e.ids.add(a.Message, a.Position)
		e.grow(a, 1)
	}
	e.log.Append(added...)
	e.ids.forget(e.log.Floor())
	return positions, nil
}

// place returns where entries are or will be in the log, and those that the log does not hold yet, with their size. An
// entry marked Once is held if the log, or an earlier one of the same call that is marked, has its id.
func (e *Engine) place(shard int, entries []bus.Entry) (positions []bus.Position, added []tail.Entry, bytes int) {
	if slices.ContainsFunc(entries, func(entry bus.Entry) bool { return entry.Once }) {
		e.index()
	}
	positions, added = make([]bus.Position, len(entries)), make([]tail.Entry, 0, len(entries))
	next := e.newest + 1
	here := map[key]int64{} // of those marked
	for i, entry := range entries {
		if entry.Once {
			k := keyOf(entry.Message)
			if at := max(e.ids.last[k], here[k]); at > e.bornAt(k.instance) {
				positions[i] = bus.Position(at)
				continue
			}
			here[k] = next
		}
		positions[i] = bus.Position(next)
		added = append(added, tail.Entry{Position: next, Shard: shard, Message: entry.Message.Copy()})
		bytes += bus.Size(entry.Message)
		next++
	}
	return positions, added, bytes
}

// index begins to keep the ids of entries, with those that the log holds.
func (e *Engine) index() {
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
}

// ids are the entries of the log by id and instance. They are kept from the first entry on that is marked Once.
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

// remove drops entries from among others.
func (i *ids) remove(dropped map[int64]bool) {
	i.order = slices.DeleteFunc(i.order, func(of id) bool {
		if dropped[of.position] && i.last[of.key] == of.position {
			delete(i.last, of.key)
		}
		return dropped[of.position]
	})
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
