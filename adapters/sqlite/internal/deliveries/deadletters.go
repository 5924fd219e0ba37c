package deliveries

import (
	"context"
	"database/sql"
	"strings"
	"time"

	"github.com/evosink/evosink/adapters/internal/row"
	"github.com/evosink/evosink/adapters/sqlite/internal/file"
	"github.com/evosink/evosink/core/bus"
	"github.com/evosink/evosink/core/queue"
)

// insertDeadLetters begins the statements by which deliveries become dead letters: in Put, if a lane refuses them; in
// Record, if they have failed for good; in Purge, if it names a reason.
const insertDeadLetters = `INSERT INTO queue_letters (sink, target, instance, instance_id,
	scope, event, name, reason, attempts, first, last, error, died, size, metadata, payload) `

const deadLetterColumns = `id, sink, target, instance, instance_id,
	scope, event, name, reason, attempts, first, last, error, died`

// columns returns where the columns of a dead letter are scanned to.
func columns(l *queue.DeadLetter) []any {
	return []any{
		&l.ID, &l.Sink, &l.Target, &l.Instance, &l.InstanceID, &l.Scope, &l.EventID, &l.EventName, &l.Reason,
		&l.Progress.Attempts, (*file.UnixMilli)(&l.First), (*file.UnixMilli)(&l.Last), &l.Error, (*file.UnixMilli)(&l.Died),
	}
}

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
func (s *Store) DeadLetters(
	ctx context.Context, f queue.DeadLetterFilter, p queue.Page,
) (out []queue.DeadLetter, err error) {
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
	err = s.file.Each(ctx, func(rows *sql.Rows) error {
		var l queue.DeadLetter
		err := rows.Scan(columns(&l)...)
		out = append(out, l)
		return err
	}, "SELECT "+deadLetterColumns+" FROM queue_letters WHERE "+where+" ORDER BY id "+order+" LIMIT ?",
		append(args, limit)...)
	return out, err
}

// CountDeadLetters implements [queue.DeadLetters].
func (s *Store) CountDeadLetters(ctx context.Context, f queue.DeadLetterFilter) (n int, err error) {
	where, args := condition(f)
	_, err = s.file.One(ctx, "SELECT count(*) FROM queue_letters WHERE "+where, args, &n)
	return n, err
}

// DeadLetter implements [queue.DeadLetters].
func (s *Store) DeadLetter(ctx context.Context, id int64) (l queue.DeadLetter, err error) {
	var r row.Row
	found, err := s.file.One(ctx, "SELECT "+deadLetterColumns+", metadata, payload FROM queue_letters WHERE id = ?",
		[]any{id}, append(columns(&l), &r.Metadata, &r.Payload)...)
	if err != nil {
		return l, err
	}
	if !found {
		return l, queue.ErrNoDeadLetter
	}
	r.ID = l.EventID
	l.Event, err = s.event(r, l.InstanceID)
	return l, err
}

// Requeue implements [queue.DeadLetters].
func (s *Store) Requeue(
	ctx context.Context, l bus.Lease, ids []int64, at time.Time,
) (out []queue.Requeued, err error) {
	if err := fence(l); err != nil {
		return nil, err
	}
	var p pending
	err = s.file.Write(ctx, &file.Write{
		Apply: func(t *file.Tx) error {
			out, p = nil, pending{store: s}
			for _, id := range ids {
				r, found, err := s.requeue(t, id, at, &p)
				if err != nil {
					return err
				}
				if found {
					out = append(out, r)
				}
			}
			return nil
		},
		After: func() { p.commit() },
	})
	return out, err
}

// requeue makes a dead letter an event with one delivery, at the end of its lane.
func (s *Store) requeue(t *file.Tx, id int64, at time.Time, p *pending) (r queue.Requeued, found bool, err error) {
	r.ID = id
	found, err = t.Row("SELECT sink, target, instance, instance_id, scope, size FROM queue_letters WHERE id = ?", []any{id},
		&r.Sink, &r.Target, &r.Instance, &r.InstanceID, &r.Scope, &r.Bytes)
	if err != nil || !found {
		return r, false, err
	}
	s.seq++
	r.Seq = s.seq
	_, err = t.Exec(`INSERT INTO queue_events (seq, instance, id, name, at, copy, lanes, metadata, payload)
		SELECT ?, instance, event, name, ?, 1, x'', metadata, payload FROM queue_letters WHERE id = ?`,
		r.Seq, at.UnixMilli(), id)
	if err != nil {
		return r, false, err
	}
	if err := p.deliver(t, r.LaneKey, r.Seq, r.Bytes, r.Scope, false); err != nil {
		return r, false, err
	}
	_, err = t.Exec("DELETE FROM queue_letters WHERE id = ?", id)
	return r, true, err
}

// DeleteDeadLetters implements [queue.DeadLetters].
func (s *Store) DeleteDeadLetters(ctx context.Context, f queue.DeadLetterFilter, limit int) (int, error) {
	where, args := condition(f)
	var deleted int64
	err := s.file.Write(ctx, &file.Write{Frees: true, Apply: func(t *file.Tx) error {
		r, err := t.Exec("DELETE FROM queue_letters WHERE id IN (SELECT id FROM queue_letters WHERE "+where+
			" ORDER BY id LIMIT ?)", append(args, limit)...)
		if err != nil {
			return err
		}
		deleted, err = r.RowsAffected()
		return err
	}})
	if err != nil {
		return 0, err
	}
	return int(deleted), nil
}
