package sqlite

import (
	"context"
	"database/sql"
	"fmt"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/evosink/evosink/core/bus"
	"github.com/evosink/evosink/core/event"
	"github.com/evosink/evosink/core/queue"
)

// A Queue implements [queue.Store] in the file of a [DB]. Its writes join the group commits of everything else.
//
// An event is a row of its own, apart from the log, and each delivery a small one that says lane and place; the order of rows is the order of
// the lane. Events delivered everywhere stay for a while, so that they can be absorbed when they come again; then [Queue.Sweep] passes over them. The
// point that it has reached is stored, so each row is passed over once: an event that waits then goes with its last delivery.
type Queue struct {
	db *DB

	// used by the writer only
	seq   int64 // the last one given out
	swept int64 // events up to here go with their last delivery

	lanes sync.Map // queue.Lane -> id of its row, once that is committed
	past  past
}

var _ queue.Store = (*Queue)(nil)

// Queue returns the file's store of deliveries, always the same.
func (db *DB) Queue() *Queue { return db.queue }

const sweptKey = "queue_swept"

func openQueue(ctx context.Context, conn *sql.Conn, db *DB) (*Queue, error) {
	q := &Queue{db: db}
	// A lane is kept for its progress; one in which nothing waits has none.
	_, err := conn.ExecContext(ctx, "DELETE FROM queue_lanes WHERE NOT EXISTS (SELECT 1 FROM queue_deliveries d WHERE d.lane = queue_lanes.id)")
	if err != nil {
		return nil, fmt.Errorf("remove empty lanes: %w", err)
	}
	err = conn.QueryRowContext(ctx, `SELECT coalesce((SELECT max(seq) FROM queue_events), 0),
		coalesce((SELECT value FROM meta WHERE key = ?), 0)`, sweptKey).Scan(&q.seq, &q.swept)
	if err != nil {
		return nil, fmt.Errorf("read the extent of the queue: %w", err)
	}
	q.seq = max(q.seq, q.swept)
	q.past.begin(q.swept, q.seq)
	rows, err := conn.QueryContext(ctx, "SELECT id, sink, target, instance FROM queue_lanes")
	if err != nil {
		return nil, fmt.Errorf("read the lanes: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var id int64
		var l queue.Lane
		if err := rows.Scan(&id, &l.Sink, &l.Target, &l.Instance); err != nil {
			return nil, fmt.Errorf("read the lanes: %w", err)
		}
		q.lanes.Store(l, id)
	}
	return q, rows.Err()
}

// write queues a change and waits for its commit.
func (q *Queue) write(ctx context.Context, w *write) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return q.db.writer.do(ctx, w)
}

// laneID returns the row of a lane in a transaction, which is made if there is none. Ids that are not committed yet go into fresh.
func (q *Queue) laneID(t *tx, l queue.Lane, fresh map[queue.Lane]int64) (id int64, err error) {
	if id, ok := q.lanes.Load(l); ok {
		return id.(int64), nil
	}
	found, err := t.row("SELECT id FROM queue_lanes WHERE sink = ? AND target = ? AND instance = ?",
		[]any{l.Sink, string(l.Target), l.Instance}, &id)
	if err != nil {
		return 0, err
	}
	if !found {
		r, err := t.exec("INSERT INTO queue_lanes (sink, target, instance) VALUES (?, ?, ?)", l.Sink, string(l.Target), l.Instance)
		if err != nil {
			return 0, err
		}
		if id, err = r.LastInsertId(); err != nil {
			return 0, err
		}
	}
	fresh[l] = id
	return id, nil
}

func (q *Queue) remember(fresh map[queue.Lane]int64) {
	for l, id := range fresh {
		q.lanes.Store(l, id)
	}
}

// known returns the row of a lane; ok is false if nothing was ever put there.
func (q *Queue) known(l queue.Lane) (id int64, ok bool) {
	v, ok := q.lanes.Load(l)
	if !ok {
		return 0, false
	}
	return v.(int64), true
}

// Lanes implements [queue.Store].
func (q *Queue) Lanes(ctx context.Context) (out []queue.Backlog, err error) {
	rows, err := q.db.reading.QueryContext(ctx, `
		SELECT l.sink, l.target, l.instance, h.scope, d.n, d.first, d.newest, e.at,
			l.tried, l.attempts, l.first, l.last, l.next, l.error
		FROM (SELECT lane, count(*) AS n, min(seq) AS first, max(seq) AS newest FROM queue_deliveries GROUP BY lane) d
		JOIN queue_lanes l ON l.id = d.lane
		JOIN queue_events e ON e.seq = d.first
		JOIN queue_deliveries h ON h.lane = d.lane AND h.seq = d.first`)
	if err != nil {
		return nil, explain(q.db.config.Path, err)
	}
	defer rows.Close()
	for rows.Next() {
		var b queue.Backlog
		var tried int64
		err := rows.Scan(&b.Sink, &b.Target, &b.Instance, &b.Scope, &b.Waiting, &b.First, &b.Newest, (*stamp)(&b.Oldest),
			&tried, &b.Head.Attempts, (*stamp)(&b.Head.First), (*stamp)(&b.Head.Last), (*stamp)(&b.Head.Next), &b.Head.Error)
		if err != nil {
			return nil, explain(q.db.config.Path, err)
		}
		if tried != b.First {
			b.Head = queue.Progress{}
		}
		out = append(out, b)
	}
	return out, explainUnlessNil(q.db.config.Path, rows.Err())
}

