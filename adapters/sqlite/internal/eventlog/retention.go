package eventlog

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/evosink/evosink/adapters/sqlite/internal/file"
	"github.com/evosink/evosink/adapters/sqlite/internal/registry"
	"github.com/evosink/evosink/core/bus/tail"
	"github.com/evosink/evosink/core/retry"
)

const (
	// retentionPeriod is the time from one look at the log to the next. A log beyond its size is looked at when that
	// happens, but not again before retentionPause is over: what a group holds cannot be removed, however often it is
	// looked at.
	retentionPeriod = time.Minute
	retentionPause  = 250 * time.Millisecond
	// retentionBatch is how many entries one write removes, so that others get their turn.
	retentionBatch = 256
	// groupAge is how long a group without a subscription holds a log without an age; groupGrace is how long it does so
	// after the start in any case.
	groupAge   = 168 * time.Hour
	groupGrace = time.Hour
)

// retention removes entries and groups that are not needed any more. It owns one goroutine.
type retention struct {
	log    *Log
	began  time.Time
	kicked chan struct{} // holds a token when there is something to do before the period is over
	stop   context.CancelFunc
	done   chan struct{}

	mu sync.Mutex
	// mu guards the field below, and is held while groups are expired.
	seen map[string]time.Time // when each group was last in use
}

// start begins to work, until close.
func (r *retention) start() {
	ctx, cancel := context.WithCancel(context.Background())
	r.stop = cancel
	go r.run(ctx)
}

func (r *retention) run(ctx context.Context) {
	defer close(r.done)
	ticker := time.NewTicker(retentionPeriod)
	defer ticker.Stop()
	for {
		select {
		case <-r.kicked:
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
		if err := r.log.Retain(ctx, r.log.file.Clock.Now()); err != nil && ctx.Err() == nil {
			r.log.logger.Error().Err(err).Msg("old events could not be removed")
		}
		if !retry.Sleep(ctx.Done(), retentionPause) {
			return
		}
	}
}

// close ends run, and returns when each group was last in use.
func (r *retention) close() (seen map[string]time.Time) {
	r.stop()
	<-r.done
	return r.seen
}

// Retain removes, from the oldest entry on and batch by batch, what is too old at a time or too much, up to the first
// entry that a group has not acked; then it gives free pages back. The log does so by itself.
func (l *Log) Retain(ctx context.Context, now time.Time) error {
	if err := l.retention.expireGroups(ctx, now); err != nil {
		return err
	}
	oldest, at := l.extent.read()
	if !l.due(oldest, at, now) {
		return nil
	}
	limit := at.Position // the first entry that some group has not acked, or the newest
	for _, reader := range l.tail.Groups() {
		var first sql.NullInt64
		_, err := l.file.One(ctx, "SELECT min(position) FROM log WHERE shard = ? AND position > ?",
			[]any{reader.Shard, reader.Position()}, &first)
		if err != nil {
			return fmt.Errorf("read what group %s has not acked: %w", reader.Group, err)
		}
		if first.Valid {
			limit = min(limit, first.Int64)
		}
	}
	begin := oldest.position
	for {
		next, err := l.firstKept(ctx, at, limit, now)
		if err != nil {
			return err
		}
		if next.position <= oldest.position {
			break
		}
		err = l.file.Write(ctx, &file.Write{
			Frees: true,
			Apply: func(t *file.Tx) error {
				if _, err := t.Exec("DELETE FROM log WHERE position < ?", next.position); err != nil {
					return err
				}
				return registry.Forget(t, next.position)
			},
			After: func() { l.extent.shrink(next) },
		})
		if err != nil {
			return err
		}
		oldest = next
	}
	if oldest.position == begin {
		return nil
	}
	l.logger.Debug().Int64("events", oldest.position-begin).Msg("old events removed")
	return l.file.Vacuum(ctx)
}

// due reports whether an entry may go because of its age or the log's size. Nothing is read for that, so an idle log
// stays untouched.
func (l *Log) due(m mark, at file.Head, now time.Time) bool {
	if m.position == 0 || m.position >= at.Position {
		return false // empty, or the newest entry, which stays: positions go on from it
	}
	o := l.options
	return o.RetentionAge > 0 && m.time < now.Add(-o.RetentionAge).UnixMilli() ||
		o.RetentionBytes > 0 && at.End-m.start > o.RetentionBytes
}

// firstKept returns the mark of the first entry that stays, after a batch at most. It is before or at limit.
func (l *Log) firstKept(ctx context.Context, at file.Head, limit int64, now time.Time) (next mark, err error) {
	err = l.file.Each(ctx, func(rows *sql.Rows) error {
		if err := rows.Scan(&next.position, &next.time, &next.start); err != nil {
			return err
		}
		if next.position == limit || !l.due(next, at, now) {
			return file.ErrEnough
		}
		return nil
	}, "SELECT position, time, start FROM log WHERE position <= ? ORDER BY position LIMIT ?", limit, retentionBatch+1)
	if err != nil {
		return next, fmt.Errorf("read the oldest entries: %w", err)
	}
	return next, nil
}

// expireGroups forgets groups that hold the log though they had no subscription for long.
func (r *retention) expireGroups(ctx context.Context, now time.Time) error {
	l, age := r.log, r.log.options.RetentionAge
	if age == 0 {
		age = groupAge
	}
	groups := map[string][]*tail.Reader{}
	for _, reader := range l.tail.Groups() {
		groups[reader.Group] = append(groups[reader.Group], reader)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for name, readers := range groups {
		at, known := r.seen[name]
		if !known || slices.ContainsFunc(readers, (*tail.Reader).Open) {
			r.seen[name] = now
			continue
		}
		if now.Sub(r.began) <= groupGrace || now.Sub(at) <= age {
			continue
		}
		if slices.ContainsFunc(readers, func(reader *tail.Reader) bool { return !l.tail.Forget(reader) }) {
			continue // it has just been subscribed to
		}
		delete(r.seen, name)
		l.logger.Warn().Str("group", name).Msg("this group was not in use for long; its place in the log is forgotten")
		err := l.file.Write(ctx, &file.Write{Frees: true, Apply: func(t *file.Tx) error {
			_, err := t.Exec("DELETE FROM cursors WHERE name = ?", name)
			return err
		}})
		if err != nil {
			return fmt.Errorf("forget group %s: %w", name, err)
		}
	}
	return nil
}
