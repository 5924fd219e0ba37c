package eventlog

import (
	"context"
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/evosink/evosink/core/bus/tail"
)

const (
	// retentionPeriod is the time from one look at the log to the next. A log beyond its size is looked at when that
	// happens, but not again before retentionPause is over: what a group holds cannot be removed however often one looks.
	retentionPeriod = time.Minute
	retentionPause  = 250 * time.Millisecond
	// retentionBatch is how many entries one write removes, so that others get their turn.
	retentionBatch = 256
	// groupGrace is how long after the start a group that nobody subscribed to still counts.
	groupGrace = time.Hour
	// sparePages is how many free pages the file may keep for what comes next, vacuumBatch how many one write gives back.
	sparePages  = 8192
	vacuumBatch = 256
)

// excess is the size at which retention begins: a little beyond the bound, so that it has a batch to do.
func (c Config) excess() int64 {
	if c.Retention.Bytes == 0 {
		return math.MaxInt64
	}
	return c.Retention.Bytes + c.Retention.Bytes/32
}

// groupAge is how long a group without a subscription holds the log.
func (c Config) groupAge() time.Duration {
	if c.Retention.Age > 0 {
		return c.Retention.Age
	}
	return 168 * time.Hour
}

// retention removes what nobody needs any more. It owns one goroutine.
type retention struct {
	db     *DB
	began  time.Time
	kicked chan struct{} // holds a token when there is something to do before the period is over
	stop   context.CancelFunc
	done   chan struct{}

	mu sync.Mutex
	// mu guards the field below.
	seen map[string]time.Time // when each group was last in use
}

func newRetention(db *DB, seen map[string]time.Time) *retention {
	return &retention{
		db: db, began: db.clock.now(), seen: seen,
		kicked: make(chan struct{}, 1), done: make(chan struct{}),
	}
}

// kick has the log looked at now.
func (r *retention) kick() {
	select {
	case r.kicked <- struct{}{}:
	default:
	}
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
		if err := r.pass(ctx, r.db.clock.now()); err != nil && ctx.Err() == nil {
			r.db.logger.Error().Err(err).Msg("old events could not be removed")
		}
		select {
		case <-time.After(retentionPause):
		case <-ctx.Done():
			return
		}
	}
}

func (r *retention) close() {
	r.stop()
	<-r.done
}

// lastSeen returns when each group was last in use.
func (r *retention) lastSeen() map[string]time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.seen
}

// pass removes everything that may go at the time given.
func (r *retention) pass(ctx context.Context, now time.Time) error {
	if err := r.expireGroups(ctx, now); err != nil {
		return err
	}
	oldest, at := r.db.extent.read()
	if !r.due(oldest, at, now) {
		return nil
	}
	limit, err := r.firstHeld(ctx, at)
	if err != nil {
		return err
	}
	removed, err := r.remove(ctx, oldest, at, limit, now)
	if err != nil || removed == 0 {
		return err
	}
	r.db.logger.Debug().Int64("events", removed).Msg("old events removed")
	return r.vacuum(ctx)
}

// remove removes the entries from the oldest on that are due and before limit, batch by batch.
func (r *retention) remove(ctx context.Context, oldest mark, at head, limit int64, now time.Time) (removed int64, err error) {
	for {
		next, err := r.firstKept(ctx, at, limit, now)
		if err != nil || next.position <= oldest.position {
			return removed, err
		}
		if err := r.removeBefore(ctx, next); err != nil {
			return removed, err
		}
		removed += next.position - oldest.position
		oldest = next
	}
}

func (r *retention) removeBefore(ctx context.Context, next mark) error {
	return r.db.writer.do(ctx, &write{
		frees: true,
		apply: func(t *tx) error {
			_, err := t.exec("DELETE FROM log WHERE position < ?", next.position)
			if err == nil {
				_, err = t.exec("DELETE FROM deleted_instances WHERE position < ?", next.position)
			}
			return err
		},
		after: func() { r.db.extent.shrink(next) },
	})
}

