package file

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"github.com/rs/zerolog"
)

// verify looks for damage that SQLite passes over without a word, before SQLite opens the files: to SQLite the WAL
// ends in front of the first frame that is not as it should be, and of a database that is too short the end is in the
// WAL. It reads the WAL once and nothing of the database but its first bytes. sameBoot says that nothing was
// lost by a power cut since the files were last written. With AcceptDamage the files are copied and it goes on.
func verify(o Options, sameBoot bool, log zerolog.Logger) error {
	err := findDamage(o.Path, sameBoot)
	if err == nil || !errors.Is(err, ErrDamaged) || !o.AcceptDamage {
		return err
	}
	to := aside(o.Path, "damaged")
	for _, suffix := range []string{"", "-wal", "-shm"} {
		if err := copyFile(o.Path+suffix, to+suffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("copy the damaged files: %w", explainSystem(o.Path, err))
		}
	}
	log.Error().Err(err).Str("copy", to).
		Msg("going on with a damaged file because of sqlite.accept_damage; what it has lost is lost")
	return nil
}

// aside returns a name beside a path for a copy of it.
func aside(path, what string) string {
	return fmt.Sprintf("%s.%s-%s", path, what, time.Now().UTC().Format("20060102T150405.000Z"))
}

func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Sync(), out.Close())
}

// findDamage compares what database, WAL and shared memory say of each other. The shared memory, a file that outlives
// its processes, has the number of committed frames of the WAL. It is written after the WAL was synced, so it never has
// more than there were.
func findDamage(path string, sameBoot bool) error {
	wal, err := readWAL(path + "-wal")
	if err != nil {
		return err
	}
	index, err := readIndex(path + "-shm")
	if err != nil {
		return err
	}
	lost := func(format string, args ...any) error {
		return fmt.Errorf("%w; or set sqlite.accept_damage (SQLITE_ACCEPT_DAMAGE=true) to go on without what is lost, a "+
			"copy is made first", damaged(path, fmt.Errorf(format, args...)))
	}
	switch {
	case wal.broken:
		return lost("the head of %s-wal cannot be read, and there are frames behind it", path)
	case index.salts != nil && bytes.Equal(index.salts, wal.salts):
		if index.committed > wal.committed {
			return lost("%s-wal had %d frames, and only %d of them can be read", path, index.committed, wal.committed)
		}
		if !sameBoot && wal.behind {
			return lost("a frame in the middle of %s-wal is damaged (number %d)", path, wal.valid+1)
		}
	case wal.behind:
		return lost("a frame in the middle of %s-wal is damaged (number %d)", path, wal.valid+1)
	case wal.salts == nil && sameBoot && index.committed > index.moved:
		return lost("%s-wal is missing or was cut off and had %d frames (if the database is a copy that was put there, "+
			"%[1]s-shm belongs to the former one: remove it)", path, index.committed)
	}
	return checkLength(path, wal, lost)
}

