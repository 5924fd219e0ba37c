// Package file is the open database file of the sqlite engine. It opens the file or makes a new one, locks it against
// other processes, checks it for damage, brings it to the newest schema, commits writes in groups, reads,
// watches that the file stays in its place and that the disk has space, and closes it. All tables are made in
// schema.go; what is in them belongs to the packages beside this one, except meta.
//
//	Open       file.go    lock.go: one process; wal.go: damage; create.go: new files, checks; schema.go: migrations
//	Write      writer.go  writes become a batch in writer.fill, which becomes a transaction in writer.transact
//	           tx.go      what a write gets to see
//	Each, One  read.go    the read pool, and how times and lists are stored
//	Check      file.go    watch.go: once a second; presence.go, identity_*.go: is it still the same file?
//	full disk  reserve.go space for what must be written then; Write.Frees
//	time       clock.go   by which things grow old
package file

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"
	driver "modernc.org/sqlite"
)

// Options configures a file.
type Options struct {
	Path          string // of the database; its directory is made if there is none
	Shards        int    // of the log; a file keeps the number that it was made with
	MaxQueueBytes int64  // of writes that wait for the disk; then Write waits
	ReserveBytes  int64  // of disk space kept for a full disk, at most a sixteenth of the disk; 0 for none
	AcceptDamage  bool   // go on with a damaged file, after a copy of it was made
}

// A File is an open database file. Any number of goroutines may use it at once.
type File struct {
	Clock *Clock // by which things grow old

	options    Options // its Path has no symbolic links
	configured string  // Path as configured
	logger     zerolog.Logger
	stallAfter atomic.Int64 // see stalledAfter

	lock     *fileLock
	presence *presence
	reserve  *reserve

	writing *sql.DB // one connection, the writer's
	reading *sql.DB
	conn    *sql.Conn // of writing

	writer *writer
	watch  *watch
}

// Open opens the file, or makes it if there is none. The caller starts it, before which it takes no writes, and closes
// it. load reads what is kept in memory of the tables, on the writing connection, and returns the end of the log. It is
// called once more when the disk was full at first. ctx bounds opening only.
// Errors: [ErrLocked], [ErrDamaged], [ErrNewer], [ErrShards], those of load, or what the system says.
func Open(
	ctx context.Context, o Options, logger zerolog.Logger, load func(context.Context, *File, *sql.Conn) (Head, error),
) (*File, error) {
	if err := os.MkdirAll(filepath.Dir(o.Path), 0o700); err != nil {
		return nil, fmt.Errorf("create the directory of %s: %w", o.Path, err)
	}
	path, err := resolve(o.Path)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", o.Path, err)
	}
	f := &File{configured: o.Path, options: o, logger: logger, reserve: newReserve(o, path)}
	f.options.Path = path
	f.StallAfter(stalledAfter)
	if f.lock, err = acquire(path); err != nil {
		return nil, err
	}
	if err := f.open(ctx, load); err != nil {
		return nil, errors.Join(err, f.closeAll())
	}
	f.lock.opened()
	return f, nil
}

// open checks the files, connects to them and fills the reserve of disk space. On a full disk that the reserve was
// made for, it is given free for the start.
func (f *File) open(ctx context.Context, load func(context.Context, *File, *sql.Conn) (Head, error)) error {
	if err := prepare(ctx, f.options); err != nil {
		return err
	}
	if err := f.lock.lockItself(); err != nil {
		return err
	}
	if err := verify(f.options, f.lock.sameBoot(), f.logger); err != nil {
		return err
	}
	err := f.connect(ctx, load)
	low := errors.Is(err, ErrFull) && f.reserve.release()
	if low {
		if err = f.disconnect(); err == nil {
			f.presence = nil
			err = f.connect(ctx, load)
		}
	}
	if err != nil {
		return err
	}
	if !low {
		err = f.reserve.fill(0)
		low = errors.Is(err, ErrFull)
	}
	if err != nil && !low {
		return fmt.Errorf("make the reserve of disk space: %w", err)
	}
	if low {
		f.writer.low.Store(true)
		f.writer.setFault(fmt.Errorf("%w: free some space where %s is; writing then goes on by itself",
			ErrFull, f.options.Path))
	}
	return nil
}

