package sqlite_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/evosink/evosink/adapters/sqlite"
	"github.com/evosink/evosink/core/bus"
	"github.com/evosink/evosink/core/instances"
)

// fillUp publishes until that fails, which must be for lack of space, and returns how many events were taken.
func fillUp(t *testing.T, db *sqlite.DB, from int) (taken int) {
	t.Helper()
	for n := from; n < from+100_000; n++ {
		if err := publishOne(db, "a", n); err != nil {
			if !errors.Is(err, sqlite.ErrFull) {
				t.Fatalf("publish: %v, want ErrFull", err)
			}
			return n
		}
	}
	t.Fatal("the disk does not fill up")
	return 0
}

// fullAndBack has a disk fill up under a database and get space again. Nothing that was acknowledged may be lost,
// nothing has to be done by hand, and health tells what is.
func fullAndBack(t *testing.T, c sqlite.Config, limit, lift func(*sqlite.DB)) {
	t.Helper()
	db := open(t, c)
	shard := bus.Topic(bus.Shard("a", db.Shards()))
	group, broadcast := subscribe(t, db.Group("g"), shard), subscribe(t, db.Broadcast(), bus.All)
	publish(t, db, "a", 0, 10)
	limit(db)
	n := fillUp(t, db, 10)
	if err := db.Check(t.Context()); !errors.Is(err, sqlite.ErrFull) {
		t.Fatalf("Check on a full disk: %v, want ErrFull", err)
	}
	if _, err := db.PutInstance(t.Context(), instances.Instance{Name: "a", Settings: big()}); !errors.Is(err, sqlite.ErrFull) {
		t.Fatalf("PutInstance on a full disk: %v, want ErrFull", err)
	}
	take(t, group, "a", 0, n) // reading goes on
	take(t, broadcast, "a", 0, n)
	lift(db)
	if err := db.Check(t.Context()); err != nil {
		t.Fatalf("Check with space again: %v", err)
	}
	publish(t, db, "a", n, n+10)
	take(t, group, "a", n, n+10)
	take(t, broadcast, "a", n, n+10)
	closeDB(t, db)
	if got := replayed(t, open(t, c), "a#0", "a"); len(got) != n+9 {
		t.Fatalf("%d events were acknowledged, the log has %d", n+10, len(got)+1)
	}
}

// big are settings that need space.
func big() map[string]instances.Settings {
	return map[string]instances.Settings{"webhook": {Value: fmt.Appendf(nil, `"%0200000d"`, 0)}}
}

func TestAFullFile(t *testing.T) {
	c := newConfig(t)
	fullAndBack(t, c,
		func(db *sqlite.DB) {
			if err := db.LimitPages(200); err != nil {
				t.Fatal(err)
			}
		},
		func(db *sqlite.DB) {
			if err := db.LimitPages(0); err != nil {
				t.Fatal(err)
			}
		})
}

func TestAFullDisk(t *testing.T) {
	c := newConfig(t)
	dir := smallDisk(t, 8<<20)
	c.Path = filepath.Join(dir, "evosink.db")
	ballast := filepath.Join(dir, "ballast")
	fullAndBack(t, c,
		func(*sqlite.DB) {
			if err := os.WriteFile(ballast, make([]byte, 4<<20), 0o600); err != nil {
				t.Fatal(err)
			}
		},
		func(*sqlite.DB) {
			if err := os.Remove(ballast); err != nil {
				t.Fatal(err)
			}
		})
}

func TestAFullDiskAtTheStart(t *testing.T) {
	c := newConfig(t)
	dir := smallDisk(t, 8<<20)
	c.Path = filepath.Join(dir, "evosink.db")
	db := open(t, c)
	publish(t, db, "a", 0, 100)
	closeDB(t, db)
	free := 8 << 20
	for ; free > 0; free /= 2 { // to the last byte
		if f, err := os.OpenFile(filepath.Join(dir, "ballast"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600); err == nil {
			f.Write(make([]byte, free))
			f.Close()
		}
	}
	again, err := sqlite.Open(t.Context(), c, nop)
	if err == nil { // there was room for the shared memory beside the file
		err = publishOne(again, "a", 100)
		closeDB(t, again)
	}
	if !errors.Is(err, sqlite.ErrFull) {
		t.Fatalf("on a full disk: %v, want ErrFull", err)
	}
	if err := os.Remove(filepath.Join(dir, "ballast")); err != nil {
		t.Fatal(err)
	}
	if got := replayed(t, open(t, c), "a#0", "a"); len(got) != 99 {
		t.Fatalf("the log has %d events", len(got)+1)
	}
}
