package deliveries

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/evosink/evosink/core/bus"
	"github.com/evosink/evosink/core/queue"
)

const (
	// sweepBatch is how many rows one transaction removes.
	sweepBatch = 1000
	// sweepLanes is how often lanes are removed in which nothing waits.
	sweepLanes = time.Hour
)

// Sweep implements [queue.Store]. Attempts are counted by their ids, which may have gaps: so many of the last ever
// written stay at most.
func (s *Store) Sweep(ctx context.Context, r queue.Retention) error {
	var seen bool
	_, err := s.db.One(ctx, "SELECT EXISTS (SELECT FROM @.queue_seen)", nil, &seen)
	if err == nil && seen {
		_, err = s.db.Write(ctx, "SELECT @.queue_sweep_seen($1 * interval '1 second', $2, $3)",
			[]any{r.SeenAge.Seconds(), int64(max(r.Seen, 0)), int64(max(r.SeenBytes, 0))})
	}
	if err == nil {
		err = s.sweepOld(ctx, "queue_letters", "died", r.LetterAge, 1<<62)
	}
	if err == nil {
		err = s.sweepOld(ctx, "queue_attempts", "at", r.AttemptAge, int64(max(r.Attempts, 0)))
	}
	if err == nil {
		err = s.sweepLetters(ctx, r)
	}
	if err == nil {
		_, err = s.db.Write(ctx, `DELETE FROM @.queue_jobs j WHERE j.at < clock_timestamp() - $1 * interval '1 second'
			AND NOT EXISTS (SELECT FROM @.queue_parts p WHERE p.job = j.id AND NOT p.done)`, []any{r.SeenAge.Seconds()})
	}
	if err == nil && s.timeForLanes() {
		for shard := 0; shard < s.Shards() && err == nil; shard++ {
			_, err = s.db.Write(ctx, "SELECT @.queue_sweep_lanes($1)", []any{shard})
		}
	}
	return err
}

// timeForLanes reports whether lanes were not swept for long, and notes that they are.
func (s *Store) timeForLanes() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if time.Since(s.swept) < sweepLanes {
		return false
	}
	s.swept = time.Now()
	return true
}

// sweepOld removes the oldest rows of a table, batch by batch: those beyond an age, and those that are not among the last
// count ids. With an age of 0 all are removed.
func (s *Store) sweepOld(ctx context.Context, table, at string, age time.Duration, count int64) error {
	for n := int64(sweepBatch); n == sweepBatch; {
		_, err := s.db.Write(ctx, fmt.Sprintf(`WITH gone AS (DELETE FROM @.%s WHERE id IN (
				SELECT id FROM (SELECT id, %s AS at FROM @.%s ORDER BY id LIMIT %d) AS oldest
				WHERE $1::double precision <= 0 OR at < clock_timestamp() - $1 * interval '1 second'
					OR id <= (SELECT max(id) FROM @.%s) - $2) RETURNING 1)
			SELECT count(*) FROM gone`, table, at, table, sweepBatch, table), []any{max(age.Seconds(), 0), count}, &n)
		if err != nil {
			return fmt.Errorf("sweep %s: %w", table, err)
		}
	}
	return nil
}

// sweepLetters removes the oldest dead letters of the instances that have most of them, or most bytes of them, if there
// are more than retention holds in all.
func (s *Store) sweepLetters(ctx context.Context, r queue.Retention) error {
	var count, bytes int64
	_, err := s.db.One(ctx, "SELECT count(*), coalesce(sum(size), 0)::bigint FROM @.queue_letters", nil, &count, &bytes)
	if err != nil || count <= int64(max(r.Letters, 0)) && (r.LetterBytes <= 0 || bytes <= r.LetterBytes) {
		return err
	}
	counts, sizes := map[string]int64{}, map[string]int64{}
	err = s.db.Each(ctx, func(rows pgx.Rows) error {
		var instance []byte
		var n, size int64
		err := rows.Scan(&instance, &n, &size)
		counts[string(instance)], sizes[string(instance)] = n, size
		return err
	}, "SELECT instance, count(*), sum(size)::bigint FROM @.queue_letters GROUP BY instance")
	if err != nil {
		return err
	}
	entries, excess := queue.Excess(counts, int64(max(r.Letters, 0))), map[string]int64{}
	if r.LetterBytes > 0 {
		excess = queue.Excess(sizes, r.LetterBytes)
	}
	for instance := range counts {
		if n, size := entries[instance], excess[instance]; n > 0 || size > 0 {
			if err := s.dropLetters(ctx, instance, n, size); err != nil {
				return fmt.Errorf("sweep dead letters: %w", err)
			}
		}
	}
	return nil
}

// dropLetters removes the oldest dead letters of an instance: so many of them, and so many bytes.
func (s *Store) dropLetters(ctx context.Context, instance string, count, bytes int64) error {
	_, err := s.db.Write(ctx, `DELETE FROM @.queue_letters WHERE id IN (
		SELECT id FROM (
			SELECT id, row_number() OVER (ORDER BY id) AS place, sum(size) OVER (ORDER BY id) - size AS before
			FROM @.queue_letters WHERE instance = $1) AS letters
		WHERE place <= $2 OR before < $3)`, []any{[]byte(instance), count, bytes})
	return err
}

// eraseBatch is how many rows one transaction erases.
const eraseBatch = 1000

// Erase implements [queue.Store]. The server overwrites what is gone when it needs its place.
func (s *Store) Erase(ctx context.Context, e bus.Erasure) (n queue.Erased, err error) {
	for _, of := range []struct {
		query, change string
		count         *int
	}{
		{"SELECT id, record FROM @.queue_letters WHERE instance = $1", "DELETE FROM @.queue_letters WHERE id = ANY($1)", &n.DeadLetters},
		{"SELECT id, record FROM @.queue_attempts WHERE instance = $1", "DELETE FROM @.queue_attempts WHERE id = ANY($1)", &n.Attempts},
		{
			"SELECT s.n, l.record FROM @.queue_seen s JOIN @.queue_lanes l ON l.id = s.lane WHERE l.instance = $1 AND " + waitsNowhere,
			"DELETE FROM @.queue_seen s WHERE s.n = ANY($1) AND " + waitsNowhere, &n.Remembered,
		},
		{
			"SELECT id, record FROM @.queue_lanes WHERE instance = $1 AND tried > 0",
			`UPDATE @.queue_lanes SET tried = 0, attempts = 0, first = NULL, last = NULL, next = NULL, error = ''
				WHERE id = ANY($1)`, new(int),
		},
	} {
		var ids []int64
		err := s.db.Each(ctx, func(rows pgx.Rows) error {
			var id int64
			var record []byte
			err := rows.Scan(&id, &record)
			if e.Has(string(record)) {
				ids = append(ids, id)
			}
			return err
		}, of.query, []byte(e.Instance))
		if err != nil {
			return n, err
		}
		for batch := range slices.Chunk(ids, eraseBatch) {
			var changed int
			_, err := s.db.Write(ctx, "WITH gone AS ("+of.change+" RETURNING 1) SELECT count(*) FROM gone", []any{batch}, &changed)
			if err != nil {
				return n, err
			}
			*of.count += changed
		}
	}
	return n, nil
}

const waitsNowhere = "NOT EXISTS (SELECT FROM @.queue_deliveries d WHERE d.lane = s.lane AND d.seq = s.seq)"