// connect opens the database, brings it to the newest version and reads what it holds.
func (f *File) connect(ctx context.Context, load func(context.Context, *File, *sql.Conn) (Head, error)) (err error) {
	pragmas := append(slices.Clone(writerPragmas), fmt.Sprintf("wal_autocheckpoint(%d)", f.reserve.walPages))
	if f.writing, err = connect(f.options.Path, 1, pragmas); err != nil {
		return err
	}
	if f.reading, err = connect(f.options.Path, readers, readerPragmas); err != nil {
		return err
	}
	if f.conn, err = f.writing.Conn(ctx); err != nil {
		return f.Explain(err)
	}
	if err := inspect(ctx, f.options, f.conn, f.logger); err != nil {
		return err
	}
	if f.presence, err = newPresence(f.configured, f.options.Path); err != nil {
		return fmt.Errorf("open %s: %w", f.options.Path, err)
	}
	if f.Clock, err = openClock(ctx, f.conn, f.logger); err != nil {
		return f.Explain(err)
	}
	head, err := load(ctx, f, f.conn)
	if err != nil {
		return f.Explain(err)
	}
	f.writer = newWriter(f, head)
	return nil
}

// Start begins to commit writes and to watch the file. relieve is called while the disk is full; it removes what
// can be done without.
func (f *File) Start(relieve func(context.Context) error) {
	go f.writer.run()
	ctx, cancel := context.WithCancel(context.Background())
	f.watch = &watch{file: f, relieve: relieve, cancel: cancel, done: make(chan struct{})}
	go f.watch.run(ctx)
}

// Close ends what Start began: it gives waiting writes their outcome, moves everything into the main file and closes
// it. If the file is not in its place any more, what it holds is saved beside it. It returns when nothing is left
// running.
func (f *File) Close() error {
	f.watch.close()
	// If this fails, the next start is a little more careful about the time, and the writer has logged why.
	_ = f.Write(context.Background(), &Write{Frees: true, Apply: func(t *Tx) error { return t.saveClock() }})
	f.writer.close()
	if cut := f.presence.cut.Load(); cut != nil {
		// SQLite would checkpoint when its last connection is closed, and write what is left of a WAL that was cut over a
		// database that is whole. So that one stays open until the process ends.
		f.conn = nil
		f.logger.Error().Err(*cut).Msg("the files are left as they are")
	} else if err := f.presence.check(len(f.presence.files)); err != nil {
		f.rescue(err)
	}
	return f.closeAll()
}

// rescue saves what the open files hold when others, or none, are in their places. It empties the WAL into the
// database, wherever that is, because SQLite leaves the WAL of a database that was moved as it is: frames beside
// another database would do harm. A WAL that is another database's stays, which SQLite would remove by its name.
func (f *File) rescue(why error) {
	to := aside(f.options.Path, "rescued")
	_, err := f.conn.ExecContext(context.Background(), "PRAGMA wal_checkpoint(TRUNCATE)")
	if _, e := f.conn.ExecContext(context.Background(), "VACUUM INTO ?", to); e == nil {
		err = errors.Join(err, os.Chmod(to, 0o600))
	} else {
		err = errors.Join(err, e)
	}
	if id, e := identify(f.presence.names[walFile]); e != nil || !id.same(f.presence.files[walFile]) {
		err = errors.Join(err, f.conn.Raw(func(c any) error {
			_, err := c.(driver.FileControl).FileControlPersistWAL("main", 1)
			return err
		}))
	}
	f.logger.Error().AnErr("cause", why).Err(err).Str("file", to).Msg("the database is not in its place; what it held " +
		"was written to a file beside it, which can be moved there before the next start")
}

// closeAll closes what is open of the file and releases its lock.
func (f *File) closeAll() error {
	if err := errors.Join(f.disconnect(), f.lock.release()); err != nil {
		return fmt.Errorf("close %s: %w", f.options.Path, err)
	}
	return nil
}

