// Package deliveries is the store of the delivery queue in the postgres engine's database. What changes lanes is one call
// of a function of the server each, which checks the leases in the same transaction.
//
//	Put, Checkpoint   put.go          events become deliveries, or are absorbed; marks
//	Window, Lanes     store.go        what waits in which lane
//	Record, Purge     record.go       a delivery ends: delivered, tried again later, dead-lettered, purged
//	DeadLetters       deadletters.go  and how they go back to their lanes
//	Sweep, Erase      sweep.go
//	Pauses, jobs      steering.go     and how other nodes see them
package deliveries

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/rs/zerolog"

	"github.com/evosink/evosink/adapters/internal/row"
	"github.com/evosink/evosink/adapters/postgres/internal/database"
	"github.com/evosink/evosink/core/bus"
	"github.com/evosink/evosink/core/event"
	"github.com/evosink/evosink/core/queue"
	"github.com/evosink/evosink/core/sink"
)

// A Store implements [queue.Store] and [queue.Steering] in a database. Any number of goroutines may use it at once.
type Store struct {
	db     *database.DB
	moved  func(bus.Cursor) // told of cursors that marks have moved
	logger zerolog.Logger
	life   context.Context
	end    context.CancelFunc
	done   sync.WaitGroup

	pauses atomic.Int64 // the revision that this node knows of

	mu sync.Mutex
	// mu guards the fields below.
	jobs    int64 // the revision that this node knows of
	changed chan struct{}
	swept   time.Time // when lanes were swept last
}

var (
	_ queue.Store    = (*Store)(nil)
	_ queue.Steering = (*Store)(nil)
)

// Open returns the store of a database, and follows what other nodes set, until Close. moved is told of each cursor that
// a mark has moved, after the commit.
func Open(ctx context.Context, db *database.DB, moved func(bus.Cursor), logger zerolog.Logger) (*Store, error) {
	s := &Store{db: db, moved: moved, logger: logger, changed: make(chan struct{}), swept: time.Now()}
	s.life, s.end = context.WithCancel(context.Background())
	if err := s.look(ctx); err != nil {
		s.end()
		return nil, fmt.Errorf("read how often pauses were changed: %w", err)
	}
	s.done.Go(s.follow)
	return s, nil
}

// Close ends following.
func (s *Store) Close() {
	s.end()
	s.done.Wait()
}

// Shards implements [queue.Store].
func (s *Store) Shards() int { return s.db.Shards() }

// leases are the columns of leases.
type leases struct {
	groups [][]byte
	shards []int32
	epochs []int64
}

func columnsOf(all ...bus.Lease) (l leases) {
	for _, one := range all {
		l.groups, l.shards = append(l.groups, []byte(one.Group)), append(l.shards, int32(one.Shard))
		l.epochs = append(l.epochs, one.Epoch)
	}
	return l
}

// refusal returns the error that names the leases at some places, nil if there are none.
func (l leases) refusal(stale []int32) error {
	if len(stale) == 0 {
		return nil
	}
	e := &queue.FencedError{}
	for _, i := range stale {
		e.Shards = append(e.Shards, int(l.shards[i-1]))
	}
	return e
}

