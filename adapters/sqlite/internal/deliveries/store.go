package deliveries

import (
	"context"
	"database/sql"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/evosink/evosink/core/queue"
	"github.com/evosink/evosink/core/sink"
)

// A Queue implements [queue.Store] in the file of a [DB]. Its writes join the group commits of everything else.
//
// An event is a row of its own, apart from the log, and each delivery a small one that says seq and lane; the order of seqs is the order of every
// lane. Both grow at their ends only, so that a commit writes few pages however many lanes it is for. Which deliveries a lane has is known
// in memory, 8 bytes for each, see [lineup]; the file has no index for that.
//
// Events delivered everywhere stay for a while, so that they can be absorbed when they come again; then [Queue.Sweep] passes over them. The
// point that it has reached is stored, so each row is passed over once: an event that waits then goes with its last delivery.
type Queue struct {
	db *DB

	// used by the writer only
	seq   int64 // the last one given out
	swept int64 // events up to here go with their last delivery

	sweepingLetters sync.Mutex
	letters         letterCount // guarded by sweepingLetters

	lineups sync.Map // queue.LaneKey -> *lineup, once its row is committed
	past    past
}

var _ queue.Store = (*Queue)(nil)

// Queue returns the file's store of deliveries, always the same.
func (db *DB) Queue() *Queue { return db.queue }

const sweptKey = "queue_swept"

func openQueue(ctx context.Context, conn *sql.Conn, db *DB) (*Queue, error) {
	q := &Queue{db: db}
	err := conn.QueryRowContext(ctx, `SELECT coalesce((SELECT max(seq) FROM queue_events), 0),
		coalesce((SELECT value FROM meta WHERE key = ?), 0)`, sweptKey).Scan(&q.seq, &q.swept)
	if err != nil {
		return nil, fmt.Errorf("read the extent of the queue: %w", err)
	}
	q.seq = max(q.seq, q.swept)
	q.past.begin(q.swept, q.seq)
	if err := q.loadLineups(ctx, conn); err != nil {
		return nil, fmt.Errorf("read the lanes of the queue: %w", err)
	}
	return q, nil
}

// write queues a change and waits for its commit.
func (q *Queue) write(ctx context.Context, w *write) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return q.db.writer.do(ctx, w)
}

// Lanes implements [queue.Store].
func (q *Queue) Lanes(ctx context.Context) ([]queue.Backlog, error) {
	out, err := q.backlog(ctx)
	for begin := 0; begin < len(out) && err == nil; begin += describeAtOnce {
		err = q.describe(ctx, out[begin:min(begin+describeAtOnce, len(out))])
	}
	return out, err
}

// backlog returns the lanes without what only their first deliveries tell.
func (q *Queue) backlog(ctx context.Context) (out []queue.Backlog, err error) {
	rows, err := q.db.reading.QueryContext(ctx, "SELECT sink, target, instance, instance_id, tried, attempts, first, last, next, error FROM queue_lanes")
	if err != nil {
		return nil, explain(q.db.config.Path, err)
	}
	defer rows.Close()
	for rows.Next() {
		var b queue.Backlog
		var tried int64
		err := rows.Scan(&b.Sink, &b.Target, &b.Instance, &b.InstanceID, &tried,
			&b.Head.Attempts, (*stamp)(&b.Head.First), (*stamp)(&b.Head.Last), (*stamp)(&b.Head.Next), &b.Head.Error)
		if err != nil {
			return nil, explain(q.db.config.Path, err)
		}
		line := q.lineup(b.LaneKey)
		if line == nil {
			continue // committed a moment ago
		}
		if b.Waiting, b.First, b.Newest = line.extent(); b.Waiting == 0 {
			continue
		}
		if tried != b.First {
			b.Head = queue.Progress{}
		}
		out = append(out, b)
	}
	return out, explainUnlessNil(q.db.config.Path, rows.Err())
}

const describeAtOnce = 1000

