package deliveries

import (
	"context"
	"database/sql"
	"errors"
	"strings"
	"time"

	"github.com/evosink/evosink/core/queue"
)

const letterColumns = "id, sink, target, instance, instance_id, scope, event, name, reason, attempts, first, last, error, died"

// condition returns the WHERE clause of a filter.
func condition(f queue.DeadLetterFilter) (where string, args []any) {
	parts := []string{"1"}
	equal := func(column, value string) {
		if value != "" {
			parts, args = append(parts, column+" = ?"), append(args, value)
		}
	}
	equal("sink", f.Sink)
	equal("target", string(f.Target))
	equal("instance", f.Instance)
	equal("event", f.EventID)
	equal("reason", string(f.Reason))
	if f.ID != 0 {
		parts, args = append(parts, "id = ?"), append(args, f.ID)
	}
	if f.Error != "" {
		parts, args = append(parts, "instr(error, ?) > 0"), append(args, f.Error)
	}
	return strings.Join(parts, " AND "), args
}

// DeadLetters implements [queue.DeadLetters].
func (q *Queue) DeadLetters(ctx context.Context, f queue.DeadLetterFilter, p queue.Page) (out []queue.DeadLetter, err error) {
	where, args := condition(f)
	order, behind := "ASC", " AND id > ?"
	if p.Newest {
		order, behind = "DESC", " AND id < ?"
	}
	if p.After != 0 {
		where, args = where+behind, append(args, p.After)
	}
	limit := p.Limit
	if limit <= 0 {
		limit = 100
	}
	rows, err := q.db.reading.QueryContext(ctx, "SELECT "+letterColumns+" FROM queue_letters WHERE "+where+" ORDER BY id "+order+" LIMIT ?",
		append(args, limit)...)
	if err != nil {
		return nil, explain(q.db.config.Path, err)
	}
	defer rows.Close()
	for rows.Next() {
		l, err := scanLetter(rows.Scan)
		if err != nil {
			return nil, explain(q.db.config.Path, err)
		}
		out = append(out, l)
	}
	return out, explainUnlessNil(q.db.config.Path, rows.Err())
}

func scanLetter(scan func(...any) error, more ...any) (l queue.DeadLetter, err error) {
	err = scan(append([]any{
		&l.ID, &l.Sink, &l.Target, &l.Instance, &l.InstanceID, &l.Scope, &l.EventID, &l.EventName, &l.Reason, &l.Progress.Attempts,
		(*stamp)(&l.First), (*stamp)(&l.Last), &l.Error, (*stamp)(&l.Died),
	}, more...)...)
	return l, err
}

// CountDeadLetters implements [queue.DeadLetters].
func (q *Queue) CountDeadLetters(ctx context.Context, f queue.DeadLetterFilter) (n int, err error) {
	where, args := condition(f)
	err = q.db.reading.QueryRowContext(ctx, "SELECT count(*) FROM queue_letters WHERE "+where, args...).Scan(&n)
	return n, explainUnlessNil(q.db.config.Path, err)
}

// DeadLetter implements [queue.DeadLetters].
func (q *Queue) DeadLetter(ctx context.Context, id int64) (queue.DeadLetter, error) {
	var s storedEvent
	row := q.db.reading.QueryRowContext(ctx, "SELECT "+letterColumns+", metadata, payload FROM queue_letters WHERE id = ?", id)
	l, err := scanLetter(row.Scan, &s.metadata, &s.payload)
	if errors.Is(err, sql.ErrNoRows) {
		return l, queue.ErrNoDeadLetter
	}
	if err != nil {
		return l, explain(q.db.config.Path, err)
	}
	s.id = l.EventID
	if l.Event, err = s.event(); err != nil {
		return l, damaged(q.db.config.Path, err)
	}
	l.Event.InstanceID = l.InstanceID
	return l, nil
}

// Requeue implements [queue.DeadLetters].
func (q *Queue) Requeue(ctx context.Context, ids []int64, at time.Time) (out []queue.Requeued, err error) {
	var changes roster
	err = q.write(ctx, &write{
		apply: func(t *tx) error {
			out, changes = nil, roster{queue: q}
			for _, id := range ids {
				r, found, err := q.revive(t, id, at, &changes)
				if err != nil {
					return err
				}
				if found {
					out = append(out, r)
				}
			}
			return nil
		},
		after: func() {
			changes.commit()
			for _, r := range out {
				q.past.grow(r.Seq, 0)
			}
		},
	})
	return out, err
}

func (q *Queue) revive(t *tx, id int64, at time.Time, changes *roster) (r queue.Requeued, found bool, err error) {
	r.ID = id
	found, err = t.row("SELECT sink, target, instance, instance_id, scope FROM queue_letters WHERE id = ?", []any{id},
		&r.Sink, &r.Target, &r.Instance, &r.InstanceID, &r.Scope)
	if err != nil || !found {
		return r, false, err
	}
	q.seq++
	r.Seq = q.seq
	_, err = t.exec(`INSERT INTO queue_events (seq, instance, id, name, at, copy, lanes, metadata, payload)
		SELECT ?, instance, event, name, ?, 1, x'', metadata, payload FROM queue_letters WHERE id = ?`, r.Seq, at.UnixMilli(), id)
	if err != nil {
		return r, false, err
	}
	if err := changes.deliver(t, r.LaneKey, r.Seq, r.Scope, false); err != nil {
		return r, false, err
	}
	_, err = t.exec("DELETE FROM queue_letters WHERE id = ?", id)
	return r, true, err
}

// DeleteDeadLetters implements [queue.DeadLetters].
func (q *Queue) DeleteDeadLetters(ctx context.Context, f queue.DeadLetterFilter, limit int) (int, error) {
	where, args := condition(f)
	var erased int64
	err := q.write(ctx, &write{frees: true, apply: func(t *tx) error {
		r, err := t.exec("DELETE FROM queue_letters WHERE id IN (SELECT id FROM queue_letters WHERE "+where+" ORDER BY id LIMIT ?)", append(args, limit)...)
		if err != nil {
			return err
		}
		erased, err = r.RowsAffected()
		return err
	}})
	if err != nil {
		return 0, err
	}
	return int(erased), nil
}
