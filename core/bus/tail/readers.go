package tail

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/evosink/evosink/core/bus"
)

// Readers knows where every reader of a log stands: the cursors of groups, for as long as the log lives, and the
// broadcast subscriptions that are open. Any number of goroutines may use it at once.
type Readers struct {
	mu sync.Mutex
	// mu guards the fields below.
	groups     map[groupKey]*Reader
	broadcasts map[*Reader]struct{}
	passing    chan struct{} // closed when a reader passes an entry; nil while nothing waits for that

	waiting atomic.Int32 // calls of reached
}

type groupKey struct {
	group string
	shard int
}

// NewReaders returns the readers of a log with the cursors that it has stored.
func NewReaders(cursors ...bus.Cursor) *Readers {
	r := &Readers{groups: map[groupKey]*Reader{}, broadcasts: map[*Reader]struct{}{}}
	for _, c := range cursors {
		r.group(c.Group, c.Shard).move(int64(c.Position))
	}
	return r
}

// A Reader reads the log in order.
type Reader struct {
	Group string // "" for a broadcast subscription
	Shard int    // or All

	position atomic.Int64
	passed   atomic.Int64  // up to where all is acked; behind position while an ack of what Move was called for is not in
	users    atomic.Int32  // subscriptions that have the reader or wait for it; grows under Readers.mu
	turn     chan struct{} // holds a token while no subscription has the reader
}

// Position returns the position of the last entry acked.
func (r *Reader) Position() int64 { return r.position.Load() }

// Cursor returns where the reader stands.
func (r *Reader) Cursor() bus.Cursor {
	return bus.Cursor{Group: r.Group, Shard: r.Shard, Position: bus.Position(r.Position())}
}

// Open reports whether a subscription has the reader or waits for it.
func (r *Reader) Open() bool { return r.users.Load() > 0 }

// Needs reports whether e is still before the reader.
func (r *Reader) Needs(e Entry) bool {
	return (r.Shard == All || r.Shard == e.Shard) && r.Position() < e.Position
}

// move puts the reader at a position unless it is there, or further, already.
func (r *Reader) move(to int64) bool {
	for {
		at := r.position.Load()
		if at >= to {
			return false
		}
		if r.position.CompareAndSwap(at, to) {
			return true
		}
	}
}

// Move moves a group's cursor forward without an ack, for an engine that has stored it together with what the group
// made of the message. The ack of that message then moves nothing, and [Log.Moved] is not called for it.
func (r *Readers) Move(c bus.Cursor) { r.group(c.Group, c.Shard).move(int64(c.Position)) }

// pass notes that a subscription has everything up to a position acked.
func (r *Readers) pass(reader *Reader, to int64) {
	if reader.Group == "" {
		return
	}
	reader.passed.Store(to) // by the one subscription that has the reader
	if r.waiting.Load() == 0 {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.passing != nil {
		close(r.passing)
		r.passing = nil
	}
}

// reached waits until everything up to a group's cursor is acked, or ctx ends.
func (r *Readers) reached(ctx context.Context, c bus.Cursor) error {
	r.waiting.Add(1) // before the first look, so that no pass behind it is missed
	defer r.waiting.Add(-1)
	for {
		passing := r.unlessPassed(c)
		if passing == nil {
			return nil
		}
		select {
		case <-passing:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// unlessPassed returns nil if a group has passed a cursor, else what is closed when a reader passes something.
func (r *Readers) unlessPassed(c bus.Cursor) <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	if reader, ok := r.groups[groupKey{c.Group, c.Shard}]; ok && reader.passed.Load() >= int64(c.Position) {
		return nil
	}
	if r.passing == nil {
		r.passing = make(chan struct{})
	}
	return r.passing
}

// Need reports whether any reader still has e before it.
func (r *Readers) Need(e Entry) bool {
	for reader := range r.each {
		if reader.Needs(e) {
			return true
		}
	}
	return false
}

// Groups returns the readers of all groups, in any order.
func (r *Readers) Groups() []*Reader {
	var out []*Reader
	for reader := range r.each {
		if reader.Group != "" {
			out = append(out, reader)
		}
	}
	return out
}

// Forget drops a group's reader that no subscription has, and reports whether it did.
func (r *Readers) Forget(reader *Reader) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if reader.Open() {
		return false
	}
	delete(r.groups, groupKey{reader.Group, reader.Shard})
	return true
}

func (r *Readers) each(yield func(*Reader) bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, reader := range r.groups {
		if !yield(reader) {
			return
		}
	}
	for reader := range r.broadcasts {
		if !yield(reader) {
			return
		}
	}
}

// group returns the reader of a group's shard; a new one stands before the first entry.
func (r *Readers) group(name string, shard int) *Reader {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.lookup(name, shard)
}

func (r *Readers) lookup(name string, shard int) *Reader {
	reader, ok := r.groups[groupKey{name, shard}]
	if !ok {
		reader = &Reader{Group: name, Shard: shard, turn: make(chan struct{}, 1)}
		reader.turn <- struct{}{}
		r.groups[groupKey{name, shard}] = reader
	}
	return reader
}

// join returns the reader for a subscription: a group's own, or a new one behind the newest entry of t.
func (r *Readers) join(group string, shard int, t *Tail) *Reader {
	r.mu.Lock()
	defer r.mu.Unlock()
	var reader *Reader
	if group != "" {
		reader = r.lookup(group, shard)
	} else {
		reader = &Reader{Shard: All}
		r.broadcasts[reader] = struct{}{} // at 0, so that nothing it will need can go meanwhile
		reader.move(t.Newest())
	}
	reader.users.Add(1)
	return reader
}

// part ends what join began.
func (r *Readers) part(reader *Reader) {
	r.mu.Lock()
	defer r.mu.Unlock()
	reader.users.Add(-1)
	delete(r.broadcasts, reader)
}

// enter waits for the reader's turn and reports whether it came before ctx ended. leave gives it back.
func (r *Reader) enter(ctx context.Context) bool {
	if r.Group == "" {
		return true
	}
	select {
	case <-r.turn:
		return true
	case <-ctx.Done():
		return false
	}
}

func (r *Reader) leave() {
	if r.Group != "" {
		r.turn <- struct{}{}
	}
}