// Window implements [queue.Store].
func (q *Queue) Window(ctx context.Context, l queue.Lane, after, until int64, limit, bytes int) (out []queue.Item, err error) {
	id, ok := q.known(l)
	if !ok {
		return nil, nil
	}
	rows, err := q.db.reading.QueryContext(ctx, `
		SELECT d.seq, d.scope, e.at, e.id, e.metadata, e.payload FROM queue_deliveries d JOIN queue_events e ON e.seq = d.seq
		WHERE d.lane = ? AND d.seq > ? AND d.seq <= ? ORDER BY d.seq LIMIT ?`, id, after, until, limit)
	if err != nil {
		return nil, explain(q.db.config.Path, err)
	}
	defer rows.Close()
	for rows.Next() {
		var item queue.Item
		var s storedEvent
		if err := rows.Scan(&item.Seq, &item.Scope, (*stamp)(&item.At), &s.id, &s.metadata, &s.payload); err != nil {
			return nil, explain(q.db.config.Path, err)
		}
		if bytes -= len(s.payload); bytes < 0 && len(out) > 0 {
			break
		}
		if item.Event, err = s.event(); err != nil {
			return nil, damaged(q.db.config.Path, err)
		}
		out = append(out, item)
	}
	return out, explainUnlessNil(q.db.config.Path, rows.Err())
}

func explainUnlessNil(path string, err error) error {
	if err == nil {
		return nil
	}
	return explain(path, err)
}

// storedEvent is an event as its columns.
type storedEvent struct {
	id                string
	metadata, payload []byte
}

func encodeEvent(e *event.Event) storedEvent {
	m := bus.Message(e)
	payload := []byte(m.Payload)
	if payload == nil {
		payload = []byte{} // nil would be NULL
	}
	return storedEvent{e.ID, encodeMetadata(m.Metadata), payload}
}

func (s storedEvent) event() (*event.Event, error) {
	metadata, err := decodeMetadata(s.metadata)
	if err != nil {
		return nil, fmt.Errorf("event %s in the queue: %w", s.id, err)
	}
	m := message.NewMessage(s.id, s.payload)
	m.Metadata = metadata
	return bus.Event(m)
}

func (s storedEvent) bytes() int64 { return int64(len(s.metadata) + len(s.payload)) }

// A stamp scans Unix milliseconds; 0 is the zero time.
type stamp time.Time

// Scan implements [sql.Scanner].
func (s *stamp) Scan(v any) error {
	ms, ok := v.(int64)
	if !ok {
		return fmt.Errorf("%v is no time", v)
	}
	*s = stamp{}
	if ms != 0 {
		*s = stamp(time.UnixMilli(ms).UTC())
	}
	return nil
}

func millis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

// Attempts implements [queue.Store].
func (q *Queue) Attempts(ctx context.Context, eventID string) (out []queue.Attempt, err error) {
	rows, err := q.db.reading.QueryContext(ctx, `SELECT event, sink, target, instance, number, at, took, error, status, head
		FROM queue_attempts WHERE event = ? ORDER BY id`, eventID)
	if err != nil {
		return nil, explain(q.db.config.Path, err)
	}
	defer rows.Close()
	for rows.Next() {
		var a queue.Attempt
		if err := rows.Scan(&a.EventID, &a.Sink, &a.Target, &a.Instance, &a.Number, (*stamp)(&a.At), &a.Took, &a.Error, &a.Status, &a.Head); err != nil {
			return nil, explain(q.db.config.Path, err)
		}
		out = append(out, a)
	}
	return out, explainUnlessNil(q.db.config.Path, rows.Err())
}

// Pauses implements [queue.Store].
func (q *Queue) Pauses(ctx context.Context) (out []queue.Pause, err error) {
	rows, err := q.db.reading.QueryContext(ctx, "SELECT sink, target, instance, reason, at FROM queue_pauses")
	if err != nil {
		return nil, explain(q.db.config.Path, err)
	}
	defer rows.Close()
	for rows.Next() {
		var p queue.Pause
		if err := rows.Scan(&p.Sink, &p.Target, &p.Instance, &p.Reason, (*stamp)(&p.At)); err != nil {
			return nil, explain(q.db.config.Path, err)
		}
		out = append(out, p)
	}
	return out, explainUnlessNil(q.db.config.Path, rows.Err())
}

// PutPause implements [queue.Store].
func (q *Queue) PutPause(ctx context.Context, p queue.Pause) error {
	return q.write(ctx, &write{apply: func(t *tx) error {
		_, err := t.exec(`INSERT INTO queue_pauses (sink, target, instance, reason, at) VALUES (?, ?, ?, ?, ?)
			ON CONFLICT DO UPDATE SET reason = excluded.reason, at = excluded.at`,
			p.Sink, string(p.Target), p.Instance, p.Reason, millis(p.At))
		return err
	}})
}

// DeletePause implements [queue.Store].
func (q *Queue) DeletePause(ctx context.Context, s queue.Selector) error {
	return q.write(ctx, &write{apply: func(t *tx) error {
		_, err := t.exec("DELETE FROM queue_pauses WHERE sink = ? AND target = ? AND instance = ?", s.Sink, string(s.Target), s.Instance)
		return err
	}})
}
