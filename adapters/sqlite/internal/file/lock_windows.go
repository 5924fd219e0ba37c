package file

import (
	"errors"
	"io/fs"
	"os"

	"golang.org/x/sys/windows"
)

// noFollow is nothing: to make a symbolic link takes a privilege.
const noFollow = 0

// lockFile takes the lock without waiting. It fails with errHeld if it is taken. The locked byte lies far
// behind the content, which others may read.
func lockFile(f *os.File) error {
	at := &windows.Overlapped{OffsetHigh: 1}
	const flags = windows.LOCKFILE_EXCLUSIVE_LOCK | windows.LOCKFILE_FAIL_IMMEDIATELY
	err := windows.LockFileEx(windows.Handle(f.Fd()), flags, 0, 1, 0, at)
	if errors.Is(err, windows.ERROR_LOCK_VIOLATION) {
		return errHeld
	}
	return err
}

// lockRange does nothing: there is one kind of locks.
func lockRange(*os.File) error { return nil }

// names returns how many names (hard links) a file has, as far as that is known.
func names(fs.FileInfo) int { return 1 }

// full reports whether an error says that the disk is full.
func full(err error) bool { return errors.Is(err, windows.ERROR_DISK_FULL) }

// noLocks reports whether an error says that a file system has no locks.
func noLocks(err error) bool { return errors.Is(err, windows.ERROR_NOT_SUPPORTED) }
