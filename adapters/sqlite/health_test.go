package sqlite_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/evosink/evosink/adapters/sqlite"
	"github.com/evosink/evosink/core/bus"
	"github.com/evosink/evosink/core/event"
	"github.com/evosink/evosink/core/queue"
	"github.com/evosink/evosink/core/queue/queuetest"
)

func TestACommitThatDoesNotEndMakesHealthRed(t *testing.T) {
	db := open(t, newConfig(t))
	publish(t, db, "a", 0, 1)
	db.StallAfter(0)
	if err := db.Check(t.Context()); err != nil {
		t.Fatalf("Check of an idle database: %v", err)
	}
	release := db.Hold()
	waitFor(t, "the commit counts as one that does not end", func() bool { return errors.Is(db.Check(t.Context()), sqlite.ErrStalled) })
	if s := db.Stats().CommitRunning; s <= 0 {
		t.Errorf("the commit under way has taken %v", s)
	}
	db.StallAfter(time.Hour)
	if err := db.Check(t.Context()); err != nil {
		t.Errorf("Check while a commit has not taken long: %v", err)
	}
	release()
	db.StallAfter(0)
	waitFor(t, "the database is well", func() bool { return db.Check(t.Context()) == nil })
	if s := db.Stats().CommitRunning; s != 0 {
		t.Errorf("no commit is under way, and has taken %v", s)
	}
}

// An event that waited in vain behind one commit for all of its time has met a disk that does not answer (503), and not
// one that is slower than the events come (429).
func TestAnEventBehindACommitThatDoesNotEndIsToldSo(t *testing.T) {
	db := open(t, newConfig(t))
	publish(t, db, "a", 0, 1)
	db.StallAfter(0)
	release := db.Hold()
	defer release()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	m := bus.Message(numbered("a", 1))
	m.SetContext(ctx)
	err := db.Publisher().Publish(bus.Topic(bus.Shard("a", db.Shards())), m)
	if !errors.Is(err, sqlite.ErrStalled) || errors.Is(err, bus.ErrOverloaded) {
		t.Errorf("publish: %v, want ErrStalled", err)
	}
}

// A file that vanishes while a commit is under way is found missing before the events are acknowledged.
func TestAnEventIsNotAcknowledgedWhenItsFileVanishedMeanwhile(t *testing.T) {
	c := newConfig(t)
	db := open(t, c)
	publish(t, db, "a", 0, 1)
	release := db.Hold()
	result := make(chan error)
	go func() { result <- publishOne(db, "a", 1) }()
	waitFor(t, "the event waits", func() bool { return db.Waiting() == 1 })
	if err := os.Rename(c.Path, c.Path+".away"); err != nil {
		t.Fatal(err)
	}
	release()
	if err := <-result; !errors.Is(err, sqlite.ErrMoved) {
		t.Errorf("publish: %v, want ErrMoved", err)
	}
	if err := os.Rename(c.Path+".away", c.Path); err != nil {
		t.Fatal(err)
	}
	publish(t, db, "a", 2, 3)
	closeDB(t, db)
	if got := replayed(t, open(t, c), "a#0", "a"); got[len(got)-1] != "a#2" {
		t.Errorf("stored: %v", got)
	}
}

func TestAConfiguredSymbolicLinkThatIsTurnedElsewhereIsFound(t *testing.T) {
	c := newConfig(t)
	real := c.Path
	db := open(t, c)
	closeDB(t, db)
	c.Path = filepath.Join(t.TempDir(), "link.db")
	if err := os.Symlink(real, c.Path); err != nil {
		t.Fatal(err)
	}
	db = open(t, c)
	publish(t, db, "a", 0, 1)
	if err := errors.Join(os.Remove(c.Path), os.Symlink(filepath.Dir(real), c.Path)); err != nil {
		t.Fatal(err)
	}
	if err := db.Check(t.Context()); !errors.Is(err, sqlite.ErrMoved) || !strings.Contains(err.Error(), c.Path) {
		t.Errorf("Check: %v, want ErrMoved", err)
	}
	if err := publishOne(db, "a", 1); !errors.Is(err, sqlite.ErrMoved) {
		t.Errorf("publish: %v, want ErrMoved", err)
	}
	if err := errors.Join(os.Remove(c.Path), os.Symlink(real, c.Path)); err != nil {
		t.Fatal(err)
	}
}

