package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/rs/zerolog"

	"github.com/evosink/evosink/core/bus"
	"github.com/evosink/evosink/core/bus/tail"
	"github.com/evosink/evosink/core/instances"
	"github.com/evosink/evosink/core/sink"
)

// A DB is an open file: the bus, its log and the store of instances, and the queue's, see [DB.Queue]. Any number of goroutines may use it at once.
type DB struct {
	config Config
	logger zerolog.Logger

	unlock  func() error
	writing *sql.DB // one connection, the writer's
	reading *sql.DB
	conn    *sql.Conn // of writing

	writer    *writer
	log       *tail.Log
	node      *tail.Node
	extent    extent
	cursors   *cursors
	retention *retention
	queue     *Queue

	once   sync.Once
	stop   chan struct{} // closed when Close begins
	result error         // of Close, set once
}

var (
	_ bus.Bus         = (*DB)(nil)
	_ bus.Batcher     = (*DB)(nil)
	_ sink.Log        = (*DB)(nil)
	_ instances.Store = (*DB)(nil)
)

// Open opens the file, or makes it if there is none, and starts its writer; the caller closes it. ctx bounds opening only.
// Errors: an invalid configuration, [ErrLocked], [ErrDamaged], [ErrNewer], [ErrShards], or what the system says.
func Open(ctx context.Context, c Config, logger zerolog.Logger) (*DB, error) {
	if err := c.Validate(); err != nil {
		return nil, fmt.Errorf("sqlite engine: %w", err)
	}
	if err := os.MkdirAll(filepath.Dir(c.Path), 0o700); err != nil {
		return nil, fmt.Errorf("create the directory of %s: %w", c.Path, err)
	}
	unlock, err := acquire(c.Path)
	if err != nil {
		return nil, err
	}
	db := &DB{config: c, logger: logger, unlock: unlock, stop: make(chan struct{})}
	if err := db.open(ctx); err != nil {
		return nil, errors.Join(err, db.closeFile())
	}
	db.start()
	return db, nil
}

// open makes everything ready and starts nothing.
func (db *DB) open(ctx context.Context) error {
	if err := prepare(ctx, db.config); err != nil {
		return err
	}
	var err error
	if db.writing, err = connect(db.config.Path, 1, writerPragmas); err != nil {
		return err
	}
	if db.reading, err = connect(db.config.Path, readers, readerPragmas); err != nil {
		return err
	}
	if db.conn, err = db.writing.Conn(ctx); err != nil {
		return explain(db.config.Path, err)
	}
	if err := inspect(ctx, db.config, db.conn); err != nil {
		return err
	}
	if err := db.load(ctx, db.conn); err != nil {
		return explain(db.config.Path, err)
	}
	return nil
}

// load reads where the log and its groups stand.
func (db *DB) load(ctx context.Context, conn *sql.Conn) error {
	oldest, at, err := readExtent(ctx, conn)
	if err != nil {
		return fmt.Errorf("read the extent of the log: %w", err)
	}
	stored, seen, err := readCursors(ctx, conn)
	if err != nil {
		return fmt.Errorf("read the cursors: %w", err)
	}
	db.extent.oldest, db.extent.head = oldest, at
	db.writer = newWriter(db.config, conn, at, db.logger)
	db.log = &tail.Log{
		Tail: tail.New(db.config.Shards, at.position), Readers: tail.NewReaders(stored...), Read: db.readEntries,
	}
	db.cursors = newCursors(db.writer)
	db.log.Moved = db.cursors.moved
	db.log.Missed = func(n int64) {
		db.logger.Error().Int64("events", n).Msg("a live sink was so far behind that retention has removed events before it had read them; sqlite.retention must hold more")
	}
	db.node = tail.NewNode(db.log)
	db.retention = newRetention(db, seen)
	db.queue, err = openQueue(ctx, conn, db)
	return err
}

func (db *DB) start() {
	go db.writer.run()
	go db.cursors.run()
	db.retention.start()
}

// Close ends subscriptions, lets running calls end, stores the cursors, moves everything into the main file and lets go of it. It
// returns when nothing is left running, or when ctx ends; the rest then goes on in the background. Calling it again waits for the same end.
func (db *DB) Close(ctx context.Context) error {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		db.once.Do(db.shutdown)
	}()
	select {
	case <-ended:
		return db.result
	case <-ctx.Done():
		return fmt.Errorf("close %s: %w", db.config.Path, ctx.Err())
	}
}

func (db *DB) shutdown() {
	close(db.stop)
	db.node.Close()
	db.retention.close()
	db.cursors.close(db.retention.lastSeen())
	db.writer.close()
	db.result = db.closeFile()
}

// closeFile closes what is open of the file. The last connection checkpoints and removes the WAL.
func (db *DB) closeFile() error {
	var errs []error
	if db.conn != nil {
		errs = append(errs, db.conn.Close())
	}
	for _, pool := range []*sql.DB{db.reading, db.writing} {
		if pool != nil {
			errs = append(errs, pool.Close())
		}
	}
	if err := errors.Join(append(errs, db.unlock())...); err != nil {
		return fmt.Errorf("close %s: %w", db.config.Path, err)
	}
	return nil
}

// Publisher implements [bus.Bus].
func (db *DB) Publisher() message.Publisher { return publisher{db} }

// Broadcast implements [bus.Bus].
func (db *DB) Broadcast() message.Subscriber { return db.node.Broadcast() }

// Group implements [bus.Bus].
func (db *DB) Group(name string) message.Subscriber { return db.node.Group(name) }

// Batches implements [bus.Batcher].
func (db *DB) Batches(name string) message.Subscriber { return db.node.Batches(name) }

// Shards implements [bus.Bus].
func (db *DB) Shards() int { return db.config.Shards }

// probeBytes is what Check writes to see whether writing works again: a few pages, so that the last free one does not pass for
// a disk with space.
const probeBytes = 64 << 10

// Check implements [bus.Bus]. It costs nothing while writing works; after a failure it tries a write, so that
// the engine is found well again also when nobody publishes because it was not.
func (db *DB) Check(ctx context.Context) error {
	select {
	case <-db.stop:
		return bus.ErrClosed
	default:
	}
	if db.writer.fault.Load() == nil {
		return nil
	}
	err := db.writer.do(ctx, &write{apply: func(t *tx) error {
		_, err := t.exec("INSERT INTO meta (key, value) VALUES ('probe', zeroblob(?)) ON CONFLICT DO UPDATE SET value = excluded.value", probeBytes)
		return err
	}})
	if err != nil {
		return err
	}
	return db.writer.do(ctx, &write{apply: func(t *tx) error {
		_, err := t.exec("DELETE FROM meta WHERE key = 'probe'")
		return err
	}})
}
