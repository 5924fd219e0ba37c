package deliveries

import (
	"context"
	"database/sql"
	"math"
	"time"

	"github.com/evosink/evosink/adapters/sqlite/internal/file"
	"github.com/evosink/evosink/core/bus"
	"github.com/evosink/evosink/core/queue"
)

// Record implements [queue.Store].
func (s *Store) Record(ctx context.Context, leases []bus.Lease, results []queue.Result) error {
	if err := fence(leases...); err != nil {
		return err
	}
	w := &file.Write{Frees: true}
	for _, r := range results {
		if w.Bytes += 64; r.Attempt != nil {
			w.Bytes += int64(len(r.Attempt.Head)) + 256
		}
	}
	lanes := make([]*lane, len(results))
	w.Apply = func(t *file.Tx) error {
		for i := range results {
			r := &results[i]
			lanes[i] = s.lane(r.Lane)
			if err := s.recordResult(t, lanes[i], r); err != nil {
				return err
			}
		}
		return nil
	}
	w.After = func() {
		for i, lane := range lanes {
			if r := &results[i]; lane != nil && r.Kind != queue.Retry {
				lane.remove(r.Seq)
			}
		}
	}
	return s.file.Write(ctx, w)
}

// recordResult logs the attempt, and notes when the delivery is tried again, or ends it: it may become a dead letter,
// and its event goes with the last delivery unless it has to stay to be absorbed. On a full disk attempts are not
// logged, and events do not stay for that.
func (s *Store) recordResult(t *file.Tx, lane *lane, r *queue.Result) error {
	if a := r.Attempt; a != nil && !t.DiskFull() {
		_, err := t.Exec(`INSERT INTO queue_attempts
			(event, sink, target, instance, instance_id, number, at, took, error, status, head)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`, a.EventID, a.Sink, string(a.Target), a.Instance, a.InstanceID, a.Number,
			file.Milli(a.At), int64(a.Took), a.Error, a.Status, a.Head)
		if err != nil {
			return err
		}
	}
	if lane == nil {
		return nil
	}
	p := r.Progress
	switch r.Kind {
	case queue.Retry:
		_, err := t.Exec(`UPDATE queue_lanes SET tried = ?, attempts = ?, first = ?, last = ?, next = ?, error = ?
			WHERE id = ?`, r.Seq, p.Attempts, file.Milli(p.First), file.Milli(p.Last), file.Milli(p.Next), p.Error, lane.id)
		return err
	case queue.DeadLettered:
		_, err := t.Exec(insertDeadLetters+`
			SELECT ?, ?, ?, ?, d.scope, e.id, e.name, ?, ?, ?, ?, ?, ?, d.size, e.metadata, e.payload
			FROM queue_deliveries d JOIN queue_events e ON e.seq = d.seq WHERE d.lane = ? AND d.seq = ?`,
			r.Lane.Sink, string(r.Lane.Target), r.Lane.Instance, r.Lane.InstanceID, string(r.Reason), p.Attempts,
			file.Milli(p.First), file.Milli(p.Last), p.Error, time.Now().UnixMilli(), lane.id, r.Seq)
		if err != nil {
			return err
		}
	}
	if _, err := t.Exec("DELETE FROM queue_deliveries WHERE seq = ? AND lane = ?", r.Seq, lane.id); err != nil {
		return err
	}
	_, err := t.Exec(`DELETE FROM queue_events WHERE seq = ?1 AND (copy = 1 OR seq <= ?2)
		AND NOT EXISTS (SELECT 1 FROM queue_deliveries WHERE seq = ?1)`, r.Seq, s.forgets(t))
	return err
}

// forgets returns the seq up to which events need not stay to be absorbed.
func (s *Store) forgets(t *file.Tx) int64 {
	if t.DiskFull() {
		return math.MaxInt64
	}
	return s.swept
}

// Attempts implements [queue.Store].
func (s *Store) Attempts(ctx context.Context, eventID string) (out []queue.Attempt, err error) {
	err = s.file.Each(ctx, func(rows *sql.Rows) error {
		var a queue.Attempt
		err := rows.Scan(&a.EventID, &a.Sink, &a.Target, &a.Instance, &a.InstanceID, &a.Number, (*file.UnixMilli)(&a.At),
			&a.Took, &a.Error, &a.Status, &a.Head)
		out = append(out, a)
		return err
	}, `SELECT event, sink, target, instance, instance_id, number, at, took, error, status, head
		FROM queue_attempts WHERE event = ? ORDER BY id`, eventID)
	return out, err
}

// Purge implements [queue.Store].
func (s *Store) Purge(ctx context.Context, l bus.Lease, c queue.PurgeRequest) (out queue.Purged, err error) {
	if err := fence(l); err != nil {
		return out, err
	}
	lane := s.lane(c.Lane)
	if lane == nil {
		return out, ctx.Err()
	}
	var seqs []int64
	err = s.file.Write(ctx, &file.Write{
		Frees: true,
		Apply: func(t *file.Tx) error {
			seqs = lane.between(c.After, c.Until, c.Max, c.Droppable)
			list := file.List(seqs)
			_, err := t.Row(`SELECT coalesce(sum(size), 0) FROM queue_deliveries
				WHERE seq IN (SELECT value FROM json_each(?)) AND lane = ?`, []any{list, lane.id}, &out.Bytes)
			if err != nil {
				return err
			}
			if c.Reason != "" {
				_, err := t.Exec(insertDeadLetters+`
					SELECT l.sink, l.target, l.instance, l.instance_id, d.scope, e.id, e.name, ?,
						iif(l.tried = d.seq, l.attempts, 0), iif(l.tried = d.seq, l.first, 0), iif(l.tried = d.seq, l.last, 0),
						iif(l.tried = d.seq, l.error, ''), ?, d.size, e.metadata, e.payload
					FROM json_each(?) j CROSS JOIN queue_deliveries d ON d.seq = j.value AND d.lane = ?
						CROSS JOIN queue_events e ON e.seq = d.seq CROSS JOIN queue_lanes l ON l.id = d.lane`,
					string(c.Reason), time.Now().UnixMilli(), list, lane.id)
				if err != nil {
					return err
				}
			}
			remove := func() error {
				_, err := t.Exec("DELETE FROM queue_deliveries WHERE seq IN (SELECT value FROM json_each(?)) AND lane = ?",
					list, lane.id)
				if err != nil {
					return err
				}
				_, err = t.Exec(`DELETE FROM queue_events
					WHERE seq IN (SELECT value FROM json_each(?)) AND (copy = 1 OR seq <= ?)
					AND NOT EXISTS (SELECT 1 FROM queue_deliveries d WHERE d.seq = queue_events.seq)`, list, s.swept)
				return err
			}
			if c.Overwrite {
				return t.Overwriting(remove)
			}
			return remove()
		},
		After: func() {
			for _, seq := range seqs {
				lane.remove(seq)
			}
		},
	})
	if err != nil {
		return queue.Purged{}, err
	}
	out.Count = len(seqs)
	return out, nil
}
