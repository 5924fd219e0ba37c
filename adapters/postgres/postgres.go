package postgres

import (
	"context"
	"crypto/rand"
	"fmt"
	"sync"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/rs/zerolog"

	"github.com/evosink/evosink/adapters/postgres/internal/database"
	"github.com/evosink/evosink/adapters/postgres/internal/deliveries"
	"github.com/evosink/evosink/adapters/postgres/internal/eventlog"
	"github.com/evosink/evosink/adapters/postgres/internal/lease"
	"github.com/evosink/evosink/adapters/postgres/internal/registry"
	"github.com/evosink/evosink/core/bus"
	"github.com/evosink/evosink/core/instances"
	"github.com/evosink/evosink/core/sink"
)

// Errors of [Open] and of writing.
var (
	ErrNewer    = database.ErrNewer    // the schema was written by a newer version
	ErrShards   = database.ErrShards   // the schema has another number of shards
	ErrFull     = database.ErrFull     // the server's disk is full
	ErrReadOnly = database.ErrReadOnly // the server is a standby
	ErrDown     = database.ErrDown     // there is no connection to the server
	ErrStalled  = database.ErrStalled  // the log grows, and this node does not get it
	ErrUnknown  = database.ErrUnknown  // there was no answer: it may have happened or not
)

// A DB is one node on an open database: the bus, its log and the store of instances, the leases, and the queue's store, see
// [DB.Queue]. Any number of goroutines may use it at once.
type DB struct {
	sink.Log        // the events of the log
	instances.Store // the registry

	database *database.DB
	leases   *lease.Leases
	registry *registry.Registry
	log      *eventlog.Log
	queue    *Queue

	once  sync.Once
	stop  chan struct{} // closed when Close begins
	ended chan struct{} // closed when Close has ended
}

// A Queue is the store of deliveries in a database; it implements core's queue.Store and queue.Steering.
type Queue = deliveries.Store

var (
	_ bus.Bus         = (*DB)(nil)
	_ bus.Eraser      = (*DB)(nil)
	_ sink.Log        = (*DB)(nil)
	_ instances.Store = (*DB)(nil)
)

// Open connects to the server, makes the engine's schema or brings it up to date, and joins the nodes that share it; the
// caller closes it. ctx bounds opening only. Errors: an invalid configuration, [ErrNewer], [ErrShards], [ErrDown], or what
// the server says.
func Open(ctx context.Context, c Config, logger zerolog.Logger) (*DB, error) {
	if err := c.Validate(); err != nil {
		return nil, fmt.Errorf("postgres engine: %w", err)
	}
	base, err := database.Open(ctx, database.Options{
		URL: c.URL, Schema: c.Schema, Shards: c.Shards, Connections: c.Connections, Timeout: c.Timeout,
	}, logger)
	if err != nil {
		return nil, fmt.Errorf("postgres engine: %w", err)
	}
	db := &DB{database: base, stop: make(chan struct{}), ended: make(chan struct{})}
	self := rand.Text()
	db.leases = lease.New(base, c.LeaseTime, self, logger)
	db.log, err = eventlog.Open(ctx, eventlog.Options{
		Self: self, MaxEventBytes: c.MaxEventBytes, MaxQueueBytes: c.MaxQueueBytes,
		RetentionAge: c.Retention.Age, RetentionBytes: c.Retention.Bytes,
		Paused: func(revision int64) { db.queue.Know(revision) }, // there is one when the log is started
	}, base, db.leases, logger)
	if err == nil {
		db.queue, err = deliveries.Open(ctx, base, db.log.Move, logger)
	}
	if err == nil {
		if db.registry, err = registry.Open(ctx, base, logger); err != nil {
			db.queue.Close()
		}
	}
	if err != nil {
		base.Close()
		return nil, fmt.Errorf("postgres engine: %w", err)
	}
	db.Log, db.Store = db.log, db.registry
	db.leases.Start()
	db.log.Start()
	return db, nil
}

// Close ends subscriptions, lets running calls end, stores the cursors, gives back what subscriptions hold and closes the
// connections. It returns when nothing is left running, or when ctx ends; the rest then goes on in the background.
// Calling it again waits for the same end.
func (db *DB) Close(ctx context.Context) error {
	go db.once.Do(func() {
		defer close(db.ended)
		close(db.stop)
		db.registry.Close()
		db.queue.Close()
		db.log.Close()
		db.leases.Close()
		db.database.Close()
	})
	select {
	case <-db.ended:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("close the postgres engine: %w", ctx.Err())
	}
}

// Check implements [bus.Bus]. It may take two seconds. Errors: [ErrDown], [ErrReadOnly], [ErrStalled], or why writing
// fails.
func (db *DB) Check(ctx context.Context) error {
	select {
	case <-db.stop:
		return bus.ErrClosed
	default:
		return db.log.Check(ctx)
	}
}

// Leases returns what shares the shards among nodes.
func (db *DB) Leases() bus.Leases { return db.leases }

// Queue returns the database's store of deliveries, always the same.
func (db *DB) Queue() *Queue { return db.queue }

// Features implements [bus.Bus].
func (db *DB) Features() bus.Features { return db.log.Features() }

// Shards implements [bus.Bus].
func (db *DB) Shards() int { return db.database.Shards() }

// Append implements [bus.Bus]. An error that wraps [ErrUnknown] says that the connection broke, and the server did not
// come back in time to tell whether it has the events: all or none.
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

// Reached implements [bus.Bus].
func (db *DB) Reached(ctx context.Context, c bus.Cursor) error { return db.log.Reached(ctx, c) }

// EraseEvents implements [bus.Eraser].
func (db *DB) EraseEvents(ctx context.Context, e bus.Erasure) (n int, left bool, err error) {
	return db.log.EraseEvents(ctx, e)
}
