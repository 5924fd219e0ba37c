package sqlite

import (
	"context"
	"database/sql"
	"fmt"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/rs/zerolog"

	"github.com/evosink/evosink/adapters/sqlite/internal/deliveries"
	"github.com/evosink/evosink/adapters/sqlite/internal/eventlog"
	"github.com/evosink/evosink/adapters/sqlite/internal/file"
	"github.com/evosink/evosink/adapters/sqlite/internal/registry"
	"github.com/evosink/evosink/core/bus"
	"github.com/evosink/evosink/core/instances"
	"github.com/evosink/evosink/core/sink"
)

// Errors of [Open] and of writing.
var (
	ErrLocked  = file.ErrLocked  // the file is in use by another process
	ErrDamaged = file.ErrDamaged // the file is damaged or not ours
	ErrNewer   = file.ErrNewer   // the file was written by a newer version
	ErrShards  = file.ErrShards  // the file has another number of shards
	ErrFull    = file.ErrFull    // the disk is full
	ErrMoved   = file.ErrMoved   // the file is not in its place any more
	ErrStalled = file.ErrStalled // the disk does not answer
)

// A DB is an open file: the bus, its log and the store of instances, and the queue's, see [DB.Queue]. Any number of
// goroutines may use it at once.
type DB struct {
	sink.Log        // the events of the log
	instances.Store // the registry

	path     string // as configured
	file     *file.File
	registry *registry.Registry
	log      *eventlog.Log
	queue    *Queue
	leases   *bus.LocalLeases

	once   sync.Once
	stop   chan struct{} // closed when Close begins
	result error         // of Close, set once
}

// A Queue is the store of deliveries in a file; it implements core's queue.Store.
type Queue = deliveries.Store

var (
	_ bus.Bus         = (*DB)(nil)
	_ bus.Eraser      = (*DB)(nil)
	_ sink.Log        = (*DB)(nil)
	_ instances.Store = (*DB)(nil)
)

// Open opens the file, or makes it if there is none, and starts its writer; the caller closes it. ctx bounds opening
// only. Errors: an invalid configuration, [ErrLocked], [ErrDamaged], [ErrNewer], [ErrShards], or what the system says.
func Open(ctx context.Context, c Config, logger zerolog.Logger) (*DB, error) {
	if err := c.Validate(); err != nil {
		return nil, fmt.Errorf("sqlite engine: %w", err)
	}
	db := &DB{path: c.Path, leases: bus.NewLocalLeases(0, time.Now), stop: make(chan struct{})}
	load := func(ctx context.Context, f *file.File, conn *sql.Conn) (head file.Head, err error) {
		if db.registry, err = registry.Open(ctx, f, conn); err != nil {
			return head, err
		}
		db.log, head, err = eventlog.Open(ctx, eventlog.Options{
			Shards: c.Shards, MaxEventBytes: c.MaxEventBytes,
			RetentionAge: c.Retention.Age, RetentionBytes: c.Retention.Bytes,
		}, f, conn, logger)
		if err != nil {
			return head, err
		}
		db.queue, err = deliveries.Open(ctx, f, conn, db.log)
		return head, err
	}
	f, err := file.Open(ctx, file.Options{
		Path: c.Path, Shards: c.Shards, MaxQueueBytes: c.MaxQueueBytes, ReserveBytes: c.ReserveBytes,
		AcceptDamage: c.AcceptDamage,
	}, logger, load)
	if err != nil {
		return nil, err
	}
	db.file, db.Log, db.Store = f, db.log, db.registry
	f.Start(db.queue.Relieve)
	db.log.Start()
	return db, nil
}

// Close ends subscriptions, lets running calls end, stores the cursors, moves everything into the main file and lets go
// of it. It returns when nothing is left running, or when ctx ends; the rest then goes on in the background. Calling it
// again waits for the same end.
func (db *DB) Close(ctx context.Context) error {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		db.once.Do(func() {
			close(db.stop)
			db.registry.Close()
			db.log.Close()
			db.result = db.file.Close()
		})
	}()
	select {
	case <-ended:
		return db.result
	case <-ctx.Done():
		return fmt.Errorf("close %s: %w", db.path, ctx.Err())
	}
}

// Check implements [bus.Bus]. It costs little while writing works; after a failure it tries a write, so that the engine
// is found well again also when nothing is published because it was not. Errors: [ErrMoved], [ErrStalled], or why
// writing fails.
func (db *DB) Check(ctx context.Context) error {
	select {
	case <-db.stop:
		return bus.ErrClosed
	default:
		return db.file.Check(ctx)
	}
}

// Queue returns the file's store of deliveries, always the same.
func (db *DB) Queue() *Queue { return db.queue }

// Leases returns what gives a file's one process all its shards, at once, with epoch 1 and no end.
func (db *DB) Leases() *bus.LocalLeases { return db.leases }

// Features implements [bus.Bus].
func (db *DB) Features() bus.Features { return db.log.Features() }

// Shards implements [bus.Bus].
func (db *DB) Shards() int { return db.log.Shards() }

// Append implements [bus.Bus].
func (db *DB) Append(ctx context.Context, shard int, entries ...bus.Entry) ([]bus.Position, error) {
	return db.log.Append(ctx, shard, entries...)
}

// Publisher implements [bus.Bus].
func (db *DB) Publisher() message.Publisher { return bus.NewPublisher(db) }

// Broadcast implements [bus.Bus].
func (db *DB) Broadcast() message.Subscriber { return db.log.Broadcast() }

// Group implements [bus.Bus].
func (db *DB) Group(name string) message.Subscriber { return db.log.Group(name) }

// Batches implements [bus.Bus].
func (db *DB) Batches(group string) bus.BatchSubscriber { return db.log.Batches(group) }

// EraseEvents implements [bus.Eraser]. Rows are overwritten in the file; the write-ahead log has them until it is used
// again from its start.
func (db *DB) EraseEvents(ctx context.Context, e bus.Erasure) (n int, left bool, err error) {
	return db.log.EraseEvents(ctx, e)
}

// Reached implements [bus.Bus].
func (db *DB) Reached(ctx context.Context, c bus.Cursor) error { return db.log.Reached(ctx, c) }