// describe fills in when the first deliveries of lanes were put, and their scopes.
func (q *Queue) describe(ctx context.Context, lanes []queue.Backlog) error {
	type key struct{ seq, lane int64 }
	seqs, byKey := make([]int64, len(lanes)), make(map[key]*queue.Backlog, len(lanes))
	for i := range lanes {
		b := &lanes[i]
		seqs[i] = b.First
		byKey[key{b.First, q.lineup(b.LaneKey).id}] = b
	}
	rows, err := q.db.reading.QueryContext(ctx, `SELECT d.seq, d.lane, d.scope, e.at
		FROM json_each(?) j CROSS JOIN queue_deliveries d ON d.seq = j.value CROSS JOIN queue_events e ON e.seq = d.seq`, jsonList(seqs))
	if err != nil {
		return explain(q.db.config.Path, err)
	}
	defer rows.Close()
	for rows.Next() {
		var k key
		var scope sink.Scope
		var at stamp
		if err := rows.Scan(&k.seq, &k.lane, &scope, &at); err != nil {
			return explain(q.db.config.Path, err)
		}
		if b := byKey[k]; b != nil {
			b.Scope, b.Oldest = scope, time.Time(at)
		}
	}
	return explainUnlessNil(q.db.config.Path, rows.Err())
}

// Window implements [queue.Store].
func (q *Queue) Window(ctx context.Context, l queue.LaneKey, after, until int64, limit, bytes int) (out []queue.Delivery, err error) {
	line := q.lineup(l)
	if line == nil {
		return nil, nil
	}
	seqs := line.between(after, until, limit)
	if len(seqs) == 0 {
		return nil, nil
	}
	rows, err := q.db.reading.QueryContext(ctx, `
		SELECT d.seq, d.scope, e.at, e.id, e.metadata, e.payload
		FROM json_each(?) j CROSS JOIN queue_deliveries d ON d.seq = j.value AND d.lane = ? CROSS JOIN queue_events e ON e.seq = d.seq`,
		jsonList(seqs), line.id)
	if err != nil {
		return nil, explain(q.db.config.Path, err)
	}
	defer rows.Close()
	since := q.db.clock.reader()
	for rows.Next() {
		var item queue.Delivery
		var s storedEvent
		if err := rows.Scan(&item.Seq, &item.Scope, (*stamp)(&item.At), &s.id, &s.metadata, &s.payload); err != nil {
			return nil, explain(q.db.config.Path, err)
		}
		if bytes -= len(s.payload); bytes < 0 && len(out) > 0 {
			break
		}
		item.At = since(item.At)
		if item.Event, err = s.event(); err != nil {
			return nil, damaged(q.db.config.Path, err)
		}
		item.Event.InstanceID = l.InstanceID
		out = append(out, item)
	}
	return out, explainUnlessNil(q.db.config.Path, rows.Err())
}

// jsonList returns numbers as the JSON that json_each takes, which gives them back in order.
func jsonList(numbers []int64) string {
	b := []byte{'['}
	for i, n := range numbers {
		if i > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendInt(b, n, 10)
	}
	return string(append(b, ']'))
}

func explainUnlessNil(path string, err error) error {
	if err == nil {
		return nil
	}
	return explain(path, err)
}

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
	rows, err := q.db.reading.QueryContext(ctx, `SELECT event, sink, target, instance, instance_id, number, at, took, error, status, head
		FROM queue_attempts WHERE event = ? ORDER BY id`, eventID)
	if err != nil {
		return nil, explain(q.db.config.Path, err)
	}
	defer rows.Close()
	for rows.Next() {
		var a queue.Attempt
		if err := rows.Scan(&a.EventID, &a.Sink, &a.Target, &a.Instance, &a.InstanceID, &a.Number, (*stamp)(&a.At), &a.Took, &a.Error, &a.Status, &a.Head); err != nil {
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
	return q.write(ctx, &write{frees: true, apply: func(t *tx) error {
		_, err := t.exec(`INSERT INTO queue_pauses (sink, target, instance, reason, at) VALUES (?, ?, ?, ?, ?)
			ON CONFLICT DO UPDATE SET reason = excluded.reason, at = excluded.at`,
			p.Sink, string(p.Target), p.Instance, p.Reason, millis(p.At))
		return err
	}})
}

// DeletePause implements [queue.Store].
func (q *Queue) DeletePause(ctx context.Context, s queue.Selector) error {
	return q.write(ctx, &write{frees: true, apply: func(t *tx) error {
		_, err := t.exec("DELETE FROM queue_pauses WHERE sink = ? AND target = ? AND instance = ?", s.Sink, string(s.Target), s.Instance)
		return err
	}})
}
