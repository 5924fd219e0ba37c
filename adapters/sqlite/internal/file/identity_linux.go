package file

import (
	"io/fs"

	"golang.org/x/sys/unix"
)

// An identity is what makes a file that very file, whatever its name.
type identity struct {
	device, inode uint64
}

// identify returns the identity of the file that name leads to. It asks for nothing else, above all not for times: on
// kernels with fine-grained timestamps (6.13 and newer) the next write after that gives the file new times, which an
// fsync must write down too; that makes a commit a third slower.
func identify(name string) (identity, error) {
	var s unix.Statx_t
	for {
		err := unix.Statx(unix.AT_FDCWD, name, unix.AT_STATX_DONT_SYNC, unix.STATX_INO, &s)
		if err == unix.EINTR {
			continue
		}
		if err == unix.ENOSYS || err == unix.EPERM { // kernels before 4.11, and containers that forbid what they do not know
			var old unix.Stat_t
			if err = unix.Stat(name, &old); err == nil {
				return identity{old.Dev, old.Ino}, nil
			}
		}
		if err != nil {
			return identity{}, &fs.PathError{Op: "stat", Path: name, Err: err}
		}
		return identity{unix.Mkdev(s.Dev_major, s.Dev_minor), s.Ino}, nil
	}
}

func (i identity) same(other identity) bool { return i == other }