// checkLength finds a database that was cut off: it must have all pages that are not in the WAL.
func checkLength(path string, wal walContent, lost func(string, ...any) error) error {
	f, err := os.Open(path) // nothing of SQLite has it open, so nothing is lost when it is closed
	if err != nil {
		return fmt.Errorf("open %s: %w", path, err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return fmt.Errorf("open %s: %w", path, err)
	}
	pageSize, pages := wal.pageSize, wal.pages
	if wal.committed == 0 {
		head := make([]byte, 100)
		if _, err := f.ReadAt(head, 0); err != nil || !bytes.Equal(head[24:28], head[92:96]) {
			return nil // SQLite finds out what is wrong with it, if anything is, and does not trust the number either
		}
		pageSize, pages = int64(binary.BigEndian.Uint16(head[16:])), int64(binary.BigEndian.Uint32(head[28:]))
		if pageSize == 1 {
			pageSize = 65536
		}
	}
	if pageSize == 0 {
		return nil
	}
	lockPage := 1<<30/pageSize + 1 // is never written
	for page := info.Size()/pageSize + 1; page <= pages; page++ {
		if _, ok := wal.in[uint32(page)]; !ok && page != lockPage {
			return lost("it was cut off: it has %d bytes and should have %d, and page %d is not in its -wal either",
				info.Size(), pages*pageSize, page)
		}
	}
	return nil
}

// walContent is what a WAL holds. See "The Write-Ahead Log" in SQLite's file format.
type walContent struct {
	salts     []byte // which its frames carry; nil if there is no WAL or nothing in it
	broken    bool   // it has no readable head, but something behind that
	pageSize  int64
	committed int64               // frames up to the last commit that can be read
	valid     int64               // frames with the right checksum
	pages     int64               // of the database as of that commit
	in        map[uint32]struct{} // pages up to that commit
	behind    bool                // there are frames behind the first wrong one that a power cut does not explain
}

const (
	walHead   = 32
	frameHead = 24
)

// readWAL reads a WAL, one that does not exist as an empty one.
//
// A commit is synced before the next one is written, so a power cut leaves a tail of the last commit only, of which
// anything may be missing: at most one frame, the last, says that it commits. Frames that go on behind such a one
// were written when what is in front of them was safe on the disk; if that cannot be read, it was damaged later.
// Frames of an earlier generation, which have other salts, are behind the last commit anyway.
func readWAL(name string) (w walContent, err error) {
	f, err := os.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return w, nil
	}
	if err != nil {
		return w, fmt.Errorf("read the WAL: %w", err)
	}
	defer f.Close()
	in := bufio.NewReaderSize(f, 1<<20)
	head := make([]byte, walHead)
	if _, err := io.ReadFull(in, head); err != nil {
		return w, endOfWAL(err)
	}
	magic := binary.BigEndian.Uint32(head)
	var order binary.ByteOrder = binary.LittleEndian
	if magic&1 == 1 {
		order = binary.BigEndian
	}
	w.pageSize = int64(binary.BigEndian.Uint32(head[8:]))
	sum := checksum{}.add(order, head[:24])
	if magic&^1 != 0x377f0682 || !sum.is(head[24:]) || w.pageSize < 512 || w.pageSize > 65536 {
		w.broken, err = somethingIn(in)
		return w, err
	}
	w.salts, w.in = head[16:24], map[uint32]struct{}{}
	frame := make([]byte, frameHead+w.pageSize)
	var since []uint32 // pages since the last commit
	wrong, ended := false, false
	for {
		if _, err := io.ReadFull(in, frame); err != nil {
			return w, endOfWAL(err)
		}
		page, size := binary.BigEndian.Uint32(frame), binary.BigEndian.Uint32(frame[4:])
		if !wrong {
			next := sum.add(order, frame[:8]).add(order, frame[frameHead:])
			if wrong = page == 0 || !bytes.Equal(frame[8:16], w.salts) || !next.is(frame[16:24]); !wrong {
				sum, since = next, append(since, page)
				w.valid++
				if size == 0 {
					continue
				}
				for _, p := range since {
					w.in[p] = struct{}{}
				}
				w.committed, w.pages, since = w.valid, int64(size), since[:0]
				continue
			}
		}
		// One salt is enough: it may be the other one that is damaged.
		if bytes.Equal(frame[8:12], w.salts[:4]) || bytes.Equal(frame[12:16], w.salts[4:]) {
			w.behind = w.behind || ended
			ended = ended || size != 0
		}
	}
}

// endOfWAL returns nil for the errors of a file that ends.
func endOfWAL(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return nil
	}
	return fmt.Errorf("read the WAL: %w", err)
}

// somethingIn reports whether something that is not zero is left to be read.
func somethingIn(in *bufio.Reader) (bool, error) {
	for {
		b, err := in.ReadByte()
		if err != nil {
			return false, endOfWAL(err)
		}
		if b != 0 {
			return true, nil
		}
	}
}

// A checksum is that of the WAL.
type checksum [2]uint32

// add returns the checksum with further bytes, a multiple of 8.
func (c checksum) add(order binary.ByteOrder, b []byte) checksum {
	s0, s1 := c[0], c[1]
	if order == binary.LittleEndian { // the usual one, without a call for each word
		for ; len(b) >= 8; b = b[8:] {
			s0 += binary.LittleEndian.Uint32(b) + s1
			s1 += binary.LittleEndian.Uint32(b[4:]) + s0
		}
		return checksum{s0, s1}
	}
	for ; len(b) >= 8; b = b[8:] {
		s0 += order.Uint32(b) + s1
		s1 += order.Uint32(b[4:]) + s0
	}
	return checksum{s0, s1}
}

// is reports whether the checksum is the stored one.
func (c checksum) is(stored []byte) bool {
	return c[0] == binary.BigEndian.Uint32(stored) && c[1] == binary.BigEndian.Uint32(stored[4:])
}

// walIndex is the head of the shared memory beside a WAL. See "The WAL-Index File Format" of SQLite.
type walIndex struct {
	salts     []byte // nil if there is none that can be read
	committed int64  // frames
	moved     int64  // of them, into the database
}

func readIndex(name string) (walIndex, error) {
	f, err := os.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return walIndex{}, nil
	}
	if err != nil {
		return walIndex{}, fmt.Errorf("read the WAL's index: %w", err)
	}
	defer f.Close()
	const size = 48
	b := make([]byte, 2*size+4)
	if _, err := f.ReadAt(b, 0); err != nil {
		return walIndex{}, nil // it is too short to hold one
	}
	native := binary.NativeEndian
	sum := checksum{}
	for i := 0; i < 40; i += 8 {
		sum[0] += native.Uint32(b[i:]) + sum[1]
		sum[1] += native.Uint32(b[i+4:]) + sum[0]
	}
	initialised := b[12] != 0
	whole := sum[0] == native.Uint32(b[40:]) && sum[1] == native.Uint32(b[44:])
	if !bytes.Equal(b[:size], b[size:2*size]) || !initialised || !whole {
		return walIndex{}, nil // torn by a power cut, or never used
	}
	return walIndex{salts: b[32:40], committed: int64(native.Uint32(b[16:])), moved: int64(native.Uint32(b[96:]))}, nil
}
