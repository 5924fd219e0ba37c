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

// Retain removes, batch by batch, what is too old at a time and then what is too much, but nothing that a group has not
// acked; then it gives free pages back. The log does so by itself.
func (l *Log) Retain(ctx context.Context, now time.Time) error {
	if err := l.retention.expireGroups(ctx, now); err != nil {
		return err
	}
	l.removing.Lock()
	defer l.removing.Unlock()
	old, err := l.removeOld(ctx, now)
	if err != nil {
		return err
	}
	excess, err := l.removeExcess(ctx)
	if err != nil {
		return err
	}
	if _, at := l.extent.read(); old+excess > 0 || at.Position-l.extent.counted >= uncounted {
		if err := l.saveShares(ctx); err != nil {
			return err
		}
	}
	if old+excess == 0 {
		return nil
	}
	l.logger.Debug().Int("old", old).Int("excess", excess).Msg("events removed from the log")
	return l.file.Vacuum(ctx)
}

// removeOld removes the oldest entries of all while they are older than the age, up to the first that some group has
// not acked, and never the newest.
func (l *Log) removeOld(ctx context.Context, now time.Time) (n int, err error) {
	age := l.options.RetentionAge
	before := now.Add(-age).UnixMilli()
	oldest, at := l.extent.read()
	if age == 0 || oldest.position == 0 || oldest.position >= at.Position || oldest.time >= before {
		return 0, nil // nothing is read for that, so an idle log stays untouched
	}
	limit := at.Position
	for _, reader := range l.tail.Groups() {
		var first int64
		found, err := l.file.One(ctx, "SELECT position"+inShard+byPosition+" LIMIT 1",
			[]any{reader.Shard, reader.Position()}, &first)
		if err != nil {
			return 0, fmt.Errorf("read what group %s has not acked: %w", reader.Group, err)
		}
		if found {
			limit = min(limit, first)
		}
	}
	for {
		var batch []removal
		err := l.file.Each(ctx, func(rows *sql.Rows) error {
			var r removal
			var stored int64
			if err := rows.Scan(&r.position, &stored, &r.instance, &r.bytes); err != nil {
				return err
			}
			if stored >= before {
				return file.ErrEnough
			}
			batch = append(batch, r)
			return nil
		}, "SELECT position, time, instance, "+size+" FROM log WHERE position < ? ORDER BY position LIMIT ?",
			limit, retentionBatch)
		if err != nil {
			return n, fmt.Errorf("read the oldest entries: %w", err)
		}
		if len(batch) == 0 {
			return n, nil
		}
		if err := l.remove(ctx, batch, tooOld); err != nil {
			return n, err
		}
		n += len(batch)
	}
}

// excessPage is how many entries are passed over at once in search of those beyond the bound.
const excessPage = 4096

// removeExcess removes entries of the instances that hold most, each one's oldest first, until the log is within its
// bound. An instance keeps what a group has not acked, and what is behind that; the newest entry of all stays.
func (l *Log) removeExcess(ctx context.Context) (n int, err error) {
	excess, first := l.extent.excess(l.options.RetentionBytes)
	if excess == nil {
		return 0, nil
	}
	_, at := l.extent.read()
	acked := make([]int64, l.options.Shards) // by all groups
	for shard := range acked {
		acked[shard] = at.Position - 1
	}
	for _, reader := range l.tail.Groups() {
		acked[reader.Shard] = min(acked[reader.Shard], reader.Position())
	}
	for after := first - 1; len(excess) > 0; {
		var batch []removal
		passed := 0
		err := l.file.Each(ctx, func(rows *sql.Rows) error {
			var r removal
			var shard int
			if err := rows.Scan(&r.position, &shard, &r.instance, &r.bytes); err != nil {
				return err
			}
			after = r.position
			passed++
			over, ok := excess[r.instance]
			switch {
			case !ok:
				return nil
			case r.position > acked[shard] || over <= r.bytes:
				delete(excess, r.instance)
			default:
				excess[r.instance] = over - r.bytes
			}
			if r.position <= acked[shard] {
				batch = append(batch, r)
			}
			if len(batch) == retentionBatch || len(excess) == 0 {
				return file.ErrEnough
			}
			return nil
		}, "SELECT position, shard, instance, "+size+" FROM log WHERE position > ? AND position < ? ORDER BY position LIMIT ?",
			after, at.Position, excessPage)
		if err != nil {
			return n, fmt.Errorf("read the entries of instances that hold most: %w", err)
		}
		if passed == 0 {
			break
		}
		if len(batch) > 0 {
			if err := l.remove(ctx, batch, tooMuch); err != nil {
				return n, err
			}
			n += len(batch)
		}
	}
	return n, nil
}

