package eventlog

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/evosink/evosink/adapters/internal/row"
	"github.com/evosink/evosink/adapters/sqlite/internal/file"
	"github.com/evosink/evosink/adapters/sqlite/internal/registry"
	"github.com/evosink/evosink/core/bus"
	"github.com/evosink/evosink/core/bus/tail"
	"github.com/evosink/evosink/core/event"
	"github.com/evosink/evosink/core/sink"
)

// A page of the log has at most so many entries, and ends with the one that makes it so large.
const (
	pageEntries = 64
	pageBytes   = 1 << 20
)

const selectEntries = "SELECT position, log.shard, id, metadata, payload"

// fromAll selects the entries of all shards behind position ?1.
const fromAll = " FROM log WHERE position > ?1 ORDER BY position"

// readEntries implements Read of [tail.Log], for subscriptions that are behind.
func (l *Log) readEntries(ctx context.Context, shard int, after int64) ([]tail.Entry, error) {
	if shard == tail.All {
		return l.page(ctx, pageBytes, selectEntries+fromAll+" LIMIT ?2", after, pageEntries)
	}
	return l.page(ctx, pageBytes, selectEntries+inShard+byPosition+" LIMIT ?3", shard, after, pageEntries)
}

// page returns the entries that a query gives, up to the one that makes them as large as limit.
func (l *Log) page(ctx context.Context, limit int, query string, args ...any) (entries []tail.Entry, err error) {
	bytes := 0
	err = l.file.Each(ctx, func(rows *sql.Rows) error {
		var e tail.Entry
		var r row.Row
		if err := rows.Scan(&e.Position, &e.Shard, &r.ID, &r.Metadata, &r.Payload); err != nil {
			return err
		}
		e.Message = r.Message()
		entries = append(entries, e)
		if bytes += bus.Size(e.Message); bytes >= limit {
			return file.ErrEnough
		}
		return nil
	}, query, args...)
	if err != nil {
		return nil, l.failed(ctx, err)
	}
	return entries, nil
}

// failed logs why reading failed: a subscription that is behind tries again until it works, and returns no error.
func (l *Log) failed(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	err = fmt.Errorf("read the log: %w", err)
	l.logger.Error().Err(err).Msg("reading the file fails")
	return err
}

// ofOwner restricts a query of the log to the entries of the present owner of the name ?2.
const ofOwner = " AND instance = ?2 AND position > " + registry.Born

// Replay implements [sink.Log]. An instance's entries are all in one shard, and reading past the others there is
// cheaper than an index that every event would pay for.
func (l *Log) Replay(
	ctx context.Context, after int64, instance string, f func(position int64, e *event.Event) error,
) (end int64, err error) {
	if end = after; instance != "" {
		var born int64
		if _, err := l.file.One(ctx, "SELECT "+registry.Born, []any{nil, instance}, &born); err != nil {
			return end, l.failed(ctx, err)
		}
		if after < born {
			return end, sink.ErrExpired
		}
	}
	for {
		var at file.Head
		var entries []tail.Entry
		read := func() (err error) {
			if _, at = l.extent.read(); instance == "" {
				entries, err = l.page(ctx, replayBytes, selectEntries+fromAll+" LIMIT ?2", end, pageEntries)
			} else {
				entries, err = l.page(ctx, replayBytes, selectEntries+inShard+" AND instance = ?3"+byPosition+" LIMIT ?4",
					bus.Shard(instance, l.options.Shards), end, instance, pageEntries)
			}
			return err
		}
		use := func() error {
			if l.extent.lacks(instance, end) {
				return sink.ErrExpired // retention was faster, or is about to be
			}
			for _, entry := range entries {
				e, err := bus.Event(entry.Message)
				if err != nil {
					continue // a message of another kind
				}
				if err := f(entry.Position, e); err != nil {
					return err
				}
			}
			return nil
		}
		if err := l.turns.take(ctx, read, use); err != nil {
			return end, err
		}
		if len(entries) == 0 {
			return max(end, at.Position), nil
		}
		end = entries[len(entries)-1].Position
	}
}

// Find implements [sink.Log].
func (l *Log) Find(ctx context.Context, id, instance string) (int64, error) {
	query, args := "SELECT min(position) FROM log WHERE id = ?1", []any{id}
	if instance != "" {
		query, args = query+ofOwner, append(args, instance)
	}
	var first sql.NullInt64
	if _, err := l.file.One(ctx, query, args, &first); err != nil {
		return 0, l.failed(ctx, err)
	}
	if !first.Valid {
		return 0, sink.ErrExpired
	}
	return first.Int64, nil
}
