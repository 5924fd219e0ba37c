package file

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
)

// A reserve is disk space that is kept for the time when the disk is full: to write down that something was
// delivered, or to remove it, takes space first. It is a file beside the database, path.reserve, which is removed in
// order to use it. It stays there while the database is closed, so that a start on a full disk has it too. Only one
// goroutine may use it at once.
type reserve struct {
	path  string
	bytes int64 // 0: none is kept
	// walPages is how many pages may gather in the WAL before they are moved into the database: 4,000 of 4 KiB halve
	// what is written twice. On a full disk the reserve must do for moving them, so a small reserve makes them fewer.
	walPages int64
}

// pageSize is how many bytes a page of the database and of the WAL has, about.
const pageSize = 4096

// newReserve returns the reserve of a database: as large as configured, but no more than a sixteenth of the disk.
func newReserve(o Options, path string) *reserve {
	r := &reserve{path: path + ".reserve", bytes: o.ReserveBytes, walPages: 4000}
	if size := diskSize(filepath.Dir(path)); size > 0 {
		r.bytes = min(r.bytes, size/16)
	}
	if r.bytes > 0 {
		r.walPages = min(r.walPages, max(16, r.bytes/2/pageSize))
	}
	return r
}

// fill takes the space. With more than that free by so many bytes it succeeds, else it takes nothing and fails with
// [ErrFull].
func (r *reserve) fill(more int64) error {
	if r.bytes == 0 {
		return nil
	}
	f, err := os.OpenFile(r.path, os.O_RDWR|os.O_CREATE|noFollow, 0o600)
	if err != nil {
		return explainSystem(r.path, err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() || names(info) > 1 {
		return fmt.Errorf("%s is there and is not the reserve of evosink; move it away", r.path)
	}
	if err = allocate(f, r.bytes+more); err == nil {
		err = f.Truncate(r.bytes)
	}
	if err != nil {
		r.release()
		return explainSystem(r.path, err)
	}
	return nil
}

// release gives the space to the next write. It is false if there was none.
func (r *reserve) release() bool {
	info, err := os.Lstat(r.path)
	return err == nil && os.Remove(r.path) == nil && info.Size() > 0
}

// writeRandom makes a file take so many bytes where the system cannot allocate them: no file system compresses these.
// What a file has is left as it is.
func writeRandom(f *os.File, bytes int64) error {
	have, err := f.Seek(0, io.SeekEnd)
	if err != nil || have >= bytes {
		return err
	}
	source := rand.NewChaCha8([32]byte{1})
	if _, err := io.CopyN(f, source, bytes-have); err != nil {
		return err
	}
	if err := f.Sync(); err != nil && !errors.Is(err, errors.ErrUnsupported) && !errors.Is(err, fs.ErrInvalid) {
		return err
	}
	return nil
}
