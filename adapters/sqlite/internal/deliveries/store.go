// Package deliveries is the store of the delivery queue in the sqlite engine's file. Its writes join the group commits
// of everything else.
//
// An event is a row of its own, apart from the log, and each delivery a small one with seq and lane; the order of seqs
// is the order of every lane. Both grow at their ends only, so that a commit writes few pages however many lanes it is
// for. Which deliveries a lane has is known in memory, 8 bytes for each; the file has no index for that.
//
// An event goes with its last delivery. But one that was put without a position stays for a while when it is delivered
// everywhere, so that it can be absorbed when it comes again; then [Store.Sweep] passes over it. The point that this has
// reached is stored, so each row is passed over once: an event that waits at that time goes with its last delivery too.
//
//	Put               put.go          an event becomes deliveries, or is absorbed
//	Checkpoint        marks.go        how far the queue is in the log
//	Window, Lanes     store.go        lanes.go: what waits in which lane
//	Record, Purge     record.go       a delivery ends: delivered, tried again later, dead-lettered, purged
//	DeadLetters       deadletters.go  and how they go back to their lanes
//	Sweep             sweep.go        dedup.go: until when an event is absorbed when it comes again
//	Pauses            pauses.go
package deliveries

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/evosink/evosink/adapters/internal/row"
	"github.com/evosink/evosink/adapters/sqlite/internal/eventlog"
	"github.com/evosink/evosink/adapters/sqlite/internal/file"
	"github.com/evosink/evosink/core/bus"
	"github.com/evosink/evosink/core/event"
	"github.com/evosink/evosink/core/queue"
	"github.com/evosink/evosink/core/sink"
)

// A Store implements [queue.Store] in the file of an engine. Any number of goroutines may use it at once.
type Store struct {
	file *file.File
	log  *eventlog.Log // its cursors move with marks

	// used by the writer only
	seq   int64 // the last one given out
	swept int64 // events up to here go with their last delivery

	lanes  sync.Map // queue.LaneKey -> *lane, once its row is committed
	recent recent

	sweepingDeadLetters sync.Mutex
	deadLetters         deadLetterCount // guarded by sweepingDeadLetters
}

var _ queue.Store = (*Store)(nil)

const sweptKey = "queue_swept"

// Open returns the store of a file that is being opened with conn.
func Open(ctx context.Context, f *file.File, conn *sql.Conn, log *eventlog.Log) (*Store, error) {
	s := &Store{file: f, log: log}
	var remembers bool
	err := conn.QueryRowContext(ctx, `SELECT coalesce((SELECT max(seq) FROM queue_events), 0),
		coalesce((SELECT value FROM meta WHERE key = ?), 0),
		EXISTS (SELECT 1 FROM queue_events INDEXED BY queue_events_id WHERE copy = 0)`, sweptKey).
		Scan(&s.seq, &s.swept, &remembers)
	if err != nil {
		return nil, fmt.Errorf("read the extent of the queue: %w", err)
	}
	if s.seq = max(s.seq, s.swept); !remembers {
		s.swept = s.seq
	}
	s.recent.begin(s.swept, s.seq)
	if err := s.loadLanes(ctx, conn); err != nil {
		return nil, fmt.Errorf("read the lanes of the queue: %w", err)
	}
	return s, nil
}

// Shards implements [queue.Store].
func (s *Store) Shards() int { return s.log.Shards() }

// fence refuses leases of any epoch but 1, which is the one node's for good.
func fence(leases ...bus.Lease) error {
	var stale []int
	for _, l := range leases {
		if l.Epoch != 1 {
			stale = append(stale, l.Shard)
		}
	}
	if stale == nil {
		return nil
	}
	return &queue.FencedError{Shards: stale}
}

// describeAtOnce is of how many lanes the first deliveries are read in one query.
const describeAtOnce = 1000