func TestADanglingSymbolicLinkMakesTheFileWhereItLeads(t *testing.T) {
	c := newConfig(t)
	real := filepath.Join(t.TempDir(), "real.db")
	c.Path = filepath.Join(t.TempDir(), "link.db")
	if err := os.Symlink(real, c.Path); err != nil {
		t.Fatal(err)
	}
	publish(t, open(t, c), "a", 0, 1)
	if _, err := os.Stat(real + ".lock"); err != nil {
		t.Errorf("the lock is not beside the file: %v", err)
	}
}

func TestAClockThatIsAMonthAheadErasesNothing(t *testing.T) {
	c := newConfig(t)
	db := open(t, c)
	publishMany(t, db, "a", 0, 100)
	leases := []bus.Lease{queuetest.Lease(db.Queue(), "a")}
	entry := func(n int) queue.Entry {
		return queue.Entry{Event: numbered("a", n), At: time.Now(), To: []queue.Destination{ownLane("a")}}
	}
	places, err := db.Queue().Put(t.Context(), leases, nil, entry(0))
	if err != nil {
		t.Fatal(err)
	}
	err = db.Queue().Record(t.Context(), leases, []queue.Result{{
		Lane: ownLane("a").Lane, Seq: places[0].Seq, Kind: queue.DeadLettered, Reason: queue.Permanent,
		Attempt: &queue.Attempt{EventID: "a#0", LaneKey: ownLane("a").Lane, Number: 1, At: time.Now()},
	}})
	if err != nil {
		t.Fatal(err)
	}
	keep := queue.Retention{LetterAge: week, Letters: 1000, AttemptAge: week, Attempts: 1000, SeenAge: time.Hour, Seen: 1000, SeenBytes: 1 << 20}
	// What waits grows old by the time that passes: the queue buries what waits for too long.
	if _, err := db.Queue().Put(t.Context(), leases, nil, entry(1)); err != nil {
		t.Fatal(err)
	}
	waiting := func(when string) {
		t.Helper()
		items, err := db.Queue().Window(t.Context(), ownLane("a").Lane, 0, 1<<62, 10, 1<<20)
		if err != nil || len(items) != 1 {
			t.Fatalf("%s: %d deliveries wait, %v", when, len(items), err)
		}
		if at := items[0].At; time.Since(at) > time.Hour || !strings.Contains(at.String(), "m=") {
			t.Errorf("%s: what was put a moment ago was put at %v, without the monotonic clock or long ago", when, at)
		}
	}
	waiting("the clock is right")
	check := func(when string) {
		t.Helper()
		if err := errors.Join(db.RetainNow(t.Context()), db.Queue().Sweep(t.Context(), keep)); err != nil {
			t.Fatal(err)
		}
		letters, err := db.Queue().CountDeadLetters(t.Context(), queue.DeadLetterFilter{})
		attempts, e := db.Queue().Attempts(t.Context(), "a#0")
		if events := db.Stats().Events; events != 100 || letters != 1 || len(attempts) != 1 || err != nil || e != nil {
			t.Fatalf("%s: %d of 100 events, %d of 1 dead letters and %d of 1 attempts are left, %v %v", when, events, letters, len(attempts), err, e)
		}
	}
	db.TurnClock(31 * 24 * time.Hour)
	check("the clock has jumped ahead")
	waiting("the clock has jumped ahead")
	db.TurnClock(0)
	check("the clock is right again")
	closeDB(t, db)
	// As if the file had been closed for a month, or the clock were wrong at the start.
	edit(t, c.Path, "UPDATE log SET time = time - 2678400000; UPDATE queue_letters SET died = died - 2678400000;"+
		"UPDATE queue_attempts SET at = at - 2678400000; UPDATE meta SET value = value - 2678400000 WHERE key = 'clock'")
	db = open(t, c)
	check("the clock is ahead of the file at the start")
}

