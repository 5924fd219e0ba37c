package deliveries

import (
	"context"
	"database/sql"

	"github.com/evosink/evosink/adapters/sqlite/internal/eventlog"
	"github.com/evosink/evosink/adapters/sqlite/internal/file"
	"github.com/evosink/evosink/core/bus"
	"github.com/evosink/evosink/core/queue"
)

// Checkpoint implements [queue.Store]. It mostly costs no commit of its own, see [file.Write].
func (s *Store) Checkpoint(ctx context.Context, leases []bus.Lease, marks ...queue.Mark) error {
	if err := fence(leases...); err != nil {
		return err
	}
	if len(marks) == 0 {
		return ctx.Err()
	}
	return s.file.Write(ctx, &file.Write{
		Bytes:   markBytes(marks),
		Frees:   true,
		Patient: true,
		Apply:   func(t *file.Tx) error { return eventlog.SaveMarks(t, marks) },
		After:   func() { s.moved(marks) },
	})
}

// markBytes is about how much marks store.
func markBytes(marks []queue.Mark) (n int64) {
	for _, m := range marks {
		n += int64(len(m.Done)) + 64
	}
	return n
}

// moved moves the cursors of marks that are committed.
func (s *Store) moved(marks []queue.Mark) {
	for _, m := range marks {
		s.log.Move(m.Cursor)
	}
}

// Marks implements [queue.Store].
func (s *Store) Marks(ctx context.Context, shards ...int) (out []queue.Mark, err error) {
	list := make([]int64, len(shards))
	for i, shard := range shards {
		list[i] = int64(shard)
	}
	err = s.file.Each(ctx, func(rows *sql.Rows) error {
		var m queue.Mark
		err := rows.Scan(&m.Cursor.Group, &m.Cursor.Shard, &m.Cursor.Position, &m.Done)
		out = append(out, m)
		return err
	}, `SELECT name, shard, position, done FROM cursors
		WHERE done IS NOT NULL AND shard IN (SELECT value FROM json_each(?))`, file.List(list))
	return out, err
}
