package sqlite

import (
	"errors"
	"fmt"
	"io/fs"
)

// A presence tells whether the files of the open database are still the ones that their names lead to. A file that is
// removed, moved or replaced can be written for as long as it is open, and all that is lost at the next start. Any
// number of goroutines may use it at once.
type presence struct {
	names [3]string // the database as configured, -wal, -shm
	files [3]identity
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
	return p, nil
}

// walFile is the index of the WAL, and committed how many files a commit writes to. The third file is SQLite's shared
// memory.
const (
	walFile   = 1
	committed = 2
)

// has reports whether a file is in its place.
func (p *presence) has(i int) bool {
	id, err := identify(p.names[i])
	return err == nil && id.same(p.files[i])
}

// check looks at the first n files and returns nil or an error that is [ErrMoved].
func (p *presence) check(n int) error {
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
		return fmt.Errorf("%w: %s %s; no events are taken. Put the very same file back and it goes on by itself, "+
			"or stop evosink, which then saves what it still has beside it, and see to the files", ErrMoved, name, what)
	}
	return nil
}
