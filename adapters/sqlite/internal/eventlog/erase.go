package eventlog

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/evosink/evosink/adapters/internal/row"
	"github.com/evosink/evosink/adapters/sqlite/internal/file"
	"github.com/evosink/evosink/adapters/sqlite/internal/registry"
	"github.com/evosink/evosink/core/bus"
)

var _ bus.Eraser = (*Log)(nil)

// EraseEvents implements [bus.Eraser]. The rows are overwritten with zeros. What the tail has of the events in memory
// leaves it as others come.
func (l *Log) EraseEvents(ctx context.Context, e bus.Erasure) (n int, left bool, err error) {
	l.removing.Lock()
	defer l.removing.Unlock()
	shard := bus.Shard(e.Instance, l.options.Shards)
	var born int64
	if _, err := l.file.One(ctx, "SELECT "+registry.Born, []any{nil, e.Instance}, &born); err != nil {
		return 0, false, fmt.Errorf("erase events: %w", err)
	}
	_, at := l.extent.read()
	acked := at.Position // by groups in use
	for _, reader := range l.tail.Groups() {
		if reader.Shard == shard && reader.Open() {
			acked = min(acked, reader.Position())
		}
	}
	for after := int64(0); ; {
		var batch []removal
		err := l.file.Each(ctx, func(rows *sql.Rows) error {
			var r row.Row
			of := removal{instance: e.Instance}
			if err := rows.Scan(&of.position, &r.ID, &r.Metadata, &of.bytes); err != nil {
				return err
			}
			after = of.position
			id := bus.RecordOf(r.Message())
			if !e.Has(id) || e.Present != "" && id == "" && of.position > born {
				return nil
			}
			if of.position > acked {
				left = true
				return file.ErrEnough
			}
			if batch = append(batch, of); len(batch) == retentionBatch {
				return file.ErrEnough
			}
			return nil
		}, "SELECT position, id, metadata, "+size+inShard+" AND instance = ?3"+byPosition, shard, after, e.Instance)
		if err != nil {
			return n, left, fmt.Errorf("erase events: %w", err)
		}
		if len(batch) == 0 {
			break
		}
		if err := l.remove(ctx, batch, erased); err != nil {
			return n, left, fmt.Errorf("erase events: %w", err)
		}
		n += len(batch)
	}
	if n == 0 {
		return 0, left, nil
	}
	if err := l.forgetShare(ctx, e.Instance); err != nil {
		return n, left, fmt.Errorf("erase events: %w", err)
	}
	return n, left, l.file.Vacuum(ctx)
}

// forgetShare removes an instance without events from the table of shares. Held: removing.
func (l *Log) forgetShare(ctx context.Context, instance string) error {
	e := l.extent
	gone := false
	return l.file.Write(ctx, &file.Write{
		Frees: true,
		Apply: func(t *file.Tx) error {
			e.mu.Lock()
			s := e.shares[instance]
			gone = s == nil || s.events == 0
			e.mu.Unlock()
			if !gone {
				return nil
			}
			return t.Overwriting(func() error {
				_, err := t.Exec("DELETE FROM log_usage WHERE instance = ?", instance)
				return err
			})
		},
		After: func() {
			e.mu.Lock()
			defer e.mu.Unlock()
			if s := e.shares[instance]; gone && s != nil && s.events == 0 {
				delete(e.shares, instance)
			}
		},
	})
}
