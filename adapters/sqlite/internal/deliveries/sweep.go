package deliveries

import (
	"context"
	"database/sql"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/evosink/evosink/adapters/sqlite/internal/file"
	"github.com/evosink/evosink/core/queue"
)

// sweepBatch is how many rows one write of a sweep passes over, so that others get their turn.
const sweepBatch = 1000

// Sweep implements [queue.Store]. Attempts are counted by their ids, which have gaps where something was deleted: so
// many of the last ever written stay at most.
func (s *Store) Sweep(ctx context.Context, r queue.Retention) error {
	removed, err := s.sweepEvents(ctx, s.recent.end(r, time.Now()))
	for _, a := range []aging{
		{"queue_letters", "died", r.LetterAge, math.MaxInt},
		{"queue_attempts", "at", r.AttemptAge, r.Attempts},
	} {
		if err != nil {
			return err
		}
		var n int64
		n, err = s.sweepOld(ctx, a)
		removed += n
	}
	if err != nil {
		return err
	}
	n, err := s.sweepDeadLetters(ctx, r)
	if err != nil || removed+n == 0 {
		return err
	}
	return s.file.Vacuum(ctx)
}

// Relieve removes all events that wait in no lane, also those that would be absorbed if they came again: on a full disk
// their space matters more.
func (s *Store) Relieve(ctx context.Context) error {
	_, newest := s.recent.span()
	_, err := s.sweepEvents(ctx, newest)
	return err
}

// sweepEvents passes over the events up to a seq: those that wait in no lane go.
func (s *Store) sweepEvents(ctx context.Context, end int64) (removed int64, err error) {
	for from, _ := s.recent.span(); from < end; {
		var to, n int64
		err := s.file.Write(ctx, &file.Write{
			Frees: true,
			Apply: func(t *file.Tx) error {
				// Seqs have gaps, where events have gone with their last delivery.
				_, err := t.Row(`SELECT iif(count(*) = ?1, max(seq), ?2) FROM
					(SELECT seq FROM queue_events WHERE seq > ?3 AND seq <= ?2 ORDER BY seq LIMIT ?1)`,
					[]any{sweepBatch, end, from}, &to)
				if err != nil {
					return err
				}
				r, err := t.Exec(`DELETE FROM queue_events WHERE seq > ? AND seq <= ?
					AND NOT EXISTS (SELECT 1 FROM queue_deliveries d WHERE d.seq = queue_events.seq)`, from, to)
				if err != nil {
					return err
				}
				if n, err = r.RowsAffected(); err != nil {
					return err
				}
				_, err = t.Exec(`INSERT INTO meta (key, value) VALUES (?, ?)
					ON CONFLICT DO UPDATE SET value = excluded.value`, sweptKey, to)
				return err
			},
			After: func() { s.swept = to },
		})
		if err != nil {
			return removed, err
		}
		removed += n
		s.recent.shrink(to)
		from = to
	}
	return removed, nil
}

// aging is a table of which the oldest rows are removed: those beyond an age, or beyond a count of the newest. With an
// age of 0 all are removed.
type aging struct {
	table, at string
	age       time.Duration
	count     int
}

// sweepOld removes the oldest rows of a table, batch by batch.
func (s *Store) sweepOld(ctx context.Context, a aging) (removed int64, err error) {
	for {
		var last, n int64 // the last of the rows that may go, and how many these are
		cutoff := s.file.Clock.Now().Add(-a.age).UnixMilli()
		err := s.file.Each(ctx, func(rows *sql.Rows) error {
			var id, at, newest int64
			if err := rows.Scan(&id, &at, &newest); err != nil {
				return err
			}
			if id > newest-int64(a.count) && at >= cutoff && a.age > 0 {
				return file.ErrEnough
			}
			last = id
			n++
			return nil
		}, fmt.Sprintf("SELECT id, %s, (SELECT max(id) FROM %s) FROM %s ORDER BY id LIMIT ?", a.at, a.table, a.table),
			sweepBatch)
		if err != nil || n == 0 {
			return removed, err
		}
		err = s.file.Write(ctx, &file.Write{Frees: true, Apply: func(t *file.Tx) error {
			_, err := t.Exec("DELETE FROM "+a.table+" WHERE id <= ?", last)
			return err
		}})
		if err != nil {
			return removed, err
		}
		if removed += n; n < sweepBatch {
			return removed, nil
		}
	}
}

