package sqlite_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/evosink/evosink/adapters/sqlite"
	"github.com/evosink/evosink/core/sink"
)

// mortal is a sink whose target is down until it is revived. It counts how often each event was delivered.
type mortal struct {
	alive atomic.Bool

	mu sync.Mutex
	// mu guards the field below.
	got map[string]int
}

func (*mortal) Start(context.Context) error { return nil }
func (*mortal) Close(context.Context) error { return nil }

func (m *mortal) Deliver(_ context.Context, d *sink.Delivery) error {
	if !m.alive.Load() {
		return errors.New("the target is down")
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.got == nil {
		m.got = map[string]int{}
	}
	m.got[d.Event.ID]++
	return nil
}

func (m *mortal) count() (events, deliveries int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, n := range m.got {
		events++
		deliveries += n
	}
	return events, deliveries
}

// A disk that is full of what waits for a dead receiver, on a real file system: the log fills it together with the
// queue.
func TestADiskFullOfABacklogEmptiesItselfWhenTheReceiverIsBack(t *testing.T) {
	c := newConfig(t)
	c.Path = filepath.Join(smallDisk(t, 12<<20), "evosink.db")
	db, err := sqlite.Open(t.Context(), c, nop)
	if err != nil {
		t.Fatal(err)
	}
	s := &mortal{}
	q := startQueue(t, db, s)
	large := fmt.Appendf(nil, "%q", make([]byte, 2000))
	put := 0
	for ; err == nil; put++ {
		if err = publishOne(db, "a", put); err == nil {
			err = putNumbered(q, put, large)
		}
	}
	put-- // the last one was refused
	if !errors.Is(err, sqlite.ErrFull) {
		t.Fatalf("the disk is full: %v, want ErrFull", err)
	}
	if err := db.Check(t.Context()); !errors.Is(err, sqlite.ErrFull) {
		t.Fatalf("Check: %v, want ErrFull", err)
	}
	s.alive.Store(true)
	waitFor(t, "everything is delivered, and that is written down", func() bool {
		lanes, err := db.Queue().Lanes(t.Context())
		n, _ := s.count()
		return err == nil && len(lanes) == 0 && n >= put
	})
	waitFor(t, "the database is well again by itself", func() bool { return db.Check(t.Context()) == nil })
	if err := publishOne(db, "a", put); err != nil {
		t.Errorf("publish: %v", err)
	}
	before, _ := s.count()
	if err := q.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	closeDB(t, db)

	again := &mortal{}
	again.alive.Store(true)
	db = open(t, c)
	q = startQueue(t, db, again)
	if err := putNumbered(q, 1_000_000, []byte("1")); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the next event is delivered", func() bool { n, _ := again.count(); return n > 0 })
	if n, _ := again.count(); n != 1 {
		t.Errorf("%d of %d events that were delivered are delivered again after a restart", n-1, before)
	}
}

func TestAStartOnAFullDiskDeliversAndTakesEventsWhenThereIsSpace(t *testing.T) {
	c := newConfig(t)
	dir := smallDisk(t, 12<<20)
	c.Path = filepath.Join(dir, "evosink.db")
	db := open(t, c)
	s := &mortal{}
	q := startQueue(t, db, s)
	for n := range 100 {
		if err := putNumbered(q, n, []byte("1")); err != nil {
			t.Fatal(err)
		}
	}
	if err := q.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	closeDB(t, db)
	ballast := filepath.Join(dir, "ballast")
	for free := 8 << 20; free > 0; free /= 2 { // to the last byte
		if f, err := os.OpenFile(ballast, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600); err == nil {
			f.Write(make([]byte, free))
			f.Close()
		}
	}
	db = open(t, c)
	if err := publishOne(db, "a", 0); !errors.Is(err, sqlite.ErrFull) {
		t.Errorf("publish on a full disk: %v, want ErrFull", err)
	}
	s = &mortal{}
	s.alive.Store(true)
	startQueue(t, db, s)
	waitFor(t, "everything is delivered, and that is written down", func() bool {
		lanes, err := db.Queue().Lanes(t.Context())
		return err == nil && len(lanes) == 0
	})
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(db.Check(t.Context()), publishOne(db, "a", 0)); err != nil {
		t.Errorf("with space again: %v", err)
	}
}

func TestTheReserveIsForItsOwnerOnlyAndNoMoreThanConfigured(t *testing.T) {
	c := newConfig(t)
	c.ReserveBytes = 1 << 20
	db := open(t, c)
	info, err := os.Stat(c.Path + ".reserve")
	if err != nil || info.Mode().Perm() != 0o600 || info.Size() != 1<<20 {
		t.Errorf("the reserve: %v, %v", info, err)
	}
	closeDB(t, db)
	c.Path += ".other"
	c.ReserveBytes = 0
	open(t, c)
	if _, err := os.Stat(c.Path + ".reserve"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a reserve was made though none was configured: %v", err)
	}
}
