package deliveries

import (
	"context"
	"fmt"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/evosink/evosink/core/queue"
)

// sweepBatch is how many rows one write of a sweep passes over, so that others get their turn.
const sweepBatch = 1000

// Sweep implements [queue.Store]. Attempts are counted by their ids, which have gaps where something was erased: so
// many of the last ever written stay at most.
func (q *Queue) Sweep(ctx context.Context, r queue.Retention) error {
	removed, err := q.sweepEvents(ctx, q.past.end(r, time.Now()))
	if err != nil {
		return err
	}
	for _, t := range []aging{
		{"queue_letters", "died", r.LetterAge, math.MaxInt},
		{"queue_attempts", "at", r.AttemptAge, r.Attempts},
	} {
		n, err := q.sweepOld(ctx, t)
		if removed += n; err != nil {
			return err
		}
	}
	n, err := q.sweepLetters(ctx, r.Letters)
	if removed += n; err != nil {
		return err
	}
	if removed == 0 {
		return nil
	}
	return q.db.retention.vacuum(ctx)
}

// letterCount is how many dead letters there were when they were counted last, so that they need not be counted at
// each sweep.
type letterCount struct {
	count, newest int64
}

// sweepLetters removes the oldest dead letters of the instances that have most of them, if there are more than so
// many in all; then a hundredth more, so that they need not be counted again for each that follows.
func (q *Queue) sweepLetters(ctx context.Context, most int) (removed int64, err error) {
	q.sweepingLetters.Lock()
	defer q.sweepingLetters.Unlock()
	var newest int64
	if err := q.db.reading.QueryRowContext(ctx, "SELECT coalesce(max(id), 0) FROM queue_letters").Scan(&newest); err != nil {
		return 0, explain(q.db.config.Path, err)
	}
	if q.letters.count+newest-q.letters.newest <= int64(most) {
		return 0, nil
	}
	counts, total, err := q.countLetters(ctx)
	if err != nil {
		return 0, err
	}
	q.letters = letterCount{int64(total), newest}
	if total <= most {
		return 0, nil
	}
	for instance, excess := range queue.Excess(counts, most-most/100) {
		ids, err := q.oldestLetters(ctx, instance, excess)
		if err != nil {
			return removed, err
		}
		for batch := range slices.Chunk(ids, sweepBatch) {
			err := q.write(ctx, &write{frees: true, apply: func(t *tx) error {
				_, err := t.exec("DELETE FROM queue_letters WHERE id IN (SELECT value FROM json_each(?))", jsonList(batch))
				return err
			}})
			if err != nil {
				return removed, err
			}
			removed += int64(len(batch))
			q.letters.count -= int64(len(batch))
		}
	}
	return removed, nil
}

// oldestLetters returns the ids of the oldest dead letters of an instance. Finding them takes a while where there are
// many; the writer does not wait for it.
func (q *Queue) oldestLetters(ctx context.Context, instance string, n int) (ids []int64, err error) {
	rows, err := q.db.reading.QueryContext(ctx, "SELECT id FROM queue_letters WHERE instance = ? ORDER BY id LIMIT ?", instance, n)
	if err != nil {
		return nil, explain(q.db.config.Path, err)
	}
	defer rows.Close()
	for rows.Next() {
		var id int64
		if err := rows.Scan(&id); err != nil {
			return nil, explain(q.db.config.Path, err)
		}
		ids = append(ids, id)
	}
	return ids, explainUnlessNil(q.db.config.Path, rows.Err())
}

func (q *Queue) countLetters(ctx context.Context) (counts map[string]int, total int, err error) {
	rows, err := q.db.reading.QueryContext(ctx, "SELECT instance, count(*) FROM queue_letters GROUP BY instance")
	if err != nil {
		return nil, 0, explain(q.db.config.Path, err)
	}
	defer rows.Close()
	counts = map[string]int{}
	for rows.Next() {
		var instance string
		var n int
		if err := rows.Scan(&instance, &n); err != nil {
			return nil, 0, explain(q.db.config.Path, err)
		}
		counts[instance] = n
		total += n
	}
	return counts, total, explainUnlessNil(q.db.config.Path, rows.Err())
}

