package deliveries

import (
	"context"
	"time"

	"github.com/evosink/evosink/core/queue"
)

// Record implements [queue.Store].
func (q *Queue) Record(ctx context.Context, outcomes []queue.Result) error {
	var bytes int64
	for _, o := range outcomes {
		if bytes += 64; o.Attempt != nil {
			bytes += int64(len(o.Attempt.Head)) + 256
		}
	}
	return q.write(ctx, &write{
		bytes: bytes, frees: true,
		apply: func(t *tx) error {
			for _, o := range outcomes {
				if err := q.settle(t, o); err != nil {
					return err
				}
			}
			return nil
		},
		after: func() {
			for _, o := range outcomes {
				if line := q.lineup(o.Lane); line != nil && o.Kind != queue.Retry {
					line.remove(o.Seq)
				}
			}
		},
	})
}

func (q *Queue) settle(t *tx, o queue.Result) error {
	if o.Attempt != nil && !t.writer.low.Load() { // on a full disk the outcome is what matters
		if err := logAttempt(t, o.Attempt); err != nil {
			return err
		}
	}
	line := q.lineup(o.Lane)
	if line == nil {
		return nil
	}
	switch o.Kind {
	case queue.Retry:
		_, err := t.exec("UPDATE queue_lanes SET tried = ?, attempts = ?, first = ?, last = ?, next = ?, error = ? WHERE id = ?",
			o.Seq, o.Progress.Attempts, millis(o.Progress.First), millis(o.Progress.Last), millis(o.Progress.Next), o.Progress.Error, line.id)
		return err
	case queue.DeadLettered:
		if err := q.bury(t, line.id, o); err != nil {
			return err
		}
	}
	if _, err := t.exec("DELETE FROM queue_deliveries WHERE seq = ? AND lane = ?", o.Seq, line.id); err != nil {
		return err
	}
	return q.release(t, o.Seq)
}

// release removes an event that nothing waits for any more, if it need not be absorbed either; on a full disk it is
// not.
func (q *Queue) release(t *tx, seq int64) error {
	if seq > q.swept && !t.writer.low.Load() {
		return nil
	}
	_, err := t.exec("DELETE FROM queue_events WHERE seq = ?1 AND NOT EXISTS (SELECT 1 FROM queue_deliveries WHERE seq = ?1)", seq)
	return err
}

// insertLetters begins a statement that makes dead letters of deliveries d with events e in lane l.
const insertLetters = `INSERT INTO queue_letters
	(sink, target, instance, instance_id, scope, event, name, reason, attempts, first, last, error, died, metadata, payload) `

func (q *Queue) bury(t *tx, lane int64, o queue.Result) error {
	p := o.Progress
	_, err := t.exec(insertLetters+`
		SELECT ?, ?, ?, ?, d.scope, e.id, e.name, ?, ?, ?, ?, ?, ?, e.metadata, e.payload
		FROM queue_deliveries d JOIN queue_events e ON e.seq = d.seq WHERE d.lane = ? AND d.seq = ?`,
		o.Lane.Sink, string(o.Lane.Target), o.Lane.Instance, o.Lane.InstanceID, string(o.Reason), p.Attempts, millis(p.First), millis(p.Last), p.Error,
		time.Now().UnixMilli(), lane, o.Seq)
	return err
}

func logAttempt(t *tx, a *queue.Attempt) error {
	_, err := t.exec(`INSERT INTO queue_attempts (event, sink, target, instance, instance_id, number, at, took, error, status, head)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`, a.EventID, a.Sink, string(a.Target), a.Instance, a.InstanceID, a.Number, millis(a.At), int64(a.Took),
		a.Error, a.Status, a.Head)
	return err
}

// Purge implements [queue.Store].
func (q *Queue) Purge(ctx context.Context, c queue.PurgeRequest) (int, error) {
	line := q.lineup(c.Lane)
	if line == nil {
		return 0, ctx.Err()
	}
	var seqs []int64
	err := q.write(ctx, &write{
		frees: true,
		apply: func(t *tx) error {
			seqs = line.choose(c)
			return q.clear(t, line.id, seqs, c.Reason)
		},
		after: func() {
			for _, seq := range seqs {
				line.remove(seq)
			}
		},
	})
	if err != nil {
		return 0, err
	}
	return len(seqs), nil
}

func (q *Queue) clear(t *tx, lane int64, seqs []int64, why queue.Reason) error {
	list := jsonList(seqs)
	if why != "" {
		_, err := t.exec(insertLetters+`
			SELECT l.sink, l.target, l.instance, l.instance_id, d.scope, e.id, e.name, ?, iif(l.tried = d.seq, l.attempts, 0), iif(l.tried = d.seq, l.first, 0),
				iif(l.tried = d.seq, l.last, 0), iif(l.tried = d.seq, l.error, ''), ?, e.metadata, e.payload
			FROM json_each(?) j CROSS JOIN queue_deliveries d ON d.seq = j.value AND d.lane = ?
				CROSS JOIN queue_events e ON e.seq = d.seq CROSS JOIN queue_lanes l ON l.id = d.lane`,
			string(why), time.Now().UnixMilli(), list, lane)
		if err != nil {
			return err
		}
	}
	if _, err := t.exec("DELETE FROM queue_deliveries WHERE seq IN (SELECT value FROM json_each(?)) AND lane = ?", list, lane); err != nil {
		return err
	}
	_, err := t.exec(`DELETE FROM queue_events WHERE seq IN (SELECT value FROM json_each(?)) AND seq <= ?
		AND NOT EXISTS (SELECT 1 FROM queue_deliveries d WHERE d.seq = queue_events.seq)`, list, q.swept)
	return err
}
