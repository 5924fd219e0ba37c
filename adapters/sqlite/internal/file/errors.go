package file

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	driver "modernc.org/sqlite"
	codes "modernc.org/sqlite/lib"
)

// Errors of opening and of writing.
var (
	ErrLocked  = errors.New("the file is in use by another process")
	ErrDamaged = errors.New("the file is damaged or not ours")
	ErrNewer   = errors.New("the file was written by a newer version")
	ErrShards  = errors.New("the file has another number of shards")
	ErrFull    = errors.New("the disk is full")
	ErrMoved   = errors.New("the file is not in its place any more")
	ErrStalled = errors.New("the disk does not answer")
)

// code returns SQLite's primary result code, 0 for other errors.
func code(err error) int {
	var e *driver.Error
	if !errors.As(err, &e) {
		return 0
	}
	if e.Code() == codes.SQLITE_IOERR_SHMSIZE {
		return codes.SQLITE_FULL // no page left for the shared memory beside the file
	}
	return e.Code() & 0xff
}

// environmental reports whether an error is one of the file or the disk, which the next write would meet too.
func environmental(err error) bool {
	switch code(err) {
	case codes.SQLITE_FULL, codes.SQLITE_IOERR, codes.SQLITE_CORRUPT, codes.SQLITE_NOTADB, codes.SQLITE_CANTOPEN,
		codes.SQLITE_READONLY, codes.SQLITE_BUSY, codes.SQLITE_NOMEM, codes.SQLITE_PERM, codes.SQLITE_PROTOCOL:
		return true
	}
	return errors.Is(err, ErrMoved)
}

// Explain adds to an error of SQLite what it means for the file and what can be done; nil stays nil.
func (f *File) Explain(err error) error { return explain(f.options.Path, err) }

// Damaged returns an error that is [ErrDamaged] and says what can be done.
func (f *File) Damaged(cause error) error { return damaged(f.options.Path, cause) }

// explain adds to an error of SQLite what it means for the file and what can be done. SQLite does not pass on what the
// system said when a file beside the database could not be made or locked (it may call both "busy"), so the system is
// asked again.
func explain(path string, err error) error {
	if err == nil || errors.Is(err, ErrDamaged) {
		return err
	}
	switch code(err) {
	case codes.SQLITE_FULL:
		return fmt.Errorf("%w: free some space where %s is; writing then goes on by itself (%w)", ErrFull, path, err)
	case codes.SQLITE_CORRUPT, codes.SQLITE_NOTADB:
		return damaged(path, err)
	case codes.SQLITE_CANTOPEN, codes.SQLITE_READONLY, codes.SQLITE_PERM, codes.SQLITE_IOERR, codes.SQLITE_BUSY,
		codes.SQLITE_PROTOCOL:
		if cause := probe(path); cause != nil {
			return fmt.Errorf("%s: %w (%w)", path, cause, err)
		}
	}
	switch code(err) {
	case codes.SQLITE_BUSY, codes.SQLITE_PROTOCOL:
		return fmt.Errorf("%s is locked by another program that has it open; end that program: %w", path, err)
	case codes.SQLITE_READONLY, codes.SQLITE_CANTOPEN, codes.SQLITE_PERM:
		return fmt.Errorf("%s cannot be written; check that its directory and all files beside it belong to the user that "+
			"runs this: %w", path, err)
	}
	return fmt.Errorf("%s: %w", path, err)
}

// probe makes and locks a file beside the database, as SQLite does, and returns why that does not work.
func probe(path string) error {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".probe-*")
	if err != nil {
		return explainSystem(path, err)
	}
	err = lockRange(f)
	_ = errors.Join(f.Close(), os.Remove(f.Name())) // it is empty, and what matters is known
	if err != nil {
		return explainSystem(path, err)
	}
	return nil
}

// explainSystem adds to an error of the system, met in the directory of the database, what can be done.
func explainSystem(path string, err error) error {
	dir := filepath.Dir(path)
	switch {
	case full(err) && noInodes(dir):
		return fmt.Errorf("%w: no inodes are left, so no file can be made beside it; remove files where %s is, or make a "+
			"file system with more inodes: %w", ErrFull, dir, err)
	case full(err):
		return fmt.Errorf("%w: free some space where %s is: %w", ErrFull, dir, err)
	case noLocks(err):
		return fmt.Errorf("the file system of %s has no locks (a network file system?); use a local disk: %w", dir, err)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%s must belong to the user that runs this, with all files in it: %w", dir, err)
	}
	return err
}

func damaged(path string, cause error) error {
	return fmt.Errorf("%w: %s: %w; restore it, with the files beside it, from a copy, or move them away to begin anew",
		ErrDamaged, path, cause)
}