// sweepEvents passes over the events up to a seq: those that nobody waits for go.
func (q *Queue) sweepEvents(ctx context.Context, end int64) (removed int64, err error) {
	for from := q.past.start(); from < end; {
		to := min(from+sweepBatch, end)
		var n int64
		err := q.write(ctx, &write{
			frees: true,
			apply: func(t *tx) error {
				r, err := t.exec(`DELETE FROM queue_events WHERE seq > ? AND seq <= ?
					AND NOT EXISTS (SELECT 1 FROM queue_deliveries d WHERE d.seq = queue_events.seq)`, from, to)
				if err != nil {
					return err
				}
				if n, err = r.RowsAffected(); err != nil {
					return err
				}
				_, err = t.exec("INSERT INTO meta (key, value) VALUES (?, ?) ON CONFLICT DO UPDATE SET value = excluded.value", sweptKey, to)
				return err
			},
			after: func() { q.swept = to },
		})
		if err != nil {
			return removed, err
		}
		removed += n
		q.past.shrink(to)
		from = to
	}
	return removed, nil
}

// aging is a table whose oldest rows go.
type aging struct {
	table, at string
	age       time.Duration
	count     int
}

func (q *Queue) sweepOld(ctx context.Context, a aging) (removed int64, err error) {
	for {
		last, n, err := q.old(ctx, a)
		if err != nil || n == 0 {
			return removed, err
		}
		err = q.write(ctx, &write{frees: true, apply: func(t *tx) error {
			_, err := t.exec("DELETE FROM "+a.table+" WHERE id <= ?", last)
			return err
		}})
		if err != nil {
			return removed, err
		}
		removed += n
		if n < sweepBatch {
			return removed, nil
		}
	}
}

// old returns the last of the oldest rows that may go, a batch at most, and how many these are.
func (q *Queue) old(ctx context.Context, a aging) (last, n int64, err error) {
	rows, err := q.db.reading.QueryContext(ctx, fmt.Sprintf(
		"SELECT id, %s, (SELECT max(id) FROM %s) FROM %s ORDER BY id LIMIT ?", a.at, a.table, a.table), sweepBatch)
	if err != nil {
		return 0, 0, explain(q.db.config.Path, err)
	}
	defer rows.Close()
	cutoff := q.db.clock.now().Add(-a.age).UnixMilli()
	for rows.Next() {
		var id, at, newest int64
		if err := rows.Scan(&id, &at, &newest); err != nil {
			return 0, 0, explain(q.db.config.Path, err)
		}
		if id > newest-int64(a.count) && at >= cutoff && a.age > 0 {
			break
		}
		last = id
		n++
	}
	return last, n, explainUnlessNil(q.db.config.Path, rows.Err())
}

// past knows, without a look at the file, how far back the events go that Sweep has not passed over. A mark stands
// for many of them.
type past struct {
	mu sync.Mutex
	// mu guards the fields below.
	swept int64      // all up to here are done with
	marks []pastMark // in order
	bytes int64      // of the events of all marks
	seq   int64      // of the newest event
}

type pastMark struct {
	seq   int64 // of its last event
	at    time.Time
	count int64
	bytes int64
}

// markEvents is how many events share a mark at most, markAge for how long.
const (
	markEvents = 256
	markAge    = time.Second
)

// begin says what a file holds that was just opened. How old that is nobody knows; it counts as new.
func (p *past) begin(swept, seq int64) {
	p.swept, p.seq = swept, seq
	if seq > swept {
		p.marks = []pastMark{{seq: seq, at: time.Now(), count: markEvents}}
	}
}

// grow adds an event. Two that were committed in one batch may come in any order.
func (p *past) grow(seq, bytes int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	n := len(p.marks)
	if n == 0 || p.marks[n-1].count >= markEvents || now.Sub(p.marks[n-1].at) > markAge {
		p.marks = append(p.marks, pastMark{at: now})
		n++
	}
	m := &p.marks[n-1]
	p.seq = max(p.seq, seq)
	m.seq = p.seq
	m.count++
	m.bytes += bytes
	p.bytes += bytes
}

// end returns the seq up to which events may go.
func (p *past) end(r queue.Retention, now time.Time) int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	end, bytes := p.swept, p.bytes
	for _, m := range p.marks {
		if p.seq-end <= int64(r.Seen) && bytes <= int64(r.SeenBytes) && now.Sub(m.at) < r.SeenAge {
			break
		}
		end = m.seq
		bytes -= m.bytes
	}
	return end
}

// newest returns the seq of the newest event.
func (p *past) newest() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.seq
}

func (p *past) start() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.swept
}

// shrink says that events up to a seq were passed over.
func (p *past) shrink(to int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.swept = to
	for len(p.marks) > 0 && p.marks[0].seq <= to {
		p.bytes -= p.marks[0].bytes
		p.marks = p.marks[1:]
	}
}
