package eventlog

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/evosink/evosink/adapters/internal/row"
	"github.com/evosink/evosink/adapters/postgres/internal/database"
	"github.com/evosink/evosink/core/bus"
	"github.com/evosink/evosink/core/bus/tail"
)

// What the tail keeps in memory for live subscriptions. Those that are further behind read the database.
const (
	tailEvents = 8192
	tailBytes  = 16 << 20
)

// A page of the log has at most so many entries, and ends with the one that makes it so large.
const (
	pageEntries = 256
	pageBytes   = 4 << 20
)

// selectPage gives the entries of a condition behind $1, at most $2 of them, up to the one that makes them as large as $3;
// with each, how often pauses were changed.
func selectPage(condition string) string {
	return `SELECT position, shard, id, metadata, payload, (SELECT value FROM @.meta WHERE key = 'pauses_revision') FROM (
			SELECT *, sum(bytes) OVER (ORDER BY position) - bytes AS before
			FROM (SELECT * FROM @.log WHERE position > $1` + condition + ` ORDER BY position LIMIT $2) AS behind
		) AS page WHERE before < $3 ORDER BY position`
}

var (
	selectAll      = selectPage("")
	selectShard    = selectPage(" AND shard = $4")
	selectInstance = selectPage(" AND shard = $4 AND instance = $5")
)

// page returns the entries that such a query gives.
func (l *Log) page(ctx context.Context, query string, args ...any) (entries []tail.Entry, err error) {
	var pauses int64
	err = l.db.Each(ctx, func(rows pgx.Rows) error {
		var e tail.Entry
		var r row.Row
		var id []byte
		if err := rows.Scan(&e.Position, &e.Shard, &id, &r.Metadata, &r.Payload, &pauses); err != nil {
			return err
		}
		r.ID = string(id)
		e.Message = r.Message()
		entries = append(entries, e)
		return nil
	}, query, args...)
	if err != nil {
		return nil, err
	}
	l.options.Paused(pauses)
	return entries, nil
}

// liftPeriod is how often a node looks whether the log ends before what it has met.
const liftPeriod = 10 * time.Second

// follow takes what all nodes append into the tail, until the log is closed.
func (l *Log) follow() {
	failing, lifted := false, time.Now()
	for l.life.Err() == nil {
		rung := l.db.Bell.Rung(database.Entries)
		bus.Retry(l.life, func() bool {
			n, err := l.take(l.life)
			for err == nil && n > 0 {
				n, err = l.take(l.life)
			}
			if l.life.Err() != nil {
				return true
			}
			if failed := err != nil; failed != failing {
				if failing = failed; failed {
					l.logger.Error().Err(err).Msg("the log cannot be read; live sinks get nothing until it can")
				} else {
					l.logger.Info().Msg("the log can be read again")
				}
			}
			return err == nil
		})
		if time.Since(lifted) > liftPeriod {
			lifted = time.Now()
			if err := l.Lift(); err != nil && l.life.Err() == nil {
				l.logger.Warn().Err(err).Msg("where the log ends could not be looked at")
			}
		}
		l.db.Bell.Wait(l.life, rung, l.kicked)
	}
}

// Lift has the log go on behind what this node has met. It ends before that when the server has lost entries: a standby
// that was behind was made the server, or a backup was restored. The log does so by itself.
func (l *Log) Lift() error {
	var lost bool
	_, err := l.db.Write(l.life, "SELECT @.log_lift($1)", []any{l.tail.Newest()}, &lost)
	if err == nil && lost {
		l.logger.Error().Msg("the server has lost the newest events: a standby that was behind has taken its place, or a backup")
	}
	return err
}

// take reads the next entries into the tail and returns how many.
func (l *Log) take(ctx context.Context) (n int, err error) {
	entries, err := l.page(ctx, selectAll, l.tail.Newest(), pageEntries, pageBytes)
	if err != nil || len(entries) == 0 {
		return 0, err
	}
	l.feed(func(newest int64) []tail.Entry {
		for len(entries) > 0 && entries[0].Position <= newest { // this node's own, see push
			entries = entries[1:]
		}
		return entries
	})
	return len(entries), nil
}

// push gives the tail entries that this node has just committed, if the tail has everything before them; else follow
// reads them.
func (l *Log) push(before int64, entries []tail.Entry) {
	l.feed(func(newest int64) []tail.Entry {
		if before == newest {
			return entries
		}
		l.kick()
		return nil
	})
}

// kick has follow look at once.
func (l *Log) kick() {
	select {
	case l.kicked <- struct{}{}:
	default:
	}
}

// feed adds what next returns, given the tail's newest position, to the tail.
func (l *Log) feed(next func(newest int64) []tail.Entry) {
	l.feeding.Lock()
	defer l.feeding.Unlock()
	if entries := next(l.tail.Newest()); len(entries) > 0 {
		l.tail.Append(entries...)
		l.tail.Trim(tailEvents, tailBytes, nil)
	}
}

// load implements Read of [tail.Log], for subscriptions that are behind.
func (l *Log) load(ctx context.Context, shard int, after int64) (entries []tail.Entry, err error) {
	if shard == tail.All {
		entries, err = l.page(ctx, selectAll, after, pageEntries, pageBytes)
	} else {
		entries, err = l.page(ctx, selectShard, after, pageEntries, pageBytes, shard)
	}
	if err != nil && ctx.Err() == nil {
		l.logger.Error().Err(err).Msg("the log cannot be read for a subscription that is behind")
	}
	return entries, err
}