// stamp returns a time as it is stored; the zero Time is NULL.
func stamp(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

// Lanes implements [queue.Store].
func (s *Store) Lanes(ctx context.Context, shards ...int) (out []queue.Backlog, err error) {
	err = s.db.Each(ctx, func(rows pgx.Rows) error {
		var b queue.Backlog
		var key lane
		var tried int64
		var first, last, next *time.Time
		var text []byte
		err := rows.Scan(&key.sink, &key.target, &key.instance, &key.record, &b.Waiting, &b.Bytes, &b.Drops, &b.First, &b.Newest,
			&b.Scope, &b.Oldest, &tried, &b.Head.Attempts, &first, &last, &next, &text)
		if err != nil {
			return err
		}
		b.LaneKey, b.Oldest = key.key(), b.Oldest.UTC()
		if tried == b.First {
			b.Head.First, b.Head.Last, b.Head.Next, b.Head.Error = utc(first), utc(last), utc(next), string(text)
		} else {
			b.Head = queue.Progress{}
		}
		out = append(out, b)
		return nil
	}, `SELECT l.sink, l.target, l.instance, l.record, a.waiting, a.bytes, a.drops, a.first, a.newest, d.scope, e.at,
			l.tried, l.attempts, l.first, l.last, l.next, l.error
		FROM (
			SELECT x.lane, count(*) AS waiting, sum(x.size)::bigint AS bytes, count(*) FILTER (WHERE x.droppable) AS drops,
				min(x.seq) AS first, max(x.seq) AS newest
			FROM @.queue_deliveries x JOIN @.queue_lanes y ON y.id = x.lane
			WHERE $1::integer[] IS NULL OR y.shard = ANY($1) GROUP BY x.lane) AS a
		JOIN @.queue_lanes l ON l.id = a.lane
		JOIN @.queue_deliveries d ON d.lane = a.lane AND d.seq = a.first
		JOIN @.queue_events e ON e.seq = a.first`, numbers(shards))
	if err != nil {
		return nil, err
	}
	return out, nil
}

// numbers returns shards as the server takes them, nil if there are none.
func numbers(shards []int) (out []int32) {
	for _, shard := range shards {
		out = append(out, int32(shard))
	}
	return out
}

func utc(t *time.Time) time.Time {
	if t == nil {
		return time.Time{}
	}
	return t.UTC()
}

// A lane is a [queue.LaneKey] as it is stored.
type lane struct{ sink, target, instance, record []byte }

func laneOf(l queue.LaneKey) lane {
	return lane{[]byte(l.Sink), []byte(l.Target), []byte(l.Instance), []byte(l.InstanceID)}
}

// Window implements [queue.Store].
func (s *Store) Window(
	ctx context.Context, l queue.LaneKey, after, until int64, limit, bytes int,
) (out []queue.Delivery, err error) {
	of := laneOf(l)
	err = s.db.Each(ctx, func(rows pgx.Rows) error {
		var d queue.Delivery
		var r row.Row
		var id []byte
		err := rows.Scan(&d.Seq, &d.Scope, &d.At, &id, &r.Metadata, &r.Payload)
		if err != nil {
			return err
		}
		r.ID, d.At = string(id), d.At.UTC()
		d.Event, err = eventOf(r, l.InstanceID)
		out = append(out, d)
		return err
	}, `SELECT seq, scope, at, id, metadata, payload FROM (
			SELECT *, row_number() OVER (ORDER BY seq) AS n, sum(octet_length(payload)) OVER (ORDER BY seq) AS bytes FROM (
				SELECT d.seq, d.scope, e.at, e.id, e.metadata, e.payload
				FROM @.queue_deliveries d JOIN @.queue_events e ON e.seq = d.seq
				WHERE d.lane = (SELECT id FROM @.queue_lanes WHERE sink = $1 AND target = $2 AND instance = $3 AND record = $4)
					AND d.seq > $5 AND d.seq <= $6
				ORDER BY d.seq LIMIT $7) AS first) AS window_of
		WHERE n = 1 OR bytes <= $8 ORDER BY seq`,
		of.sink, of.target, of.instance, of.record, after, until, limit, bytes)
	if err != nil {
		return nil, err
	}
	return out, nil
}

func (l lane) key() queue.LaneKey {
	return queue.LaneKey{
		Sink: string(l.sink), Target: sink.Target(l.target), Instance: string(l.instance), InstanceID: string(l.record),
	}
}

// eventOf returns the event of a row, with the id of its instance's record, which the row does not hold.
func eventOf(r row.Row, record string) (*event.Event, error) {
	e, err := r.Event()
	if err != nil {
		return nil, fmt.Errorf("the queue's tables are damaged: %w", err)
	}
	e.InstanceID = record
	return e, nil
}
