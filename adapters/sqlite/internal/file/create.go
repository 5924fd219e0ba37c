package file

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/rs/zerolog"
	driver "modernc.org/sqlite"
)

// The pragmas of every connection, and of the two kinds; the writer's wal_autocheckpoint is that of
// [reserve.walPages]. The cache keeps the inner pages of the indexes.
var (
	pragmas       = []string{"busy_timeout(5000)", "synchronous(FULL)", "trusted_schema(OFF)"}
	writerPragmas = []string{"journal_size_limit(67108864)", "cache_size(-8192)"}
	readerPragmas = []string{"query_only(ON)"}
)

// readers is the size of the read pool. It serves subscriptions that are behind and replays; those that keep up need
// none.
const readers = 4

// connect returns a pool of connections to an existing file.
func connect(path string, size int, kind []string) (*sql.DB, error) {
	query := url.Values{"mode": {"rw"}, "_pragma": append(append([]string{}, pragmas...), kind...)}
	escaped := strings.NewReplacer("%", "%25", "?", "%3f", "#", "%23").Replace(filepath.ToSlash(path))
	c, err := driver.NewConnector("file:" + escaped + "?" + query.Encode())
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	db := sql.OpenDB(c)
	db.SetMaxOpenConns(size)
	db.SetMaxIdleConns(size)
	return db, nil
}

// prepare makes sure that a file is there that is not empty. A new one is made under another name and renamed when it
// is complete: an empty file at the path is therefore never an unfinished one, but one that was truncated.
func prepare(ctx context.Context, o Options) error {
	info, err := os.Stat(o.Path)
	switch {
	case err == nil && !info.Mode().IsRegular():
		return fmt.Errorf("open %s: it is not a regular file; give the path of a file", o.Path)
	case err == nil && info.Size() == 0:
		return damaged(o.Path, errors.New("it is empty"))
	case err == nil:
		return nil
	case !errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("open %s: %w", o.Path, err)
	}
	for _, suffix := range []string{"-wal", "-journal"} {
		if _, err := os.Stat(o.Path + suffix); err == nil {
			return damaged(o.Path, fmt.Errorf("it is missing, but %s%s is there and holds events", o.Path, suffix))
		}
	}
	path := o.Path + ".new"
	for _, suffix := range []string{"", "-journal", "-wal", "-shm"} { // of an attempt that was interrupted
		if err := os.Remove(path + suffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("create %s: %w", o.Path, err)
		}
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600) // SQLite gives the files beside it the same mode
	if err != nil {
		return fmt.Errorf("create %s: %w", o.Path, err)
	}
	if err := errors.Join(f.Close(), fill(ctx, path, o.Shards)); err != nil {
		return fmt.Errorf("create %s: %w", o.Path, err)
	}
	if err := os.Rename(path, o.Path); err != nil {
		return fmt.Errorf("create %s: %w", o.Path, err)
	}
	dir, err := os.Open(filepath.Dir(o.Path)) // makes the new name survive a power cut, where the system has that
	if err != nil {
		return err
	}
	defer dir.Close()
	if err := dir.Sync(); err != nil && !errors.Is(err, errors.ErrUnsupported) && !errors.Is(err, fs.ErrInvalid) {
		return fmt.Errorf("sync directory %s: %w", dir.Name(), err)
	}
	return nil
}

// fill writes the first version of everything into an empty file.
func fill(ctx context.Context, path string, shards int) (err error) {
	db, err := connect(path, 1, nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	conn, err := db.Conn(ctx)
	if err != nil {
		return explain(path, err)
	}
	defer conn.Close()
	script := fmt.Sprintf("PRAGMA auto_vacuum = INCREMENTAL; PRAGMA application_id = %d", applicationID)
	if _, err := conn.ExecContext(ctx, script); err != nil {
		return explain(path, err)
	}
	if err := migrate(ctx, conn, 0); err != nil {
		return explain(path, err)
	}
	if _, err := conn.ExecContext(ctx, "INSERT INTO meta (key, value) VALUES ('shards', ?)", shards); err != nil {
		return explain(path, err)
	}
	return nil
}

// inspect checks an existing file and brings it to the newest version.
func inspect(ctx context.Context, o Options, conn *sql.Conn, logger zerolog.Logger) error {
	v, err := version(ctx, o.Path, conn)
	if err != nil {
		return err
	}
	var mode string
	if err := pragma(ctx, conn, "journal_mode=WAL", &mode); err != nil {
		return explain(o.Path, err)
	}
	if mode != "wal" {
		return fmt.Errorf("%s: SQLite refuses WAL there (mode %s); use a local disk, not a network one", o.Path, mode)
	}
	if err := checkSize(ctx, o.Path, conn); err != nil && !(o.AcceptDamage && errors.Is(err, ErrDamaged)) {
		return err
	}
	shared, err := sharedTokens(ctx, conn)
	if err != nil {
		return explain(o.Path, err)
	}
	if err := migrate(ctx, conn, v); err != nil {
		return explain(o.Path, err)
	}
	if len(shared) > 0 {
		logger.Warn().Strs("instances", shared).
			Msg("these instances had the same token as an older one, which alone keeps it; " +
				"give each a new one: POST /instance/token/{instance}")
	}
	var shards int
	err = conn.QueryRowContext(ctx, "SELECT value FROM meta WHERE key = 'shards'").Scan(&shards)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return damaged(o.Path, errors.New("its number of shards is missing"))
	case err != nil:
		return explain(o.Path, err)
	case shards != o.Shards:
		return fmt.Errorf("%w: %s was made with %d and keeps them, the configuration says %d; set shards to %d, or begin a "+
			"new file", ErrShards, o.Path, shards, o.Shards, shards)
	}
	return nil
}

// checkSize finds a file that was cut off, also at its very end: with everything moved from the WAL into it, it has
// exactly the pages that its header says.
func checkSize(ctx context.Context, path string, conn *sql.Conn) error {
	var busy, frames, moved int
	if err := pragma(ctx, conn, "wal_checkpoint(TRUNCATE)", &busy, &frames, &moved); err != nil {
		if environmental(err) && !errors.Is(explain(path, err), ErrDamaged) {
			return nil // a full disk: the events stay in the WAL, and reading them needs no space
		}
		return explain(path, err)
	}
	if busy != 0 {
		return nil // another program reads the file
	}
	var pages, size int64
	if err := errors.Join(pragma(ctx, conn, "page_count", &pages), pragma(ctx, conn, "page_size", &size)); err != nil {
		return explain(path, err)
	}
	info, err := os.Stat(path)
	if err != nil {
		return fmt.Errorf("open %s: %w", path, err)
	}
	if info.Size() != pages*size {
		return damaged(path, fmt.Errorf("it has %d bytes and should have %d", info.Size(), pages*size))
	}
	return nil
}