func TestErrorsOfOpeningSayWhatIsWrongAndWhatToDo(t *testing.T) {
	t.Run("no inodes", func(t *testing.T) {
		c := newConfig(t)
		dir := mountDisk(t, "size=64m,nr_inodes=32")
		c.Path = filepath.Join(dir, "evosink.db")
		db := open(t, c)
		publish(t, db, "a", 0, 1)
		closeDB(t, db)
		for n := 0; ; n++ {
			f, err := os.Create(filepath.Join(dir, "ballast"+string(rune('a'+n))))
			if err != nil {
				break
			}
			f.Close()
		}
		refuses(t, c, sqlite.ErrFull, "no inodes are left", "remove files")
	})
	for name, mode := range map[string]string{"no locks": "fcntl", "no lock of files either": "flock"} {
		t.Run(name, func(t *testing.T) {
			c := newConfig(t)
			closeDB(t, open(t, c))
			if said := openWithoutLocks(t, c.Path, mode); !strings.Contains(said, "no locks") || !strings.Contains(said, "use a local disk") {
				t.Errorf("it says: %s", said)
			}
		})
	}
}

// Readers of the past take turns, so that one that reads slowly holds up no other and many do not delay publishing.
func TestReplaysTakeTurns(t *testing.T) {
	db := open(t, newConfig(t))
	publishMany(t, db, "a", 0, 300, more[:4<<10]...)
	stuck, release := make(chan struct{}), make(chan struct{})
	ended := make(chan error, 9)
	for range 8 { // they stop in the middle, until release
		go func() {
			first := true
			ended <- replay(t.Context(), db, "a#0", "a", func(*event.Event) error {
				if first {
					first = false
					stuck <- struct{}{}
					<-release
				}
				return nil
			})
		}()
	}
	for range 8 {
		<-stuck
	}
	if got := replayed(t, db, "a#0", "a"); len(got) != 299 {
		t.Errorf("beside eight that stand still %d of 299 events were replayed", len(got))
	}
	publish(t, db, "a", 300, 301)
	close(release)
	for range 8 {
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
	if n := db.ReplayedAtOnce(); n > sqlite.ReplayTurns {
		t.Errorf("%d replays read at once, want %d at most", n, sqlite.ReplayTurns)
	}
}

// A program that writes into the open files, "> evosink.db" in a shell, leaves them where they are. What is
// acknowledged after that would be lost with the next start.
func TestFilesThatAreCutWhileOpenTakeNoEvents(t *testing.T) {
	for _, suffix := range []string{"", "-wal"} {
		for _, busy := range []bool{false, true} {
			c := newConfig(t)
			db := open(t, c)
			publish(t, db, "a", 0, 1)
			db.Look()
			if err := db.Check(t.Context()); err != nil {
				t.Fatal(err)
			}
			if err := os.Truncate(c.Path+suffix, 0); err != nil {
				t.Fatal(err)
			}
			n := 1
			waitFor(t, "the cut file "+suffix+" is found", func() bool {
				if busy {
					n++
					_ = publishOne(db, "a", n)
				}
				return errors.Is(db.Check(t.Context()), sqlite.ErrMoved)
			})
			if err := publishOne(db, "a", n+1); !errors.Is(err, sqlite.ErrMoved) || !strings.Contains(err.Error(), c.Path+suffix+" was cut") {
				t.Errorf("publish to a database whose file %q was cut: %v", suffix, err)
			}
			before, err := os.ReadFile(c.Path)
			if err != nil {
				t.Fatal(err)
			}
			if err := db.Close(t.Context()); err != nil {
				t.Error(err)
			}
			if after, err := os.ReadFile(c.Path); err != nil || !bytes.Equal(before, after) {
				t.Errorf("the end has changed the database, %v", err)
			}
		}
	}
}
