package sqlite

import (
	"context"
	"time"

	"github.com/evosink/evosink/core/queue"
)

// Settle implements [queue.Store].
func (q *Queue) Settle(ctx context.Context, outcomes []queue.Outcome) error {
	var bytes int64
	for _, o := range outcomes {
		if bytes += 64; o.Attempt != nil {
			bytes += int64(len(o.Attempt.Head)) + 256
		}
	}
	return q.write(ctx, &write{bytes: bytes, apply: func(t *tx) error {
		for _, o := range outcomes {
			if err := q.settle(t, o); err != nil {
				return err
			}
		}
		return nil
	}})
}

func (q *Queue) settle(t *tx, o queue.Outcome) error {
	if o.Attempt != nil {
		if err := logAttempt(t, o.Attempt); err != nil {
			return err
		}
	}
	lane, ok := q.known(o.Lane)
	if !ok {
		return nil
	}
	switch o.Result {
	case queue.Again:
		_, err := t.exec("UPDATE queue_lanes SET tried = ?, attempts = ?, first = ?, last = ?, next = ?, error = ? WHERE id = ?",
			o.Seq, o.Progress.Attempts, millis(o.Progress.First), millis(o.Progress.Last), millis(o.Progress.Next), o.Progress.Error, lane)
		return err
	case queue.Buried:
		if err := q.bury(t, lane, o); err != nil {
			return err
		}
	}
	if _, err := t.exec("DELETE FROM queue_deliveries WHERE lane = ? AND seq = ?", lane, o.Seq); err != nil {
		return err
	}
	return q.release(t, o.Seq)
}

// release removes an event that nothing waits for any more, if it need not be absorbed either.
func (q *Queue) release(t *tx, seq int64) error {
	if seq > q.swept {
		return nil
	}
	_, err := t.exec("DELETE FROM queue_events WHERE seq = ?1 AND NOT EXISTS (SELECT 1 FROM queue_deliveries WHERE seq = ?1)", seq)
	return err
}

// insertLetters begins a statement that makes dead letters of deliveries d with events e in lane l.
const insertLetters = `INSERT INTO queue_letters
	(sink, target, instance, scope, event, name, reason, attempts, first, last, error, died, metadata, payload) `

func (q *Queue) bury(t *tx, lane int64, o queue.Outcome) error {
	p := o.Progress
	_, err := t.exec(insertLetters+`
		SELECT ?, ?, ?, d.scope, e.id, e.name, ?, ?, ?, ?, ?, ?, e.metadata, e.payload
		FROM queue_deliveries d JOIN queue_events e ON e.seq = d.seq WHERE d.lane = ? AND d.seq = ?`,
		o.Lane.Sink, string(o.Lane.Target), o.Lane.Instance, string(o.Reason), p.Attempts, millis(p.First), millis(p.Last), p.Error,
		time.Now().UnixMilli(), lane, o.Seq)
	return err
}

func logAttempt(t *tx, a *queue.Attempt) error {
	_, err := t.exec(`INSERT INTO queue_attempts (event, sink, target, instance, number, at, took, error, status, head)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`, a.EventID, a.Sink, string(a.Target), a.Instance, a.Number, millis(a.At), int64(a.Took),
		a.Error, a.Status, a.Head)
	return err
}

// Clear implements [queue.Store].
func (q *Queue) Clear(ctx context.Context, c queue.Clearing) (n int, err error) {
	lane, ok := q.known(c.Lane)
	if !ok {
		return 0, ctx.Err()
	}
	err = q.write(ctx, &write{apply: func(t *tx) error {
		n, err = q.clear(t, lane, c)
		return err
	}})
	if err != nil {
		return 0, err
	}
	return n, nil
}

// chosen are the deliveries that a clearing removes, once their last seq is known.
func chosen(droppable bool) string {
	if droppable {
		return "d.lane = ? AND d.seq > ? AND d.seq <= ? AND d.droppable = 1"
	}
	return "d.lane = ? AND d.seq > ? AND d.seq <= ?"
}

func (q *Queue) clear(t *tx, lane int64, c queue.Clearing) (n int, err error) {
	where := chosen(c.Droppable)
	var last int64
	_, err = t.row("SELECT count(*), coalesce(max(seq), 0) FROM (SELECT d.seq FROM queue_deliveries d WHERE "+where+" ORDER BY d.seq LIMIT ?)",
		[]any{lane, c.After, c.Until, c.Max}, &n, &last)
	if err != nil || n == 0 {
		return 0, err
	}
	if c.Reason != "" {
		_, err = t.exec(insertLetters+`
			SELECT l.sink, l.target, l.instance, d.scope, e.id, e.name, ?, iif(l.tried = d.seq, l.attempts, 0), iif(l.tried = d.seq, l.first, 0),
				iif(l.tried = d.seq, l.last, 0), iif(l.tried = d.seq, l.error, ''), ?, e.metadata, e.payload
			FROM queue_deliveries d JOIN queue_events e ON e.seq = d.seq JOIN queue_lanes l ON l.id = d.lane WHERE `+where+" ORDER BY d.seq",
			string(c.Reason), time.Now().UnixMilli(), lane, c.After, last)
		if err != nil {
			return 0, err
		}
	}
	_, err = t.exec("DELETE FROM queue_events WHERE seq <= ? AND seq IN (SELECT d.seq FROM queue_deliveries d WHERE "+where+`)
		AND NOT EXISTS (SELECT 1 FROM queue_deliveries o WHERE o.seq = queue_events.seq AND o.lane <> ?)`, q.swept, lane, c.After, last, lane)
	if err != nil {
		return 0, err
	}
	_, err = t.exec("DELETE FROM queue_deliveries AS d WHERE "+where, lane, c.After, last)
	return n, err
}
