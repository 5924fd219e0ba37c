//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package file

import (
	"errors"
	"io/fs"
	"os"
	"syscall"
)

// noFollow makes the opening of a symbolic link fail.
const noFollow = syscall.O_NOFOLLOW

// lockFile takes the lock without waiting. It fails with errHeld if it is taken.
func lockFile(f *os.File) error {
	err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return errHeld
	}
	if err != nil {
		return os.NewSyscallError("flock", err)
	}
	return nil
}

// lockRange takes a lock of the kind that SQLite takes, until the file is closed.
func lockRange(f *os.File) error {
	err := syscall.FcntlFlock(f.Fd(), syscall.F_SETLK, &syscall.Flock_t{Type: syscall.F_WRLCK, Start: 120, Len: 1})
	return os.NewSyscallError("fcntl", err)
}

// names returns how many names (hard links) a file has.
func names(info fs.FileInfo) int {
	if s, ok := info.Sys().(*syscall.Stat_t); ok {
		return int(s.Nlink)
	}
	return 1
}

// full reports whether an error says that the disk is full.
func full(err error) bool { return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) }

// noLocks reports whether an error says that a file system has no locks.
func noLocks(err error) bool {
	return errors.Is(err, syscall.ENOLCK) || errors.Is(err, syscall.EOPNOTSUPP) || errors.Is(err, syscall.ENOSYS) ||
		errors.Is(err, syscall.ENOTSUP)
}
