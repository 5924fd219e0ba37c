package eventlog

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/ThreeDotsLabs/watermill/message"

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

const selectEntries = "SELECT position, shard, id, metadata, payload FROM log WHERE position > ?"

// readEntries implements Read of [tail.Log].
func (db *DB) readEntries(ctx context.Context, shard int, after int64) ([]tail.Entry, error) {
	if shard == tail.All {
		return db.query(ctx, pageBytes, selectEntries+" ORDER BY position LIMIT ?", after, pageEntries)
	}
	return db.query(ctx, pageBytes, selectEntries+" AND shard = ? ORDER BY position LIMIT ?", after, shard, pageEntries)
}

func (db *DB) query(ctx context.Context, limit int, query string, args ...any) (entries []tail.Entry, err error) {
	rows, err := db.reading.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, db.readError(ctx, err)
	}
	defer rows.Close()
	for bytes := 0; bytes < limit && rows.Next(); {
		e, err := scan(rows)
		if err != nil {
			return nil, db.readError(ctx, err)
		}
		entries = append(entries, e)
		bytes += bus.Size(e.Message)
	}
	if err := rows.Err(); err != nil {
		return nil, db.readError(ctx, err)
	}
	return entries, nil
}

// readError logs what nobody else hears of: a subscription that is behind tries again until it works.
func (db *DB) readError(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	err = fmt.Errorf("read the log: %w", explain(db.config.Path, err))
	db.logger.Error().Err(err).Msg("reading the file fails")
	return err
}

// scan reads an entry. Metadata that cannot be decoded gives a message without any, which [bus.Event] refuses.
func scan(rows *sql.Rows) (tail.Entry, error) {
	var e tail.Entry
	var id string
	var metadata, payload []byte
	if err := rows.Scan(&e.Position, &e.Shard, &id, &metadata, &payload); err != nil {
		return e, err
	}
	e.Message = message.NewMessage(id, payload)
	if m, err := decodeMetadata(metadata); err == nil {
		e.Message.Metadata = m
	}
	return e, nil
}

// Replay implements [sink.Log].
func (db *DB) Replay(
	ctx context.Context, after int64, instance string, f func(position int64, e *event.Event) error,
) (end int64, err error) {
	if end = after; instance != "" {
		var born int64
		if err := db.reading.QueryRowContext(ctx, "SELECT "+bornAt, nil, instance).Scan(&born); err != nil {
			return end, db.readError(ctx, err)
		}
		if after < born {
			return end, sink.ErrExpired
		}
	}
	for {
		var at head
		var entries []tail.Entry
		err := db.turns.take(ctx, func() (err error) {
			_, at = db.extent.read()
			entries, err = db.page(ctx, end, instance)
			return err
		}, func() error {
			if oldest, _ := db.extent.read(); end < oldest.position-1 {
				return sink.ErrExpired // retention has overtaken us
			}
			return visit(entries, f)
		})
		if err != nil {
			return end, err
		}
		if len(entries) == 0 {
			return max(end, at.position), nil
		}
		end = entries[len(entries)-1].Position
	}
}

const (
	findEntry = "SELECT min(position) FROM log WHERE id = ?1"
	ofOwner   = ` AND instance = ?2 AND position > ` + bornAt
	// bornAt is the position behind which all entries of the instance named ?2 are the present one's.
	bornAt = `coalesce((SELECT birth FROM instances WHERE name = ?2), (SELECT position FROM deleted_instances WHERE name = ?2), 0)`
)

// Find implements [sink.Log].
func (db *DB) Find(ctx context.Context, id, instance string) (int64, error) {
	query, args := findEntry, []any{id}
	if instance != "" {
		query, args = findEntry+ofOwner, []any{id, instance}
	}
	var first sql.NullInt64
	if err := db.reading.QueryRowContext(ctx, query, args...).Scan(&first); err != nil {
		return 0, db.readError(ctx, err)
	}
	if !first.Valid {
		return 0, sink.ErrExpired
	}
	return first.Int64, nil
}

// page returns entries to replay. An instance's are all in one shard, and reading past the others there is cheaper than
// an index that every event would pay for.
func (db *DB) page(ctx context.Context, after int64, instance string) ([]tail.Entry, error) {
	if instance == "" {
		return db.query(ctx, replayBytes, selectEntries+" ORDER BY position LIMIT ?", after, pageEntries)
	}
	shard := bus.Shard(instance, db.Shards())
	return db.query(ctx, replayBytes, selectEntries+" AND shard = ? AND instance = ? ORDER BY position LIMIT ?", after, shard, instance, pageEntries)
}

func visit(entries []tail.Entry, f func(int64, *event.Event) error) error {
	for _, entry := range entries {
		e, err := bus.Event(entry.Message)
		if err != nil {
			continue // what carries no event is nobody's to replay
		}
		if err := f(entry.Position, e); err != nil {
			return err
		}
	}
	return nil
}

// readExtent returns the marks of the oldest entry and of the end of the log.
func readExtent(ctx context.Context, conn *sql.Conn) (oldest mark, at head, err error) {
	err = conn.QueryRowContext(ctx, "SELECT position, time, start FROM log ORDER BY position LIMIT 1").
		Scan(&oldest.position, &oldest.time, &oldest.start)
	if errors.Is(err, sql.ErrNoRows) {
		return mark{}, head{}, nil // nothing was ever stored: retention never takes the newest entry
	}
	if err != nil {
		return mark{}, head{}, err
	}
	err = conn.QueryRowContext(ctx, `SELECT position, start + octet_length(id) + octet_length(metadata) + octet_length(payload)
		FROM log ORDER BY position DESC LIMIT 1`).Scan(&at.position, &at.end)
	return oldest, at, err
}