// Why entries are removed.
type removalKind uint8

const (
	tooOld  removalKind = iota // nothing older stays
	tooMuch                    // older ones of other instances stay
	erased                     // the same; what was there is overwritten
)

// remove removes entries, given in order of position, and takes them off the shares of their instances in the same
// transaction. Held: removing.
func (l *Log) remove(ctx context.Context, batch []removal, kind removalKind) error {
	front := kind == tooOld
	counted := l.extent.counted // changes with removing held only
	positions := make([]int64, len(batch))
	all, stored := map[string]*share{}, map[string]*share{} // what goes, and what of it is counted in the file
	for i, r := range batch {
		positions[i] = r.position
		for _, sums := range []map[string]*share{all, stored} {
			s := sums[r.instance]
			if s == nil {
				s = &share{}
				sums[r.instance] = s
			}
			s.first = r.position + 1
		}
		all[r.instance].events++
		all[r.instance].bytes += r.bytes
		if r.position <= counted {
			stored[r.instance].events++
			stored[r.instance].bytes += r.bytes
		}
	}
	last := positions[len(positions)-1]
	l.extent.removing(batch, front)
	var oldest mark
	return l.file.Write(ctx, &file.Write{
		Frees: true,
		Apply: func(t *file.Tx) error {
			remove := func() error {
				_, err := t.Exec("DELETE FROM log WHERE position IN (SELECT value FROM json_each(?))", file.List(positions))
				return err
			}
			var err error
			if kind == erased {
				err = t.Overwriting(remove)
			} else {
				err = remove()
			}
			if err != nil {
				return err
			}
			if last == t.Head.Position { // positions go on from it, also after a start
				_, err := t.Exec(`INSERT INTO meta (key, value) VALUES ('log_position', ?), ('log_end', ?)
					ON CONFLICT DO UPDATE SET value = excluded.value`, t.Head.Position, t.Head.End)
				if err != nil {
					return err
				}
			}
			for instance, s := range stored {
				cut := s.first - 1
				if front {
					if cut = 0; s.events == 0 {
						continue
					}
				}
				_, err := t.Exec(`INSERT INTO log_usage (instance, events, bytes, first, cut) VALUES (?, ?, ?, ?, ?)
					ON CONFLICT DO UPDATE SET events = events + excluded.events, bytes = bytes + excluded.bytes,
						first = max(first, excluded.first), cut = max(cut, excluded.cut)`,
					instance, -s.events, -s.bytes, s.first, cut)
				if err != nil {
					return err
				}
			}
			if !front {
				if _, err := t.Exec("UPDATE meta SET value = max(value, ?) WHERE key = 'log_cut'", last); err != nil {
					return err
				}
			}
			oldest = mark{}
			if _, err := t.Row(selectOldest, nil, &oldest.position, &oldest.time, &oldest.start); err != nil {
				return err
			}
			if err := l.leave(t, oldest.position); err != nil {
				return err
			}
			return registry.Forget(t, oldest.position)
		},
		After: func() { l.extent.removed(all, oldest) },
	})
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
