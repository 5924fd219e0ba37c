package eventlog

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/evosink/evosink/core/bus"
	"github.com/evosink/evosink/core/bus/tail"
)

// What the tail keeps in memory for live subscriptions. Who is further behind reads the file.
const (
	tailEvents = 8192
	tailBytes  = 16 << 20
)

// Append implements [bus.Bus].
func (db *DB) Append(ctx context.Context, shard int, entries ...bus.Entry) ([]bus.Position, error) {
	if err := bus.CheckShard(shard, db.Shards()); err != nil {
		return nil, err
	}
	rows, err := db.encode(shard, entries)
	if err != nil {
		return nil, err
	}
	positions := make([]bus.Position, len(rows))
	begun := time.Now()
	err = db.writer.do(ctx, db.publication(rows, positions))
	if errors.Is(err, context.DeadlineExceeded) {
		// Not one commit has ended meanwhile, and that is more than a busy disk. Health is not red yet, if the commit began
		// only a little before the event came.
		if busy := db.writer.busy(); busy >= time.Since(begun) && busy > time.Duration(db.stallAfter.Load())/2 {
			return nil, fmt.Errorf("%w: %w", db.stalledFor(busy), err)
		}
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return nil, fmt.Errorf("%w: the disk is slower than the events come: %w", bus.ErrOverloaded, err)
	}
	if err != nil {
		return nil, err
	}
	return positions, nil
}

// A row is an entry about to be stored.
type row struct {
	entry    tail.Entry
	instance string
	metadata []byte
	once     bool // see [bus.Entry]
}

func (r row) bytes() int64 {
	return int64(len(r.entry.Message.UUID) + len(r.metadata) + len(r.entry.Message.Payload))
}

// encode does what can be done before the writer's turn, by whoever publishes.
func (db *DB) encode(shard int, entries []bus.Entry) ([]row, error) {
	rows := make([]row, len(entries))
	for i, e := range entries {
		m := e.Message
		if n := bus.Size(m); n > db.config.MaxEventBytes {
			return nil, fmt.Errorf("%w: it has %d bytes, max_event_bytes is %d", bus.ErrTooLarge, n, db.config.MaxEventBytes)
		}
		if len(m.Metadata) > maxMetadata {
			return nil, fmt.Errorf("%w: it has %d metadata entries, at most %d are stored", bus.ErrTooLarge, len(m.Metadata), maxMetadata)
		}
		rows[i] = row{
			entry:    tail.Entry{Shard: shard, Message: m.Copy()},
			instance: bus.InstanceOf(m),
			metadata: encodeMetadata(m.Metadata),
			once:     e.Once,
		}
	}
	return rows, nil
}

// publication is the write that appends rows to the log, but for those that are there already, and notes where they are.
func (db *DB) publication(rows []row, positions []bus.Position) *write {
	w := &write{}
	for _, r := range rows {
		w.bytes += r.bytes() + writeOverhead
	}
	var at head
	var now int64
	inserted := make([]row, 0, len(rows))
	w.apply = func(t *tx) error {
		at, now, inserted = t.head, time.Now().UnixMilli(), inserted[:0]
		for i, r := range rows {
			ok, err := insert(t, &r, now)
			if err != nil {
				return err
			}
			if positions[i] = bus.Position(r.entry.Position); ok {
				inserted = append(inserted, r)
			}
		}
		return nil
	}
	w.after = func() {
		if len(inserted) > 0 {
			db.published(inserted, mark{position: at.position + 1, time: now, start: at.end})
		}
	}
	return w
}

// insert sets the row's position. It returns false if the row is of an event that the log holds.
func insert(t *tx, r *row, now int64) (ok bool, err error) {
	m := r.entry.Message
	if r.once {
		if known, err := holds(t, m.UUID, r.instance, &r.entry.Position); known || err != nil {
			return false, err
		}
	}
	r.entry.Position = t.head.position + 1
	payload := m.Payload
	if payload == nil {
		payload = message.Payload{} // nil would be NULL
	}
	_, err = t.exec("INSERT INTO log (position, shard, time, start, id, instance, metadata, payload) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
		r.entry.Position, r.entry.Shard, now, t.head.end, m.UUID, r.instance, r.metadata, []byte(payload))
	if err != nil {
		return false, err
	}
	t.head.position++
	t.head.end += r.bytes()
	return true, nil
}

// holds reports whether the log has an event of that id and instance, and where. The first query, which mostly finds nothing, is answered by
// the index that the insert needs next.
func holds(t *tx, id, instance string, position *int64) (bool, error) {
	if found, err := t.row("SELECT position FROM log WHERE id = ?1 LIMIT 1", []any{id}, position); !found || err != nil {
		return false, err
	}
	return t.row("SELECT position FROM log WHERE id = ?1"+ofOwner+" LIMIT 1", []any{id, instance}, position)
}

// published shows committed rows to subscriptions. first marks the first of them.
func (db *DB) published(rows []row, first mark) {
	entries := make([]tail.Entry, len(rows))
	var bytes int64
	for i, r := range rows {
		entries[i] = r.entry
		bytes += r.bytes()
	}
	db.log.Append(entries...)
	db.log.Trim(tailEvents, tailBytes, nil)
	if db.extent.grow(first, len(rows), bytes) > db.config.excess() {
		db.retention.kick()
	}
}

// An extent is what the log holds.
type extent struct {
	mu sync.Mutex
	// mu guards the fields below.
	oldest    mark // zero if the log is empty
	head      head
	published uint64
}

// A mark is where an entry is.
type mark struct {
	position, time, start int64
}

func (e *extent) grow(first mark, events int, bytes int64) (held int64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.oldest.position == 0 {
		e.oldest = first
	}
	e.head = head{position: first.position + int64(events) - 1, end: first.start + bytes}
	e.published += uint64(events)
	return e.head.end - e.oldest.start
}

func (e *extent) shrink(oldest mark) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if oldest.position > e.oldest.position {
		e.oldest = oldest
	}
}

func (e *extent) read() (oldest mark, at head) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.oldest, e.head
}
