package eventlog

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/evosink/evosink/adapters/internal/row"
	"github.com/evosink/evosink/adapters/postgres/internal/database"
	"github.com/evosink/evosink/core/bus"
)

// eraseBatch is how many entries one transaction erases.
const eraseBatch = 256

// EraseEvents implements [bus.Eraser]. The server overwrites rows that are gone when it needs their place. What the tail
// has of the events in memory leaves it as others come.
func (l *Log) EraseEvents(ctx context.Context, e bus.Erasure) (n int, left bool, err error) {
	shard := bus.Shard(e.Instance, l.db.Shards())
	at, err := l.extent(ctx, e.Instance)
	if err != nil {
		return 0, false, fmt.Errorf("erase events: %w", err)
	}
	acked := at.newest // by groups in use
	err = l.groups(ctx, func(c bus.Cursor, open bool, _ time.Duration) {
		if c.Shard == shard && open {
			acked = min(acked, int64(c.Position))
		}
	})
	for after := int64(0); err == nil; {
		var batch []int64
		seen := 0
		err = l.db.Each(ctx, func(rows pgx.Rows) error {
			var r row.Row
			var position int64
			if err := rows.Scan(&position, &r.Metadata); err != nil {
				return err
			}
			seen++
			after = position
			id := bus.RecordOf(r.Message())
			switch {
			case !e.Has(id) || e.Present != "" && id == "" && position > at.born:
			case position > acked:
				left = true
			default:
				batch = append(batch, position)
			}
			return nil
		}, `SELECT position, metadata FROM @.log WHERE shard = $1 AND instance = $2 AND position > $3
			ORDER BY position LIMIT $4`, shard, []byte(e.Instance), after, eraseBatch)
		if err == nil && len(batch) > 0 {
			if err = l.remove(ctx, e.Instance, batch); err == nil {
				n += len(batch)
			}
		}
		if seen < eraseBatch {
			break
		}
	}
	if err != nil {
		return n, left, fmt.Errorf("erase events: %w", err)
	}
	return n, left, nil
}

// remove removes entries of an instance, given in order of position, and notes that they are missing.
func (l *Log) remove(ctx context.Context, instance string, positions []int64) error {
	last := positions[len(positions)-1]
	return l.db.Transact(ctx, func(t *database.Tx) error {
		if _, err := t.Exec("DELETE FROM @.log WHERE position = ANY($1)", positions); err != nil {
			return err
		}
		if _, err := t.Exec("UPDATE @.meta SET value = greatest(value, $1) WHERE key = 'log_cut'", last); err != nil {
			return err
		}
		_, err := t.Exec(`INSERT INTO @.log_erased AS e VALUES ($1, $2)
			ON CONFLICT (instance) DO UPDATE SET position = greatest(e.position, excluded.position)`, []byte(instance), last)
		return err
	})
}