// deadLetterCount is how many dead letters there are at most, and their bytes: those that were counted last and those that
// have come since, so that not all of them are counted at each sweep.
type deadLetterCount struct {
	count, bytes int64
	newest       int64 // the last id that is counted
}

// sweepDeadLetters removes the oldest dead letters of the instances that have most of them, or most bytes of them, if
// there are more than retention holds in all; then a hundredth more, so that they need not be counted again for each that
// follows.
func (s *Store) sweepDeadLetters(ctx context.Context, r queue.Retention) (removed int64, err error) {
	s.sweepingDeadLetters.Lock()
	defer s.sweepingDeadLetters.Unlock()
	all := s.deadLetters
	if all.newest > 0 { // else none was counted yet
		var count, bytes int64
		_, err := s.file.One(ctx, "SELECT count(*), coalesce(sum(size), 0), coalesce(max(id), ?1) FROM queue_letters WHERE id > ?1",
			[]any{all.newest}, &count, &bytes, &all.newest)
		if err != nil {
			return 0, err
		}
		all.count, all.bytes = all.count+count, all.bytes+bytes
		s.deadLetters = all
		if all.count <= int64(r.Letters) && (r.LetterBytes <= 0 || all.bytes <= r.LetterBytes) {
			return 0, nil
		}
	}
	counts, bytes := map[string]int{}, map[string]int64{}
	all = deadLetterCount{}
	err = s.file.Each(ctx, func(rows *sql.Rows) error {
		var instance string
		var n, size, newest int64
		if err := rows.Scan(&instance, &n, &size, &newest); err != nil {
			return err
		}
		counts[instance], bytes[instance] = int(n), size
		all = deadLetterCount{all.count + n, all.bytes + size, max(all.newest, newest)}
		return nil
	}, "SELECT instance, count(*), sum(size), max(id) FROM queue_letters GROUP BY instance")
	if err != nil {
		return 0, err
	}
	s.deadLetters = all
	var entries map[string]int
	var sizes map[string]int64
	if all.count > int64(r.Letters) {
		entries = queue.Excess(counts, r.Letters-r.Letters/100)
	}
	if r.LetterBytes > 0 && all.bytes > r.LetterBytes {
		sizes = queue.Excess(bytes, r.LetterBytes-r.LetterBytes/100)
	}
	for instance := range counts {
		entries, size := entries[instance], sizes[instance]
		if entries <= 0 && size <= 0 {
			continue
		}
		var ids []int64 // finding them takes a while where there are many; the writer does not wait for it
		var freed []int64
		err := s.file.Each(ctx, func(rows *sql.Rows) error {
			if entries <= 0 && size <= 0 {
				return file.ErrEnough
			}
			var id, bytes int64
			err := rows.Scan(&id, &bytes)
			ids, freed = append(ids, id), append(freed, bytes)
			entries, size = entries-1, size-bytes
			return err
		}, "SELECT id, size FROM queue_letters WHERE instance = ? ORDER BY id", instance)
		if err != nil {
			return removed, err
		}
		for batch := range slices.Chunk(ids, sweepBatch) {
			err := s.file.Write(ctx, &file.Write{Frees: true, Apply: func(t *file.Tx) error {
				_, err := t.Exec("DELETE FROM queue_letters WHERE id IN (SELECT value FROM json_each(?))", file.List(batch))
				return err
			}})
			if err != nil {
				return removed, err
			}
			removed += int64(len(batch))
			s.deadLetters.count -= int64(len(batch))
			for _, bytes := range freed[:len(batch)] {
				s.deadLetters.bytes -= bytes
			}
			freed = freed[len(batch):]
		}
	}
	return removed, nil
}
