package file

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
)

// errHeld says that another process, or another DB of this one, has a lock.
var errHeld = errors.New("held")

// A fileLock makes a database file this DB's alone. It consists of three locks, which all end with the process,
// however that ends:
//
//   - one on a file beside the database, path.lock. It stays when the process ends and holds the pid for the error that
//     others get;
//   - one on the database file itself where the system keeps such a lock apart from SQLite's own (Linux), so that
//     another name of the same file (a bind mount, a hard link made later) does not let a second process in;
//   - one in this process. It comes first: to open and close the database file once more would drop SQLite's own POSIX
//     locks.
type fileLock struct {
	path   string // of the database, with all symbolic links resolved
	beside *os.File
	boot   string      // of the last process that had opened the file, see bootID
	itself *os.File    // the locked database file; nil where the system has no such lock
	info   fs.FileInfo // of the database file; nil until lockItself
}

// claims are the locks of the database files that this process has open.
var claims struct {
	mu sync.Mutex
	// mu guards the field below.
	held []*fileLock
}

// resolve returns the path of the file that a path leads to, which need not exist: a lock must be found beside the
// file, whatever symbolic links lead to it.
func resolve(path string) (string, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	for range 40 { // as many as Linux follows
		if resolved, err := filepath.EvalSymlinks(path); !errors.Is(err, fs.ErrNotExist) {
			return resolved, err
		}
		target, err := os.Readlink(path)
		if err != nil { // not a link: the file does not exist
			dir, err := filepath.EvalSymlinks(filepath.Dir(path))
			return filepath.Join(dir, filepath.Base(path)), err
		}
		if !filepath.IsAbs(target) {
			target = filepath.Join(filepath.Dir(path), target)
		}
		path = target
	}
	return "", fmt.Errorf("%s: too many symbolic links", path)
}

// acquire takes the lock beside a resolved path.
func acquire(path string) (*fileLock, error) {
	name := path + ".lock"
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|noFollow, 0o600)
	if err != nil {
		if info, e := os.Lstat(name); e == nil && info.Mode()&fs.ModeSymlink != 0 {
			err = fmt.Errorf("%s is a symbolic link; remove it", name)
		}
		return nil, fmt.Errorf("lock %s: %w", path, explainSystem(path, err))
	}
	c := &fileLock{path: path, beside: f}
	if err := c.lockBeside(); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return c, nil
}

// lockLine is the length of the first line of a lock file, the pid; the boot id follows in a second one. Lines of a
// fixed length are written in place, which works on a full disk too.
const lockLine = 20

// lockBeside locks the file beside the database, unless it holds something else than a lock, and writes the pid to it.
func (c *fileLock) lockBeside() error {
	info, err := c.beside.Stat()
	if err != nil {
		return fmt.Errorf("lock %s: %w", c.path, err)
	}
	b, _ := io.ReadAll(io.NewSectionReader(c.beside, 0, 4096)) // what cannot be read is not known, and is written below
	lines := strings.SplitN(string(b), "\n", 3)
	pid := strings.TrimSpace(lines[0])
	_, err = strconv.Atoi(pid)
	ours := len(b) == 0 || err == nil && len(b) <= 128
	if !info.Mode().IsRegular() || names(info) > 1 || !ours {
		return fmt.Errorf("lock %s: %s.lock is there and is not a lock of evosink; move it away", c.path, c.path)
	}
	if err := lockFile(c.beside); err != nil {
		return c.refused(err, pid)
	}
	// To SQLite a file system without locks of this kind is one that is busy for ever.
	if err := lockRange(c.beside); err != nil {
		return c.refused(err, pid)
	}
	if len(lines) > 1 {
		c.boot = strings.TrimSpace(lines[1])
	}
	if _, err := c.beside.WriteAt(fmt.Appendf(nil, "%-*d\n", lockLine-1, os.Getpid()), 0); err != nil && !full(err) {
		return fmt.Errorf("lock %s: %w", c.path, err)
	}
	return nil
}

// lockItself takes the lock on the database file, which must exist.
func (c *fileLock) lockItself() error {
	info, err := os.Lstat(c.path)
	if err != nil {
		return fmt.Errorf("lock %s: %w", c.path, err)
	}
	if n := names(info); n > 1 {
		return fmt.Errorf("lock %s: the file has %d names (hard links), and its -wal file belongs to only one of them; "+
			"remove the others, or make copies of them", c.path, n)
	}
	claims.mu.Lock()
	defer claims.mu.Unlock()
	for _, other := range claims.held {
		if os.SameFile(other.info, info) {
			return c.refused(errHeld, strconv.Itoa(os.Getpid()))
		}
	}
	if c.itself, err = lockDatabase(c.path); err != nil {
		return c.refused(err, "")
	}
	c.info = info
	claims.held = append(claims.held, c)
	return nil
}

// refused returns the error of a lock that was not given.
func (c *fileLock) refused(err error, pid string) error {
	if !errors.Is(err, errHeld) {
		return fmt.Errorf("lock %s: %w", c.path, explainSystem(c.path, err))
	}
	holder := "another process"
	if pid != "" {
		holder = "the process with pid " + pid
	}
	return fmt.Errorf("%w: %s is open in %s; end it first, or give this one a path of its own", ErrLocked, c.path, holder)
}

// opened notes in the lock file that this system has opened the database.
func (c *fileLock) opened() {
	// If this fails less is known by sameBoot, which is safe.
	_, _ = c.beside.WriteAt(fmt.Appendf(nil, "%-36s\n", bootID()), lockLine)
}

// sameBoot reports whether the system has run without interruption since the database was last open: what was written
// then is there, synced or not.
func (c *fileLock) sameBoot() bool {
	boot := bootID()
	return boot != "" && c.boot == boot
}

// release gives everything back. SQLite must have closed the file.
func (c *fileLock) release() error {
	claims.mu.Lock()
	for i, other := range claims.held {
		if other == c {
			claims.held = append(claims.held[:i], claims.held[i+1:]...)
			break
		}
	}
	claims.mu.Unlock()
	var err error
	if c.itself != nil {
		err = c.itself.Close()
	}
	return errors.Join(err, c.beside.Close())
}
