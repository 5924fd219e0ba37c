package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/rs/zerolog"
	driver "modernc.org/sqlite"

	"github.com/evosink/evosink/core/bus"
	"github.com/evosink/evosink/core/bus/tail"
	"github.com/evosink/evosink/core/instances"
	"github.com/evosink/evosink/core/sink"
)

// A DB is an open file: the bus, its log and the store of instances, and the queue's, see [DB.Queue]. Any number of goroutines may use it at once.
type DB struct {
	config     Config // its Path has no symbolic links
	configured string // Path as configured
	logger     zerolog.Logger

	lock     *fileLock
	presence *presence
	reserve  *reserve
	clock    *clock

	stallAfter atomic.Int64 // see stalledAfter

	writing *sql.DB // one connection, the writer's
	reading *sql.DB
	conn    *sql.Conn // of writing

	writer    *writer
	log       *tail.Log
	feed      *instances.Feed // of changes of instances
	node      *tail.Node
	extent    extent
	cursors   *cursors
	retention *retention
	watch     *watch
	queue     *Queue
	turns     *turns
	leases    *bus.LocalLeases

	once   sync.Once
	stop   chan struct{} // closed when Close begins
	result error         // of Close, set once
}

var (
	_ bus.Bus         = (*DB)(nil)
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
	path, err := resolve(c.Path)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", c.Path, err)
	}
	db := &DB{
		config: c, configured: c.Path, logger: logger, reserve: newReserve(c, path),
		turns: newTurns(), leases: bus.NewLocalLeases(0, time.Now), stop: make(chan struct{}),
	}
	db.stallAfter.Store(int64(stalledAfter))
	db.config.Path = path
	if db.lock, err = acquire(path); err != nil {
		return nil, err
	}
	if err := db.open(ctx); err != nil {
		return nil, errors.Join(err, db.closeFile())
	}
	db.lock.opened()
	db.start()
	return db, nil
}

// open makes everything ready and starts nothing.
func (db *DB) open(ctx context.Context) error {
	if err := prepare(ctx, db.config); err != nil {
		return err
	}
	if err := db.lock.lockItself(); err != nil {
		return err
	}
	if err := verify(db.config, db.lock.sameBoot(), db.logger); err != nil {
		return err
	}
	err := db.connect(ctx)
	low := errors.Is(err, ErrFull) && db.reserve.release()
	if low { // the disk is full, and the reserve was made for a start on it, too
		if err = db.closePools(); err == nil {
			err = db.connect(ctx)
		}
	}
	if err != nil {
		return err
	}
	if !low {
		err = db.reserve.fill(0)
		low = errors.Is(err, ErrFull)
	}
	if err != nil && !low {
		return fmt.Errorf("make the reserve of disk space: %w", err)
	}
	if low {
		db.writer.low.Store(true)
		db.writer.setFault(fmt.Errorf("%w: free some space where %s is; writing then goes on by itself", ErrFull, db.config.Path))
	}
	return nil
}

