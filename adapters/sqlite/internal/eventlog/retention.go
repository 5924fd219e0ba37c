package eventlog

import (
	"context"
	"database/sql"
	"fmt"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/evosink/evosink/adapters/sqlite/internal/file"
	"github.com/evosink/evosink/adapters/sqlite/internal/registry"
	"github.com/evosink/evosink/core/bus/tail"
)

const (
	// retentionPeriod is the time from one look at the log to the next. A log beyond its size is looked at when that
	// happens, but not again before retentionPause is over: what a group holds cannot be removed, however often it is
	// looked at.
	retentionPeriod = time.Minute
	retentionPause  = 250 * time.Millisecond
	// retentionBatch is how many entries one write removes, so that others get their turn.
	retentionBatch = 256
	// groupGrace is how long after the start a group without a subscription still counts.
	groupGrace = time.Hour
)

// excess is the size at which retention begins: a little beyond the bound, so that it has a batch to do.
func (o Options) excess() int64 {
	if o.RetentionBytes == 0 {
		return math.MaxInt64
	}
	return o.RetentionBytes + o.RetentionBytes/32
}

// groupAge is how long a group without a subscription holds the log.
func (o Options) groupAge() time.Duration {
	if o.RetentionAge > 0 {
		return o.RetentionAge
	}
	return 168 * time.Hour
}

// retention removes entries and groups that are not needed any more. It owns one goroutine.
type retention struct {
	log    *Log
	began  time.Time
	kicked chan struct{} // holds a token when there is something to do before the period is over
	stop   context.CancelFunc
	done   chan struct{}

	mu sync.Mutex
	// mu guards the field below.
	seen map[string]time.Time // when each group was last in use
}

func newRetention(l *Log, seen map[string]time.Time) *retention {
	return &retention{
		log: l, began: l.file.Clock.Now(), seen: seen, kicked: make(chan struct{}, 1), done: make(chan struct{}),
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
		if err := r.log.Retain(ctx, r.log.file.Clock.Now()); err != nil && ctx.Err() == nil {
			r.log.logger.Error().Err(err).Msg("old events could not be removed")
		}
		select {
		case <-time.After(retentionPause):
		case <-ctx.Done():
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
	limit, err := l.firstHeld(ctx, at)
	if err != nil {
		return err
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

// firstHeld returns the position of the first entry that some group has not acked, or of the newest.
func (l *Log) firstHeld(ctx context.Context, at file.Head) (int64, error) {
	held := at.Position
	for _, reader := range l.tail.Groups() {
		var first sql.NullInt64
		_, err := l.file.One(ctx, "SELECT min(position) FROM log WHERE shard = ? AND position > ?",
			[]any{reader.Shard, reader.Position()}, &first)
		if err != nil {
			return 0, fmt.Errorf("read what group %s has not acked: %w", reader.Group, err)
		}
		if first.Valid {
			held = min(held, first.Int64)
		}
	}
	return held, nil
}

// firstKept returns the mark of the first entry that stays, after a batch at most. It is before or at limit.
func (l *Log) firstKept(ctx context.Context, at file.Head, limit int64, now time.Time) (next mark, err error) {
	err = l.file.Each(ctx, func(rows *sql.Rows) error {
		if err := rows.Scan(&next.position, &next.time, &next.start); err != nil {
			return err
		}
		if next.position == limit || !l.due(next, at, now) {
			return file.Enough
		}
		return nil
	}, "SELECT position, time, start FROM log WHERE position <= ? ORDER BY position LIMIT ?", limit, retentionBatch+1)
	if err != nil {
		return next, fmt.Errorf("read the oldest entries: %w", err)
	}
	return next, nil
}

// expireGroups forgets groups that hold the log though they were not in use for long.
func (r *retention) expireGroups(ctx context.Context, now time.Time) error {
	groups := map[string][]*tail.Reader{}
	for _, reader := range r.log.tail.Groups() {
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

// abandoned reports whether a group was not in use for so long that it does not count any more.
func (r *retention) abandoned(name string, readers []*tail.Reader, now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	at, known := r.seen[name]
	if !known || slices.ContainsFunc(readers, (*tail.Reader).Open) {
		r.seen[name] = now
		return false
	}
	return now.Sub(r.began) > groupGrace && now.Sub(at) > r.log.options.groupAge()
}

// forget removes a group, unless it has a subscription again.
func (r *retention) forget(ctx context.Context, name string, readers []*tail.Reader) error {
	for _, reader := range readers {
		if !r.log.tail.Forget(reader) {
			return nil
		}
	}
	r.mu.Lock()
	delete(r.seen, name)
	r.mu.Unlock()
	r.log.logger.Warn().Str("group", name).Msg("this group was not in use for long; its place in the log is forgotten")
	return r.log.file.Write(ctx, &file.Write{Frees: true, Apply: func(t *file.Tx) error {
		_, err := t.Exec("DELETE FROM cursors WHERE name = ?", name)
		return err
	}})
}