// Lanes implements [queue.Store].
func (s *Store) Lanes(ctx context.Context, shards ...int) (out []queue.Backlog, err error) {
	err = s.file.Each(ctx, func(rows *sql.Rows) error {
		var b queue.Backlog
		var tried int64
		err := rows.Scan(&b.Sink, &b.Target, &b.Instance, &b.InstanceID, &tried, &b.Head.Attempts,
			(*file.UnixMilli)(&b.Head.First), (*file.UnixMilli)(&b.Head.Last), (*file.UnixMilli)(&b.Head.Next), &b.Head.Error)
		if err != nil {
			return err
		}
		if len(shards) > 0 && !slices.Contains(shards, bus.Shard(b.Instance, s.Shards())) {
			return nil
		}
		lane := s.lane(b.LaneKey)
		if lane == nil {
			return nil // committed a moment ago
		}
		if b.Waiting, b.Drops, b.First, b.Newest = lane.extent(); b.Waiting == 0 {
			return nil
		}
		if tried != b.First {
			b.Head = queue.Progress{}
		}
		out = append(out, b)
		return nil
	}, "SELECT sink, target, instance, instance_id, tried, attempts, first, last, next, error FROM queue_lanes")
	for batch := range slices.Chunk(out, describeAtOnce) {
		if err == nil {
			err = s.describe(ctx, batch)
		}
	}
	if err != nil || len(out) == 0 {
		return out, err
	}
	bytes := map[int64]int64{} // by lane
	err = s.file.Each(ctx, func(rows *sql.Rows) error {
		var lane, sum int64
		err := rows.Scan(&lane, &sum)
		bytes[lane] = sum
		return err
	}, "SELECT lane, sum(size) FROM queue_deliveries GROUP BY lane")
	for i := range out {
		out[i].Bytes = bytes[s.lane(out[i].LaneKey).id]
	}
	return out, err
}

// describe fills in when the first deliveries of lanes were put, and their scopes.
func (s *Store) describe(ctx context.Context, lanes []queue.Backlog) error {
	type key struct{ seq, lane int64 }
	seqs, byKey := make([]int64, len(lanes)), make(map[key]*queue.Backlog, len(lanes))
	for i := range lanes {
		b := &lanes[i]
		seqs[i] = b.First
		byKey[key{b.First, s.lane(b.LaneKey).id}] = b
	}
	return s.file.Each(ctx, func(rows *sql.Rows) error {
		var k key
		var scope sink.Scope
		var at file.UnixMilli
		if err := rows.Scan(&k.seq, &k.lane, &scope, &at); err != nil {
			return err
		}
		if b := byKey[k]; b != nil {
			b.Scope, b.Oldest = scope, time.Time(at)
		}
		return nil
	}, `SELECT d.seq, d.lane, d.scope, e.at FROM json_each(?) j
		CROSS JOIN queue_deliveries d ON d.seq = j.value CROSS JOIN queue_events e ON e.seq = d.seq`, file.List(seqs))
}

// Window implements [queue.Store].
func (s *Store) Window(
	ctx context.Context, l queue.LaneKey, after, until int64, limit, bytes int,
) (out []queue.Delivery, err error) {
	lane := s.lane(l)
	if lane == nil {
		return nil, nil
	}
	seqs := lane.between(after, until, limit, false)
	if len(seqs) == 0 {
		return nil, nil
	}
	since := s.file.Clock.Monotonic()
	err = s.file.Each(ctx, func(rows *sql.Rows) error {
		var d queue.Delivery
		var r row.Row
		err := rows.Scan(&d.Seq, &d.Scope, (*file.UnixMilli)(&d.At), &r.ID, &r.Metadata, &r.Payload)
		if err != nil {
			return err
		}
		if bytes -= len(r.Payload); bytes < 0 && len(out) > 0 {
			return file.ErrEnough
		}
		d.At = since(d.At)
		if d.Event, err = s.event(r, l.InstanceID); err != nil {
			return err
		}
		out = append(out, d)
		return nil
	}, `SELECT d.seq, d.scope, e.at, e.id, e.metadata, e.payload FROM json_each(?) j
		CROSS JOIN queue_deliveries d ON d.seq = j.value AND d.lane = ? CROSS JOIN queue_events e ON e.seq = d.seq`,
		file.List(seqs), lane.id)
	if err != nil {
		return nil, err
	}
	return out, nil
}

// event returns the event of a row, with the id of its instance's record, which the row does not hold.
func (s *Store) event(r row.Row, instanceID string) (*event.Event, error) {
	e, err := r.Event()
	if err != nil {
		return nil, s.file.Damaged(err)
	}
	e.InstanceID = instanceID
	return e, nil
}
