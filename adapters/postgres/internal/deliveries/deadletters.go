package deliveries

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/evosink/evosink/adapters/internal/row"
	"github.com/evosink/evosink/core/bus"
	"github.com/evosink/evosink/core/queue"
)

// A letter scans a dead letter without its event's data.
type letter struct {
	lane
	event, name, reason, text []byte
	first, last               *time.Time
	queue.DeadLetter
}

const letterColumns = "id, sink, target, instance, record, scope, event, name, reason, attempts, first, last, error, died"

func (l *letter) columns() []any {
	return []any{
		&l.ID, &l.sink, &l.target, &l.instance, &l.record, &l.Scope, &l.event, &l.name, &l.reason, &l.Progress.Attempts,
		&l.first, &l.last, &l.text, &l.Died,
	}
}

// take returns what was scanned.
func (l *letter) take() queue.DeadLetter {
	l.LaneKey, l.Died = l.lane.key(), l.Died.UTC()
	l.EventID, l.EventName, l.Reason = string(l.event), string(l.name), queue.Reason(l.reason)
	l.First, l.Last, l.Error = utc(l.first), utc(l.last), string(l.text)
	return l.DeadLetter
}

// A condition is a WHERE clause with its arguments.
type condition struct {
	text string
	args []any
}

// and adds a condition on an argument, which stands in the place of "%".
func (c *condition) and(format string, arg any) {
	c.args = append(c.args, arg)
	c.text += " AND " + fmt.Sprintf(format, fmt.Sprint("$", len(c.args)))
}

func conditionOf(f queue.DeadLetterFilter) *condition {
	c := &condition{text: "true"}
	for _, part := range []struct{ column, value string }{
		{"sink", f.Sink}, {"target", string(f.Target)}, {"instance", f.Instance}, {"event", f.EventID},
		{"reason", string(f.Reason)},
	} {
		if part.value != "" {
			c.and(part.column+" = %s", []byte(part.value))
		}
	}
	if f.ID != 0 {
		c.and("id = %s", f.ID)
	}
	if f.Error != "" {
		c.and("position(%s::bytea IN error) > 0", []byte(f.Error))
	}
	return c
}

// DeadLetters implements [queue.DeadLetters].
func (s *Store) DeadLetters(
	ctx context.Context, f queue.DeadLetterFilter, p queue.Page,
) (out []queue.DeadLetter, err error) {
	c, order, behind := conditionOf(f), "ASC", "id > %s"
	if p.Newest {
		order, behind = "DESC", "id < %s"
	}
	if p.After != 0 {
		c.and(behind, p.After)
	}
	limit := p.Limit
	if limit <= 0 {
		limit = 100
	}
	err = s.db.Each(ctx, func(rows pgx.Rows) error {
		var l letter
		err := rows.Scan(l.columns()...)
		out = append(out, l.take())
		return err
	}, fmt.Sprintf("SELECT %s FROM @.queue_letters WHERE %s ORDER BY id %s LIMIT %d",
		letterColumns, c.text, order, limit), c.args...)
	if err != nil {
		return nil, err
	}
	return out, nil
}

// CountDeadLetters implements [queue.DeadLetters].
func (s *Store) CountDeadLetters(ctx context.Context, f queue.DeadLetterFilter) (n int, err error) {
	c := conditionOf(f)
	_, err = s.db.One(ctx, "SELECT count(*) FROM @.queue_letters WHERE "+c.text, c.args, &n)
	return n, err
}

// DeadLetter implements [queue.DeadLetters].
func (s *Store) DeadLetter(ctx context.Context, id int64) (queue.DeadLetter, error) {
	var l letter
	var r row.Row
	found, err := s.db.One(ctx, "SELECT "+letterColumns+", metadata, payload FROM @.queue_letters WHERE id = $1", []any{id},
		append(l.columns(), &r.Metadata, &r.Payload)...)
	if err != nil {
		return queue.DeadLetter{}, err
	}
	if !found {
		return queue.DeadLetter{}, queue.ErrNoDeadLetter
	}
	out := l.take()
	r.ID = out.EventID
	out.Event, err = eventOf(r, out.InstanceID)
	return out, err
}

// Requeue implements [queue.DeadLetters].
func (s *Store) Requeue(
	ctx context.Context, by bus.Lease, ids []int64, at time.Time,
) (out []queue.Requeued, err error) {
	l := columnsOf(by)
	var stale []int32
	err = s.db.WriteEach(ctx, func(rows pgx.Rows) error {
		var r queue.Requeued
		var of lane
		err := rows.Scan(&stale, &r.ID, &of.sink, &of.target, &of.instance, &of.record, &r.Scope, &r.Seq, &r.Bytes)
		r.LaneKey = of.key()
		out = append(out, r)
		return err
	}, "SELECT stale, id, sink, target, instance, record, scope, seq, size FROM @.queue_requeue($1, $2, $3, $4, $5)",
		l.groups, l.shards, l.epochs, append([]int64{}, ids...), at)
	if err == nil {
		err = l.refusal(stale)
	}
	if err != nil {
		return nil, err
	}
	return out, nil
}

// DeleteDeadLetters implements [queue.DeadLetters].
func (s *Store) DeleteDeadLetters(ctx context.Context, f queue.DeadLetterFilter, limit int) (n int, err error) {
	c := conditionOf(f)
	_, err = s.db.Write(ctx, fmt.Sprintf(`WITH gone AS (DELETE FROM @.queue_letters WHERE id IN (
			SELECT id FROM @.queue_letters WHERE %s ORDER BY id LIMIT %d) RETURNING 1)
		SELECT count(*) FROM gone`, c.text, limit), c.args, &n)
	return n, err
}