// due reports whether an entry may go because of its age or the log's size. Nothing is read for that, so an idle log stays untouched.
func (r *retention) due(m mark, at head, now time.Time) bool {
	if m.position == 0 || m.position >= at.position {
		return false // empty, or the newest entry, which stays: positions go on from it
	}
	c := r.db.config.Retention
	return c.Age > 0 && m.time < now.Add(-c.Age).UnixMilli() || c.Bytes > 0 && at.end-m.start > c.Bytes
}

// firstHeld returns the position of the first entry that some group has not acked, or of the newest.
func (r *retention) firstHeld(ctx context.Context, at head) (int64, error) {
	held := at.position
	for _, reader := range r.db.log.Groups() {
		var first *int64
		err := r.db.reading.QueryRowContext(ctx, "SELECT min(position) FROM log WHERE shard = ? AND position > ?",
			reader.Shard, reader.Position()).Scan(&first)
		if err != nil {
			return 0, fmt.Errorf("read what group %s has not acked: %w", reader.Group, err)
		}
		if first != nil {
			held = min(held, *first)
		}
	}
	return held, nil
}

// firstKept returns the mark of the first entry that stays, after a batch at most. It is before or at limit.
func (r *retention) firstKept(ctx context.Context, at head, limit int64, now time.Time) (next mark, err error) {
	rows, err := r.db.reading.QueryContext(ctx,
		"SELECT position, time, start FROM log WHERE position <= ? ORDER BY position LIMIT ?", limit, retentionBatch+1)
	if err != nil {
		return next, fmt.Errorf("read the oldest entries: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		if err := rows.Scan(&next.position, &next.time, &next.start); err != nil {
			return next, fmt.Errorf("read the oldest entries: %w", err)
		}
		if next.position == limit || !r.due(next, at, now) {
			break
		}
	}
	return next, rows.Err()
}

// expireGroups forgets groups that hold the log though nobody has used them for long.
func (r *retention) expireGroups(ctx context.Context, now time.Time) error {
	groups := map[string][]*tail.Reader{}
	for _, reader := range r.db.log.Groups() {
		groups[reader.Group] = append(groups[reader.Group], reader)
	}
	for name, readers := range groups {
		if !r.abandoned(name, readers, now) {
			continue
		}
		if err := r.forget(ctx, name, readers); err != nil {
			return fmt.Errorf("forget group %s: %w", name, err)
		}
	}
	return nil
}

func (r *retention) abandoned(name string, readers []*tail.Reader, now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, reader := range readers {
		if reader.Open() {
			r.seen[name] = now
			return false
		}
	}
	at, known := r.seen[name]
	if !known {
		r.seen[name] = now
		return false
	}
	return now.Sub(r.began) > groupGrace && now.Sub(at) > r.db.config.groupAge()
}

func (r *retention) forget(ctx context.Context, name string, readers []*tail.Reader) error {
	for _, reader := range readers {
		if !r.db.log.Forget(reader) {
			return nil // somebody has just subscribed
		}
	}
	r.mu.Lock()
	delete(r.seen, name)
	r.mu.Unlock()
	r.db.logger.Warn().Str("group", name).Msg("nobody has used this group for long; its place in the log is forgotten")
	return r.db.writer.do(ctx, &write{frees: true, apply: func(t *tx) error {
		_, err := t.exec("DELETE FROM cursors WHERE name = ?", name)
		return err
	}})
}

// vacuum gives free pages back to the disk while there are many more than new events will fill soon.
func (r *retention) vacuum(ctx context.Context) error {
	for {
		var free, total int64
		if err := r.db.reading.QueryRowContext(ctx, "SELECT freelist_count, page_count FROM pragma_freelist_count, pragma_page_count").Scan(&free, &total); err != nil {
			return fmt.Errorf("count free pages: %w", err)
		}
		if free <= sparePages || free < total/4 {
			return nil
		}
		err := r.db.writer.do(ctx, &write{frees: true, apply: func(t *tx) error {
			_, err := t.exec(fmt.Sprintf("PRAGMA incremental_vacuum(%d)", vacuumBatch))
			return err
		}})
		if err != nil {
			return err
		}
	}
}
