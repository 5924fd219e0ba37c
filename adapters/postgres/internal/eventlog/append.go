package eventlog

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/evosink/evosink/adapters/internal/row"
	"github.com/evosink/evosink/adapters/postgres/internal/database"
	"github.com/evosink/evosink/core/bus"
	"github.com/evosink/evosink/core/bus/tail"
	"github.com/evosink/evosink/core/retry"
)

const (
	// A commit has at most so many entries, and bytes, unless a single call has more.
	commitEntries = 512
	commitBytes   = 4 << 20
	// A call has at most so many: it is one message to the server.
	maxEntries = 1 << 16
	maxBytes   = 256 << 20
	// overhead is what an entry counts beside its bytes.
	overhead = 128
)

// committing has a commit without an answer made again, until the time-out has passed.
var committing = retry.Backoff{First: 20 * time.Millisecond, Longest: time.Second, Jitter: 0.5}

// A call is an Append that waits for its commit.
type call struct {
	entries   []entry
	bytes     int64
	positions []bus.Position
	err       error
	done      chan struct{} // closed when positions or err are set
}

// An entry is a message about to be stored.
type entry struct {
	row.Row
	tail.Entry
	instance string
	once     bool // see [bus.Entry]
}

// A writer commits what is appended on this node, all that came while the last commit ran at once. It owns one goroutine.
type writer struct {
	log  *Log
	room *semaphore.Weighted // bytes that may wait
	some chan struct{}       // holds a token while waiting may hold something
	stop chan struct{}
	done chan struct{}

	batch uint64 // number of the last commit; run's own

	mu sync.Mutex
	// mu guards the fields below.
	waiting []*call
	closed  bool
	failure error // of the last commit
}

func newWriter(l *Log) *writer {
	return &writer{
		log: l, room: semaphore.NewWeighted(l.options.MaxQueueBytes), some: make(chan struct{}, 1),
		stop: make(chan struct{}), done: make(chan struct{}),
	}
}

// Append implements [bus.Bus].
func (l *Log) Append(ctx context.Context, shard int, entries ...bus.Entry) ([]bus.Position, error) {
	if err := bus.CheckShard(shard, l.db.Shards()); err != nil {
		return nil, err
	}
	c, err := l.encode(shard, entries)
	if err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("%w: %w", bus.ErrOverloaded, err)
	}
	if len(entries) == 0 {
		return nil, nil
	}
	return l.writer.append(ctx, c)
}

// encode returns the call for some entries, encoded where it does not take the writer's time.
func (l *Log) encode(shard int, entries []bus.Entry) (*call, error) {
	c := &call{entries: make([]entry, len(entries)), done: make(chan struct{})}
	for i, e := range entries {
		m := e.Message
		if n := bus.Size(m); n > l.options.MaxEventBytes {
			return nil, fmt.Errorf("%w: it has %d bytes, max_event_bytes is %d", bus.ErrTooLarge, n, l.options.MaxEventBytes)
		}
		if n := len(m.Metadata); n > row.MaxMetadata {
			return nil, fmt.Errorf("%w: it has %d metadata entries, at most %d are stored", bus.ErrTooLarge, n, row.MaxMetadata)
		}
		c.entries[i] = entry{
			Row: row.FromMessage(m), Entry: tail.Entry{Shard: shard, Message: m.Copy()}, instance: bus.InstanceOf(m), once: e.Once,
		}
		c.bytes += c.entries[i].Size() + overhead
	}
	if len(entries) > maxEntries || c.bytes > maxBytes {
		return nil, fmt.Errorf("%w: one call has %d events of %d bytes, at most %d of %d are taken",
			bus.ErrTooLarge, len(entries), c.bytes, maxEntries, maxBytes)
	}
	return c, nil
}

// append waits for a commit of a call. ctx is looked at until the commit begins.
func (w *writer) append(ctx context.Context, c *call) ([]bus.Position, error) {
	room := min(c.bytes, w.log.options.MaxQueueBytes)
	if err := w.room.Acquire(ctx, room); err != nil {
		return nil, w.overloaded(err)
	}
	defer w.room.Release(room)
	w.mu.Lock()
	if w.closed {
		w.mu.Unlock()
		return nil, bus.ErrClosed
	}
	w.waiting = append(w.waiting, c)
	w.mu.Unlock()
	select {
	case w.some <- struct{}{}:
	default:
	}
	select {
	case <-c.done:
	case <-ctx.Done():
		if w.withdraw(c) {
			return nil, w.overloaded(ctx.Err())
		}
		<-c.done
	}
	return c.positions, c.err
}

// overloaded returns the error of a call that was not taken in time.
func (w *writer) overloaded(err error) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.failure != nil {
		return fmt.Errorf("%w: %w: %w", bus.ErrOverloaded, w.failure, err)
	}
	return fmt.Errorf("%w: the database is slower than the events come: %w", bus.ErrOverloaded, err)
}

// withdraw takes a call back, if its commit has not begun.
func (w *writer) withdraw(c *call) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i, other := range w.waiting {
		if other == c {
			w.waiting = append(w.waiting[:i], w.waiting[i+1:]...)
			return true
		}
	}
	return false
}

func (w *writer) start() { go w.run() }

// close commits what waits, refuses what comes, and returns when run has ended.
func (w *writer) close() {
	w.mu.Lock()
	w.closed = true
	w.mu.Unlock()
	close(w.stop)
	<-w.done
}

