package sqlite

import (
	"errors"
	"fmt"

	driver "modernc.org/sqlite"
	codes "modernc.org/sqlite/lib"
)

// Errors of [Open] and of writing.
var (
	ErrLocked  = errors.New("the file is in use by another process")
	ErrDamaged = errors.New("the file is damaged or not ours")
	ErrNewer   = errors.New("the file was written by a newer version")
	ErrShards  = errors.New("the file has another number of shards")
	ErrFull    = errors.New("the disk is full")
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
	return false
}

// explain adds to an error what it means for the file and what can be done.
func explain(path string, err error) error {
	switch code(err) {
	case codes.SQLITE_FULL:
		return fmt.Errorf("%w: free some space where %s is; writing then goes on by itself (%w)", ErrFull, path, err)
	case codes.SQLITE_CORRUPT, codes.SQLITE_NOTADB:
		return damaged(path, err)
	case codes.SQLITE_BUSY:
		return fmt.Errorf("%s is locked by another program that has it open; end that program: %w", path, err)
	case codes.SQLITE_READONLY, codes.SQLITE_CANTOPEN, codes.SQLITE_PERM:
		return fmt.Errorf("%s cannot be written; check that its directory and all files beside it belong to the user that runs this: %w", path, err)
	}
	return fmt.Errorf("%s: %w", path, err)
}

func damaged(path string, cause error) error {
	return fmt.Errorf("%w: %s: %w; restore it, with the files beside it, from a copy, or move them away to begin anew", ErrDamaged, path, cause)
}
