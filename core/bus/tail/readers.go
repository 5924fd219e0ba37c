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
	passing    chan struct{} // closed when a group may have taken more; nil while nothing waits for that

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
	passed   atomic.Int64  // up to where the subscription that has the reader has acked everything, kept or not; or vacant
	users    atomic.Int32  // subscriptions that have the reader or wait for it; grows under Readers.mu
	turn     chan struct{} // holds a token while no subscription has the reader
}

// vacant is what a group's reader has passed while no subscription has it.
const vacant = -1

// Position returns the position up to which nothing is needed any more: all is acked and not kept, or before what
// [Readers.Move] was called with.
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

// Move moves a group's cursor forward without an ack, for an engine that has stored it together with what became of the
// messages before it; see [bus.Batch.Keep]. [Log.Moved] is not called for that. A running subscription goes on where
// it is.
func (r *Readers) Move(c bus.Cursor) {
	if r.group(c.Group, c.Shard).move(int64(c.Position)) {
		r.wake()
	}
}

// pass notes that the subscription that has a reader has acked everything up to a position.
func (r *Readers) pass(reader *Reader, to int64) {
	if reader.Group != "" {
		reader.passed.Store(to)
		r.wake()
	}
}

// wake has those who wait in reached look again.
func (r *Readers) wake() {
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

// reached waits until a group has taken everything up to a cursor, or ctx ends.
func (r *Readers) reached(ctx context.Context, c bus.Cursor) error {
	r.waiting.Add(1) // before the first look, so that no pass behind it is missed
	defer r.waiting.Add(-1)
	for {
		passing := r.unlessTaken(c)
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

// unlessTaken returns nil if a group has taken everything up to a cursor, else what is closed when it may have.
func (r *Readers) unlessTaken(c bus.Cursor) <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	if reader, ok := r.groups[groupKey{c.Group, c.Shard}]; ok && reader.taken() >= int64(c.Position) {
		return nil
	}
	if r.passing == nil {
		r.passing = make(chan struct{})
	}
	return r.passing
}

// taken returns up to where a group has taken everything: what its subscription has passed, or without one its cursor.
func (r *Reader) taken() int64 {
	if passed := r.passed.Load(); passed != vacant {
		return passed
	}
	return r.Position()
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
		reader.passed.Store(vacant)
		reader.turn <- struct{}{}
		r.groups[groupKey{name, shard}] = reader
	}
	return reader
}

// join returns the reader for a subscription: a group's own, or a new one behind the newest entry of t.
func (r *Readers) join(group string, shard int, t *Tail) *Reader {
	r.mu.Lock()
	var reader *Reader
	if group != "" {
		reader = r.lookup(group, shard)
	} else {
		reader = &Reader{Shard: All}
		r.broadcasts[reader] = struct{}{} // at 0, so that nothing it will need can go meanwhile
	}
	reader.users.Add(1)
	r.mu.Unlock()
	if group == "" {
		reader.move(t.Newest()) // not with mu held: what is trimmed asks the readers with the tail's held
	}
	return reader
}

// part ends what join began.
func (r *Readers) part(reader *Reader) {
	r.mu.Lock()
	defer r.mu.Unlock()
	reader.users.Add(-1)
	delete(r.broadcasts, reader)
}

// enter waits for a reader's turn and returns the position behind which its subscription begins. ok is false when ctx
// ended first. leave gives the turn back.
func (r *Readers) enter(ctx context.Context, reader *Reader) (position int64, ok bool) {
	if reader.Group != "" {
		select {
		case <-reader.turn:
		case <-ctx.Done():
			return 0, false
		}
	}
	position = reader.Position()
	r.pass(reader, position)
	return position, true
}

// begin puts a reader that has its turn where the group stands in the engine's storage, and so before what was acked here
// and came there too late.
func (r *Readers) begin(reader *Reader, at int64) {
	reader.position.Store(at)
	r.pass(reader, at)
}

func (r *Readers) leave(reader *Reader) {
	if reader.Group != "" {
		r.pass(reader, vacant)
		reader.turn <- struct{}{}
	}
}
