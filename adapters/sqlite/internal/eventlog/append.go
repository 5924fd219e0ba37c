package eventlog

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/evosink/evosink/adapters/internal/row"
	"github.com/evosink/evosink/adapters/sqlite/internal/file"
	"github.com/evosink/evosink/core/bus"
	"github.com/evosink/evosink/core/bus/tail"
)

// What the tail keeps in memory for live subscriptions. Those that are further behind read the file.
const (
	tailEvents = 8192
	tailBytes  = 16 << 20
)

// An addition is an entry about to be stored.
type addition struct {
	row.Row
	entry    tail.Entry
	instance string
	once     bool // see [bus.Entry]
	stored   bool // by the transaction
}

// Append implements [bus.Bus]: it stores the entries in one write, but for those that the log holds already.
func (l *Log) Append(ctx context.Context, shard int, entries ...bus.Entry) ([]bus.Position, error) {
	if err := bus.CheckShard(shard, l.options.Shards); err != nil {
		return nil, err
	}
	w := &file.Write{}
	all := make([]addition, len(entries)) // encoded here, where it does not take the writer's time
	for i, e := range entries {
		m := e.Message
		if n := bus.Size(m); n > l.options.MaxEventBytes {
			return nil, fmt.Errorf("%w: it has %d bytes, max_event_bytes is %d", bus.ErrTooLarge, n, l.options.MaxEventBytes)
		}
		if n := len(m.Metadata); n > row.MaxMetadata {
			return nil, fmt.Errorf("%w: it has %d metadata entries, at most %d are stored",
				bus.ErrTooLarge, n, row.MaxMetadata)
		}
		kept := &message.Message{UUID: m.UUID, Metadata: maps.Clone(m.Metadata), Payload: m.Payload} // is never acked
		all[i] = addition{
			Row: row.FromMessage(m), entry: tail.Entry{Shard: shard, Message: kept},
			instance: bus.InstanceOf(m), once: e.Once,
		}
		w.Bytes += all[i].Size() + file.WriteOverhead
	}
	positions := make([]bus.Position, len(all))
	inserted := make([]tail.Entry, 0, len(all))
	var first mark  // of those inserted
	var block int64 // of the last of them
	w.Apply = func(t *file.Tx) error {
		inserted, block = inserted[:0], l.blocks[shard]
		first = mark{position: t.Head.Position + 1, time: time.Now().UnixMilli(), start: t.Head.End}
		for i := range all {
			ok, err := insert(t, &all[i], first.time)
			if err != nil {
				return err
			}
			all[i].stored = ok
			if positions[i] = bus.Position(all[i].entry.Position); !ok {
				continue
			}
			inserted = append(inserted, all[i].entry)
			if block, err = enter(t, shard, all[i].entry.Position, block); err != nil {
				return err
			}
		}
		return nil
	}
	w.After = func() { // shows what was committed to subscriptions
		if len(inserted) == 0 {
			return
		}
		l.blocks[shard] = block
		l.tail.Append(inserted...)
		l.tail.Trim(tailEvents, tailBytes, nil)
		l.extent.grow(first, all)
		if l.extent.beyond(l.options.RetentionBytes) {
			select {
			case l.retention.kicked <- struct{}{}:
			default:
			}
		}
	}
	begun := time.Now()
	err := l.file.Write(ctx, w)
	if errors.Is(err, context.DeadlineExceeded) {
		if stalled := l.file.StalledSince(begun); stalled != nil {
			return nil, fmt.Errorf("%w: %w", stalled, err)
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

// insert stores an entry at the end of the log and sets its position. If the log holds its event already (same id, of
// the present owner of the instance's name), nothing is stored, the position is that event's and ok is false.
func insert(t *file.Tx, a *addition, now int64) (ok bool, err error) {
	if a.once {
		// This first query, which mostly finds nothing, is answered by the index that the insert needs next.
		known, err := t.Row("SELECT position FROM log WHERE id = ?1 LIMIT 1", []any{a.ID}, &a.entry.Position)
		if known {
			known, err = t.Row("SELECT position FROM log WHERE id = ?1"+ofOwner+" LIMIT 1", []any{a.ID, a.instance},
				&a.entry.Position)
		}
		if known || err != nil {
			return false, err
		}
	}
	a.entry.Position = t.Head.Position + 1
	_, err = t.Exec(`INSERT INTO log (position, shard, time, start, id, instance, metadata, payload)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?)`,
		a.entry.Position, a.entry.Shard, now, t.Head.End, a.ID, a.instance, a.Metadata, a.Payload)
	if err != nil {
		return false, err
	}
	t.Head.Position++
	t.Head.End += a.Size()
	return true, nil
}
