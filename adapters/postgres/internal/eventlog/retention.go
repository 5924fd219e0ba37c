package eventlog

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/evosink/evosink/adapters/postgres/internal/database"
	"github.com/evosink/evosink/core/bus"
	"github.com/evosink/evosink/core/retry"
)

const (
	// retentionPeriod is the time from one look at the log to the next.
	retentionPeriod = time.Minute
	// housekeeper is the group of the lease of the node that removes what is old.
	housekeeper = "\x00housekeeper"
	// parts is how many chunks the log has about when it is as large, or as old, as retention lets it be: so precise are
	// its bounds.
	parts = 16
	// largestChunk is the bytes of a chunk where the log has no bound.
	largestChunk  = 1 << 30
	smallestChunk = 1 << 20
	// oldestChunk is the age of a chunk where the log has no bound.
	oldestChunk = 7 * 24 * time.Hour
	// dropPatience is how long publishing may be held up by a chunk that is to be dropped and that something reads.
	dropPatience = 100 * time.Millisecond
	// groupAge is how long a group that no node reads holds a log without an age.
	groupAge = 168 * time.Hour
)

// chunkBytes is how large a chunk becomes before the next one is opened.
func (l *Log) chunkBytes() int64 {
	if l.options.RetentionBytes == 0 {
		return largestChunk
	}
	return min(max(l.options.RetentionBytes/parts, smallestChunk), largestChunk)
}

// chunkAge is how old a chunk becomes before the next one is opened.
func (l *Log) chunkAge() time.Duration {
	if l.options.RetentionAge == 0 {
		return oldestChunk
	}
	return min(max(l.options.RetentionAge/parts, time.Second), oldestChunk)
}

// retain removes what is old, on one node of all, until the log is closed.
func (l *Log) retain() {
	for retry.Sleep(l.life.Done(), retentionPeriod) {
		h, ok, err := l.leases.Hold(l.life, housekeeper, 0)
		if ok {
			err = l.Retain(l.life)
			l.leases.Let(context.Background(), h)
		}
		if err != nil && l.life.Err() == nil {
			l.logger.Error().Err(err).Msg("old events could not be removed")
		}
	}
}

// A chunk is a part of the log that is closed.
type chunk struct {
	number, bytes int64
	age           time.Duration // since it was closed
}

// end is the last position that the chunk could have.
func (c chunk) end() int64 { return (c.number+1)<<20 - 1 }

// Retain drops the oldest chunks while they are too old, or the log is too large, up to the first one of which a group
// has not acked something; and forgets groups that no node has read for long. The log does so by itself.
func (l *Log) Retain(ctx context.Context) error {
	if err := l.expireGroups(ctx); err != nil {
		return err
	}
	_, err := l.db.Write(ctx, "SELECT @.log_roll($1 * interval '1 millisecond')", []any{l.chunkAge().Milliseconds()})
	if err != nil {
		return fmt.Errorf("close a chunk of the log: %w", err)
	}
	chunks, bytes, err := l.chunks(ctx)
	if err != nil {
		return fmt.Errorf("read the chunks of the log: %w", err)
	}
	for _, c := range chunks {
		old := l.options.RetentionAge > 0 && c.age > l.options.RetentionAge
		if !old && (l.options.RetentionBytes == 0 || bytes <= l.options.RetentionBytes) {
			break
		}
		if needed, err := l.needs(ctx, c); needed || err != nil {
			return err
		}
		err := l.drop(ctx, c)
		if database.LockTimeout(err) {
			l.logger.Warn().Msg("old events are not removed yet: something else reads the log, perhaps a dump of the database")
			return nil
		}
		if err != nil {
			return fmt.Errorf("drop a chunk of the log: %w", err)
		}
		bytes -= c.bytes
	}
	return nil
}

// chunks returns the closed chunks, oldest first, and the bytes of all with the open one.
func (l *Log) chunks(ctx context.Context) (all []chunk, bytes int64, err error) {
	err = l.db.Each(ctx, func(rows pgx.Rows) error {
		var c chunk
		var age *float64
		err := rows.Scan(&c.number, &c.bytes, &age)
		if bytes += c.bytes; age != nil {
			c.age = time.Duration(*age * float64(time.Second))
			all = append(all, c)
		}
		return err
	}, `SELECT chunk, pg_table_size((SELECT oid FROM pg_class WHERE relname = 'log_' || chunk AND relnamespace = $1::regnamespace)),
			extract(epoch FROM clock_timestamp() - closed)::double precision
		FROM @.log_chunks ORDER BY chunk`, l.db.Schema())
	return all, bytes, err
}

// needs reports whether a group has not acked something of a chunk.
func (l *Log) needs(ctx context.Context, c chunk) (needed bool, err error) {
	_, err = l.db.One(ctx, fmt.Sprintf(`SELECT EXISTS (SELECT FROM @.cursors c WHERE c.position < $1 AND EXISTS (
		SELECT FROM @.log_%d e WHERE e.shard = c.shard AND e.position > c.position))`, c.number), []any{c.end()}, &needed)
	if err != nil {
		return false, fmt.Errorf("read what groups have not acked: %w", err)
	}
	return needed, nil
}

// drop drops a chunk. It gives up, with an error, when something has read the log for longer than may hold up others.
func (l *Log) drop(ctx context.Context, c chunk) error {
	return l.db.Transact(ctx, func(t *database.Tx) error {
		_, err := t.Exec("SELECT set_config('lock_timeout', $1, true)", fmt.Sprint(dropPatience.Milliseconds()))
		if err == nil {
			_, err = t.Exec("LOCK TABLE @.log IN ACCESS EXCLUSIVE MODE")
		}
		if err == nil {
			_, err = t.Exec(fmt.Sprintf("DROP TABLE @.log_%d", c.number))
		}
		if err == nil {
			_, err = t.Exec("DELETE FROM @.log_chunks WHERE chunk = $1", c.number)
		}
		if err == nil {
			_, err = t.Exec("UPDATE @.meta SET value = $1 WHERE key = 'log_floor'", c.end())
		}
		for _, table := range []string{"log_erased", "deleted_instances"} {
			if err == nil {
				_, err = t.Exec("DELETE FROM @."+table+" WHERE position <= $1", c.end())
			}
		}
		return err
	})
}

// expireGroups forgets groups that hold the log though no node has read them for long.
func (l *Log) expireGroups(ctx context.Context) error {
	age := l.options.RetentionAge
	if age == 0 {
		age = groupAge
	}
	used := map[string]bool{}
	err := l.groups(ctx, func(c bus.Cursor, open bool, seen time.Duration) {
		used[c.Group] = used[c.Group] || open || seen <= age
	})
	for group, inUse := range used {
		if err != nil || inUse {
			continue
		}
		l.logger.Warn().Str("group", group).Msg("this group was not in use for long; its place in the log is forgotten")
		_, err = l.db.Write(ctx, "DELETE FROM @.cursors WHERE grp = $1 AND seen < clock_timestamp() - $2 * interval '1 second'",
			[]any{[]byte(group), age.Seconds()})
	}
	if err != nil && !errors.Is(err, context.Canceled) {
		return fmt.Errorf("forget groups: %w", err)
	}
	return err
}