// connect opens the database, checks it and reads what it holds.
func (db *DB) connect(ctx context.Context) (err error) {
	pragmas := append(slices.Clone(writerPragmas), fmt.Sprintf("wal_autocheckpoint(%d)", db.reserve.walPages()))
	if db.writing, err = connect(db.config.Path, 1, pragmas); err != nil {
		return err
	}
	if db.reading, err = connect(db.config.Path, readers, readerPragmas); err != nil {
		return err
	}
	if db.conn, err = db.writing.Conn(ctx); err != nil {
		return explain(db.config.Path, err)
	}
	if err := inspect(ctx, db.config, db.conn, db.logger); err != nil {
		return err
	}
	if db.presence, err = newPresence(db.configured, db.config.Path); err != nil {
		return fmt.Errorf("open %s: %w", db.config.Path, err)
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
	last, err := lastTime(ctx, conn)
	if err != nil {
		return fmt.Errorf("read when the file was last written: %w", err)
	}
	var revision int64
	if err := conn.QueryRowContext(ctx, selectRevision).Scan(&revision); err != nil {
		return fmt.Errorf("read how often instances were changed: %w", err)
	}
	db.feed = instances.NewFeed(revision)
	db.clock = newClock(last, db.logger)
	db.extent.oldest, db.extent.head = oldest, at
	db.writer = newWriter(db, at)
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
	db.watch = watchOver(db)
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
	db.feed.Close()
	db.node.Close()
	db.watch.close()
	db.retention.close()
	db.cursors.close(db.retention.lastSeen())
	db.writer.close()
	if cut := db.presence.cut.Load(); cut != nil {
		// SQLite would checkpoint when its last connection is closed, and write what is left of a WAL that was cut over a
		// database that is whole. So that one stays open until the process ends.
		db.conn = nil
		db.logger.Error().Err(*cut).Msg("the files are left as they are")
	} else if err := db.presence.check(len(db.presence.files)); err != nil {
		db.rescue(err)
	}
	db.result = db.closeFile()
}

// rescue saves what the open files hold when others, or none, are in their places. It empties the WAL into the
// database, wherever that is, because SQLite leaves the WAL of a database that was moved as it is: frames beside
// another database would do harm. A WAL that is another database's stays, which SQLite would remove by its name.
func (db *DB) rescue(why error) {
	to := aside(db.config.Path, "rescued")
	_, err := db.conn.ExecContext(context.Background(), "PRAGMA wal_checkpoint(TRUNCATE)")
	if _, e := db.conn.ExecContext(context.Background(), "VACUUM INTO ?", to); e == nil {
		err = errors.Join(err, os.Chmod(to, 0o600))
	} else {
		err = errors.Join(err, e)
	}
	if !db.presence.has(walFile) {
		err = errors.Join(err, db.conn.Raw(func(c any) error {
			_, err := c.(driver.FileControl).FileControlPersistWAL("main", 1)
			return err
		}))
	}
	db.logger.Error().AnErr("cause", why).Err(err).Str("file", to).
		Msg("the database is not in its place; what it held was written to a file beside it, which can be moved there before the next start")
}

// closeFile closes what is open of the file. The last connection checkpoints and removes the WAL.
func (db *DB) closeFile() error {
	errs := []error{db.closePools()}
	if db.presence != nil {
		errs = append(errs, db.presence.close())
	}
	if err := errors.Join(append(errs, db.lock.release())...); err != nil {
		return fmt.Errorf("close %s: %w", db.config.Path, err)
	}
	return nil
}

func (db *DB) closePools() error {
	var errs []error
	if db.reading != nil {
		errs = append(errs, db.reading.Close())
	}
	if db.conn != nil {
		errs = append(errs, db.conn.Close())
	}
	if db.writing != nil {
		errs = append(errs, db.writing.Close())
	}
	db.reading, db.conn, db.writing = nil, nil, nil
	return errors.Join(errs...)
}

// Features implements [bus.Bus].
func (db *DB) Features() bus.Features {
	return bus.Features{
		Durable: true, Reopens: true, Backlog: true, AtomicBatches: true, Once: true, Positions: true, Replay: true,
		CursorWithQueue: true,
	}
}

// Publisher implements [bus.Bus].
func (db *DB) Publisher() message.Publisher { return bus.NewPublisher(db) }

// Broadcast implements [bus.Bus].
func (db *DB) Broadcast() message.Subscriber { return db.node.Broadcast() }

// Group implements [bus.Bus].
func (db *DB) Group(name string) message.Subscriber { return db.node.Group(name) }

// Batches implements [bus.Bus].
func (db *DB) Batches(group string) bus.BatchSubscriber { return db.node.Batches(group) }

// Reached implements [bus.Bus].
func (db *DB) Reached(ctx context.Context, c bus.Cursor) error { return db.node.Reached(ctx, c) }

// Leases returns what gives a file's one process all its shards, at once, with epoch 1 and no end.
func (db *DB) Leases() *bus.LocalLeases { return db.leases }

// Shards implements [bus.Bus].
func (db *DB) Shards() int { return db.config.Shards }

// probeBytes is what Check writes to see whether writing works again: a few pages, so that the last free one does not pass for
// a disk with space.
const probeBytes = 64 << 10

// stalledAfter is how long a commit may take before the disk counts as one that does not answer.
const stalledAfter = 10 * time.Second

// Check implements [bus.Bus]. It costs little while writing works; after a failure it tries a write, so that the
// engine is found well again also when nobody publishes because it was not. Errors: [ErrMoved], [ErrStalled], or why
// writing fails.
func (db *DB) Check(ctx context.Context) error {
	select {
	case <-db.stop:
		return bus.ErrClosed
	default:
	}
	if err := db.stalled(); err != nil { // first: a disk that does not answer would not tell about files either
		return err
	}
	if err := db.presence.check(len(db.presence.files)); err != nil {
		return err
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
	return db.writer.do(ctx, &write{frees: true, apply: func(t *tx) error {
		_, err := t.exec("DELETE FROM meta WHERE key = 'probe'")
		return err
	}})
}

// stalled returns an error that is [ErrStalled] while the commit under way takes too long.
func (db *DB) stalled() error {
	if busy := db.writer.busy(); busy > time.Duration(db.stallAfter.Load()) {
		return db.stalledFor(busy)
	}
	return nil
}

func (db *DB) stalledFor(busy time.Duration) error {
	return fmt.Errorf("%w: a write to %s has been under way for %v; check the disk, and what else keeps it busy",
		ErrStalled, db.config.Path, busy.Round(time.Second))
}
