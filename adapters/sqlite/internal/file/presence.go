package file

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"sync/atomic"
)

// A presence tells whether the files of the open database are still the ones that their names lead to. A file that is
// removed, moved or replaced can be written for as long as it is open, and all that is lost at the next start. Any
// number of goroutines may use it at once.
type presence struct {
	names [3]string // the database as configured, -wal, -shm
	files [3]identity

	heads   [committed]*os.File // of what a commit writes to. Closed late: it would end SQLite's locks on the database
	emptied atomic.Bool         // the WAL is empty, and this process made it so
	cut     atomic.Pointer[error]
}

// newPresence takes the files as they are now, which must be right after they were opened.
func newPresence(configured, path string) (*presence, error) {
	p := &presence{names: [3]string{configured, path + "-wal", path + "-shm"}}
	for i, name := range p.names {
		id, err := identify(name)
		if err != nil {
			return nil, err
		}
		p.files[i] = id
	}
	p.emptied.Store(true)
	for i := range p.heads {
		f, err := os.Open(p.names[i])
		if err != nil {
			return nil, errors.Join(err, p.close())
		}
		p.heads[i] = f
	}
	return p, nil
}

// close must be called when no connection to the database is open any more.
func (p *presence) close() error {
	var errs []error
	for _, f := range p.heads {
		if f != nil {
			errs = append(errs, f.Close())
		}
	}
	return errors.Join(errs...)
}

// look finds files that were cut, or written over from their beginning, while they are open: what is gone of them does
// not come back, so check fails from then on.
func (p *presence) look() {
	for i, known := range [committed][]string{{"SQLite format 3\x00"}, {"\x37\x7f\x06\x82", "\x37\x7f\x06\x83"}} {
		head := make([]byte, len(known[0]))
		n, err := p.heads[i].ReadAt(head, 0)
		switch {
		case err == nil && slices.Contains(known, string(head)):
			if i == walFile {
				p.emptied.Store(false)
			}
		case err != nil && !errors.Is(err, io.EOF): // a disk that fails is found by what is written
		case i == walFile && n == 0 && p.emptied.Load():
		default:
			err := fmt.Errorf("%w: %s was cut or written over by another program while it was open; no events are taken. "+
				"Stop evosink and restore the database from a copy", ErrMoved, p.names[i])
			p.cut.CompareAndSwap(nil, &err)
		}
	}
}

// walFile is the index of the WAL, and committed how many files a commit writes to. The third file is SQLite's shared
// memory.
const (
	walFile   = 1
	committed = 2
)

// check looks at the first n files and returns nil or an error that is [ErrMoved].
func (p *presence) check(n int) error {
	if cut := p.cut.Load(); cut != nil {
		return *cut
	}
	for i, name := range p.names[:n] {
		id, err := identify(name)
		if err == nil && id.same(p.files[i]) {
			continue
		}
		what := "is another file than the one that was opened"
		switch {
		case errors.Is(err, fs.ErrNotExist):
			what = "was removed or moved while it was open"
		case err != nil:
			what = "cannot be looked at: " + err.Error()
		}
		consequence := "no events are taken"
		if i >= committed { // memory that processes share, of which there is one
			consequence = "events are still taken"
		}
		return fmt.Errorf("%w: %s %s; %s. Put the very same file back and it goes on by itself, or stop evosink, which then "+
			"saves what it still has beside it, and see to the files", ErrMoved, name, what, consequence)
	}
	return nil
}