func (w *writer) run() {
	defer close(w.done)
	for {
		calls := w.next()
		if len(calls) > 0 {
			w.commit(calls)
			continue
		}
		select {
		case <-w.some:
		case <-w.stop:
			if calls = w.next(); len(calls) == 0 {
				return
			}
			w.commit(calls)
		}
	}
}

// next takes the calls of the next commit.
func (w *writer) next() (calls []*call) {
	w.mu.Lock()
	defer w.mu.Unlock()
	entries, bytes := 0, int64(0)
	for _, c := range w.waiting {
		entries, bytes = entries+len(c.entries), bytes+c.bytes
		if len(calls) > 0 && (entries > commitEntries || bytes > commitBytes) {
			break
		}
		calls = append(calls, c)
	}
	w.waiting = w.waiting[len(calls):]
	if len(w.waiting) == 0 {
		w.waiting = nil
	}
	return calls
}

// commit stores the entries of some calls at once, shows them to subscriptions and tells the calls.
func (w *writer) commit(calls []*call) {
	b := newCommit(calls)
	w.batch++
	err := w.store(b)
	w.mu.Lock()
	w.failure = err
	w.mu.Unlock()
	if err == nil {
		b.place()
		w.log.options.Paused(b.pauses)
		w.log.push(b.before, b.stored())
		w.log.db.Bell.Ring(database.Entries)
	}
	for _, c := range calls {
		if c.err = err; err == nil {
			c.positions = make([]bus.Position, len(c.entries))
			for i := range c.entries {
				c.positions[i] = bus.Position(c.entries[i].Position)
			}
		}
		close(c.done)
	}
}

// store has the server append a commit's entries. Where there is no answer it is asked again by the same name, by which it
// knows a commit that has happened.
func (w *writer) store(b *commit) error {
	l := w.log
	deadline := time.Now().Add(l.db.Timeout())
	doubt := false
	name := binary.BigEndian.AppendUint64([]byte(l.options.Self), w.batch)
	since := l.tail.Newest()
	for n := 1; ; n++ {
		_, err := l.db.Write(context.Background(), `SELECT before, first, known, pauses
			FROM @.log_append($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12 * interval '1 millisecond')`,
			[]any{
				name, since, l.tail.Newest(), b.shards, b.sizes, b.ids, b.instances, b.metadata, b.payloads,
				b.once, l.chunkBytes(), l.chunkAge().Milliseconds(),
			}, &b.before, &b.first, &b.known, &b.pauses)
		if err == nil {
			return nil
		}
		doubt = doubt || errors.Is(err, database.ErrUnknown)
		final := !database.Temporary(err)
		if final || time.Now().After(deadline) || !retry.Sleep(w.stop, committing.Pause(n)) {
			if doubt && !errors.Is(err, database.ErrUnknown) && !final {
				err = fmt.Errorf("%w: %w", database.ErrUnknown, err)
			}
			l.logger.Error().Err(err).Int("events", len(b.ids)).Msg("events could not be stored")
			return fmt.Errorf("store events: %w", err)
		}
		if n == 1 {
			l.logger.Warn().Err(err).Msg("events could not be stored yet; it is tried again")
		}
	}
}

// A commit is the entries of some calls as columns. An entry that is to be written once, and that an earlier one of the
// same commit is like, is not among them: it is where that one is.
type commit struct {
	entries                            []*entry // those in the columns
	alike                              map[*entry]*entry
	shards, sizes                      []int32
	ids, instances, metadata, payloads [][]byte
	once                               []bool // nil if none is
	before, first, pauses              int64  // see log_append
	known                              []int64
}

func newCommit(calls []*call) *commit {
	b := &commit{alike: map[*entry]*entry{}}
	once := false
	seen := map[[2]string]*entry{}
	for _, c := range calls {
		for i := range c.entries {
			once = once || c.entries[i].once
		}
	}
	for _, c := range calls {
		for i := range c.entries {
			e := &c.entries[i]
			if once {
				key := [2]string{e.instance, e.ID}
				if first := seen[key]; first != nil && e.once {
					b.alike[e] = first
					continue
				} else if first == nil {
					seen[key] = e
				}
				b.once = append(b.once, e.once)
			}
			b.add(e)
		}
	}
	return b
}

func (b *commit) add(e *entry) {
	b.entries = append(b.entries, e)
	b.shards, b.sizes = append(b.shards, int32(e.Shard)), append(b.sizes, int32(e.Size()))
	b.ids, b.instances = append(b.ids, []byte(e.ID)), append(b.instances, []byte(e.instance))
	b.metadata, b.payloads = append(b.metadata, e.Metadata), append(b.payloads, e.Payload)
}

// place sets the positions of all entries, as the server has told them.
func (b *commit) place() {
	next := b.first
	for i, e := range b.entries {
		if b.known != nil && b.known[i] > 0 {
			e.Position = b.known[i]
			continue
		}
		e.Position = next
		next++
	}
	for e, first := range b.alike {
		e.Position = first.Position
	}
}

// stored returns what was written.
func (b *commit) stored() (entries []tail.Entry) {
	for i, e := range b.entries {
		if b.known == nil || b.known[i] == 0 {
			entries = append(entries, e.Entry)
		}
	}
	return entries
}