// disconnect closes all connections; the last one checkpoints and removes the WAL.
func (f *File) disconnect() error {
	var errs []error
	if f.reading != nil {
		errs = append(errs, f.reading.Close())
	}
	if f.conn != nil {
		errs = append(errs, f.conn.Close())
		f.conn = nil
	}
	if f.writing != nil {
		errs = append(errs, f.writing.Close())
	}
	if f.presence != nil {
		errs = append(errs, f.presence.close())
	}
	return errors.Join(errs...)
}

// probeBytes is what Check writes to see whether writing works again: a few pages, so that the last free one does not
// pass for a disk with space.
const probeBytes = 64 << 10

// stalledAfter is how long a commit may take before the disk counts as one that does not answer.
const stalledAfter = 10 * time.Second

// StallAfter sets how long a commit may take before the disk counts as one that does not answer. Default 10 s.
func (f *File) StallAfter(d time.Duration) { f.stallAfter.Store(int64(d)) }

// Check returns nil while writing can be expected to succeed. It costs little while it does; after a failure it tries a
// write, so that the file is found well again also when nothing is written because it was not. Errors: [ErrMoved],
// [ErrStalled], or why writing fails.
func (f *File) Check(ctx context.Context) error {
	if err := f.stalled(); err != nil { // first: a disk that does not answer would not tell about files either
		return err
	}
	if err := f.presence.check(len(f.presence.files)); err != nil {
		return err
	}
	if f.writer.fault.Load() == nil {
		return nil
	}
	err := f.Write(ctx, &Write{Apply: func(t *Tx) error {
		_, err := t.Exec(`INSERT INTO meta (key, value) VALUES ('probe', zeroblob(?))
			ON CONFLICT DO UPDATE SET value = excluded.value`, probeBytes)
		return err
	}})
	if err != nil {
		return err
	}
	return f.Write(ctx, &Write{Frees: true, Apply: func(t *Tx) error {
		_, err := t.Exec("DELETE FROM meta WHERE key = 'probe'")
		return err
	}})
}

// stalled returns an error that is [ErrStalled] while the commit under way takes too long.
func (f *File) stalled() error {
	if busy := f.writer.busy(); busy > time.Duration(f.stallAfter.Load()) {
		return f.stalledFor(busy)
	}
	return nil
}

// StalledSince returns an error that is [ErrStalled] if not one commit has ended since a moment and the one under way
// takes longer than a busy disk explains: half of what Check allows, as it may have begun only a little before.
func (f *File) StalledSince(begun time.Time) error {
	busy := f.writer.busy()
	if busy >= time.Since(begun) && busy > time.Duration(f.stallAfter.Load())/2 {
		return f.stalledFor(busy)
	}
	return nil
}

func (f *File) stalledFor(busy time.Duration) error {
	return fmt.Errorf("%w: a write to %s has been under way for %v; check the disk, and what else keeps it busy",
		ErrStalled, f.options.Path, busy.Round(time.Second))
}

// Waiting returns how many writes wait for the writer, but for patient ones that it has seen.
func (f *File) Waiting() int { return len(f.writer.queue) }

const (
	sparePages  = 8192 // free pages that the file may keep for what comes next
	vacuumBatch = 256  // pages that one write gives back
)

// Vacuum gives free pages back to the disk while there are many more than new rows will fill soon.
func (f *File) Vacuum(ctx context.Context) error {
	for {
		var free, total int64
		_, err := f.One(ctx, "SELECT freelist_count, page_count FROM pragma_freelist_count, pragma_page_count", nil,
			&free, &total)
		if err != nil {
			return fmt.Errorf("count free pages: %w", err)
		}
		if free <= sparePages || free < total/4 {
			return nil
		}
		err = f.Write(ctx, &Write{Frees: true, Apply: func(t *Tx) error {
			_, err := t.Exec(fmt.Sprintf("PRAGMA incremental_vacuum(%d)", vacuumBatch))
			return err
		}})
		if err != nil {
			return err
		}
	}
}
