package file

import (
	"errors"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// lockDatabase locks a database file itself. A lock of flock is apart from the POSIX locks by which SQLite's
// connections agree, but not on NFS, where the server makes both the same: there the lock beside the file has to do.
func lockDatabase(path string) (*os.File, error) {
	var s unix.Statfs_t
	if err := unix.Statfs(path, &s); err != nil || s.Type == unix.NFS_SUPER_MAGIC {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_RDWR|noFollow, 0)
	if err != nil {
		return nil, err
	}
	if err := lockFile(f); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// bootID returns what is another after each start of the system; "" if that is not known.
func bootID() string {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil || len(b) > 64 {
		return ""
	}
	return strings.TrimSpace(string(b))
}

// noInodes reports whether the file system of a directory has bytes but no inodes left.
func noInodes(dir string) bool {
	var s unix.Statfs_t
	return unix.Statfs(dir, &s) == nil && s.Files > 0 && s.Ffree == 0
}

// diskSize returns the size of the file system of a directory in bytes; 0 if that is not known.
func diskSize(dir string) int64 {
	var s unix.Statfs_t
	if unix.Statfs(dir, &s) != nil {
		return 0
	}
	return int64(s.Blocks) * int64(s.Bsize) //nolint:unconvert // Bsize is an int32 on some systems
}

// allocate gives a file so many bytes that no other file can take. It fails with [unix.ENOSPC] if there are not so
// many.
func allocate(f *os.File, bytes int64) error {
	err := unix.Fallocate(int(f.Fd()), 0, 0, bytes)
	if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENOSYS) {
		return writeRandom(f, bytes)
	}
	return os.NewSyscallError("fallocate", err)
}
