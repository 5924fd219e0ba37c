package sqlite_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/evosink/evosink/adapters/sqlite"
	"github.com/evosink/evosink/core/bus"
	"github.com/evosink/evosink/core/event"
	"github.com/evosink/evosink/core/sink"
)

const week = 168 * time.Hour

func retain(t *testing.T, db *sqlite.DB, at time.Time) {
	t.Helper()
	if err := db.Retain(t.Context(), at); err != nil {
		t.Fatal(err)
	}
}

// retainTo waits until retention leaves so many events: the last ack is on its way when take returns.
func retainTo(t *testing.T, db *sqlite.DB, at time.Time, want int64) {
	t.Helper()
	waitFor(t, "the acks have arrived", func() bool {
		retain(t, db, at)
		return db.Stats().Events <= want
	})
	retain(t, db, at)
	wantEvents(t, db, want)
}

func wantEvents(t *testing.T, db *sqlite.DB, want int64) {
	t.Helper()
	if s := db.Stats(); s.Events != want {
		t.Fatalf("the log holds %d events, want %d", s.Events, want)
	}
}

func TestEventsGoWhenTheyAreOldButTheNewestStays(t *testing.T) {
	c := newConfig(t)
	db := open(t, c)
	publishMany(t, db, "a", 0, 1000)
	retain(t, db, time.Now().Add(week-time.Minute))
	wantEvents(t, db, 1000)
	retain(t, db, time.Now().Add(week+time.Minute))
	wantEvents(t, db, 1)
	if err := replay(t.Context(), db, "a#500", "a", func(*event.Event) error { return nil }); !errors.Is(err, sink.ErrExpired) {
		t.Fatalf("replay after a removed event: %v, want ErrExpired", err)
	}
	position := db.Stats().Position
	closeDB(t, db)
	db = open(t, c)
	wantEvents(t, db, 1)
	publish(t, db, "a", 1000, 1001)
	if got := db.Stats(); got.Position != position+1 || got.Events != 2 {
		t.Fatalf("after opening again: %+v", got)
	}
	if got := replayed(t, db, "a#999", "a"); len(got) != 1 {
		t.Fatalf("replay gave %v", got)
	}
}

func TestWhatAGroupHasNotAckedStaysHoweverOld(t *testing.T) {
	c := newConfig(t)
	c.Retention.Bytes = 10_000
	db := open(t, c)
	shard := bus.Shard("a", db.Shards())
	publishMany(t, db, other(db, "a"), 0, 300) // of a shard that the group has not subscribed to
	group := subscribe(t, db.Group("g"), bus.Topic(shard))
	publishMany(t, db, "a", 0, 1000)
	take(t, group, "a", 0, 400)
	retainTo(t, db, time.Now().Add(2*week), 600)
	take(t, group, "a", 400, 1000)
	retainTo(t, db, time.Now().Add(2*week), 1)
}

func TestAGroupThatComesBackFindsWhatItHadNotAcked(t *testing.T) {
	c := newConfig(t)
	c.Retention.Bytes = 10_000
	db := open(t, c)
	shard := bus.Topic(bus.Shard("a", db.Shards()))
	group := subscribe(t, db.Group("g"), shard)
	publishMany(t, db, "a", 0, 100)
	take(t, group, "a", 0, 40)
	closeDB(t, db)
	db = open(t, c)
	retain(t, db, time.Now().Add(week-time.Hour))
	publish(t, db, "a", 100, 101)
	wantEvents(t, db, 61)
	take(t, subscribe(t, db.Group("g"), shard), "a", 40, 101)
}

func TestAGroupThatNobodyUsesAnyMoreIsForgotten(t *testing.T) {
	c := newConfig(t)
	db := open(t, c)
	shard := bus.Topic(bus.Shard("a", db.Shards()))
	publishMany(t, db, "a", 0, 100)
	gone := db.Group("gone")
	take(t, subscribe(t, gone, shard), "a", 0, 40)
	used := subscribe(t, db.Group("used"), shard)
	take(t, used, "a", 0, 50)
	if err := gone.Close(); err != nil {
		t.Fatal(err)
	}
	retain(t, db, time.Now().Add(time.Minute)) // the one is seen to be gone
	retain(t, db, time.Now().Add(week-time.Hour))
	wantEvents(t, db, 100)
	retainTo(t, db, time.Now().Add(3*week), 50) // what the other one has not acked
	take(t, used, "a", 50, 100)
}

func TestALogBeyondItsSizeIsCutByItself(t *testing.T) {
	c := newConfig(t)
	c.Retention.Bytes = 100_000
	db := open(t, c)
	publishMany(t, db, "a", 0, 600)
	waitFor(t, "the log is within its size", func() bool { return db.Stats().Bytes <= c.Retention.Bytes })
	s := db.Stats()
	if s.Events < 60 || s.Bytes < c.Retention.Bytes/2 {
		t.Fatalf("too much was removed: %+v", s)
	}
	closeDB(t, db)
	again := open(t, c).Stats()
	if again.Events != s.Events || again.Bytes != s.Bytes || !again.Oldest.Equal(s.Oldest) {
		t.Fatalf("the log is %+v after opening again, it was %+v", again, s)
	}
}

func TestAClockThatIsSetBackRemovesAndReordersNothing(t *testing.T) {
	c := newConfig(t)
	db := open(t, c)
	publishMany(t, db, "a", 0, 10)
	closeDB(t, db)
	// The first half was stored while the clock was a year ahead.
	edit(t, c.Path, "UPDATE log SET time = time + 31536000000 WHERE position <= 5")
	db = open(t, c)
	retain(t, db, time.Now().Add(-week))
	retain(t, db, time.Now().Add(2*week))
	wantEvents(t, db, 10) // what came from the future holds what is behind it
	take(t, subscribe(t, db.Group("g"), bus.Topic(bus.Shard("a", db.Shards()))), "a", 0, 10)
	retainTo(t, db, time.Now().Add(60*week), 1)
}

func TestSpaceIsGivenBackWhenMuchIsRemoved(t *testing.T) {
	c := newConfig(t)
	db := open(t, c)
	for n := range 12 {
		publishMany(t, db, "a", n, n+1, bytes.Repeat([]byte(" "), 4<<20)...)
	}
	retain(t, db, time.Now().Add(2*week))
	wantEvents(t, db, 1)
	closeDB(t, db) // moves everything into the file
	info, err := os.Stat(c.Path)
	if err != nil || info.Size() > 40<<20 {
		t.Fatalf("the file has %d bytes, %v", info.Size(), err)
	}
	open(t, c)
}

// One tenant's events fill the log; another's, which are older and few, stay, and every replay tells when it is not
// complete.
func TestAnInstanceThatHoldsLittleLosesNothingToAFlood(t *testing.T) {
	c := newConfig(t)
	c.Retention.Bytes = 200_000
	db := open(t, c)
	publishMany(t, db, "quiet", 0, 20)
	publishMany(t, db, "flood", 0, 700)
	publishMany(t, db, "quiet", 20, 40)
	publishMany(t, db, "flood", 700, 1000)
	retain(t, db, time.Now())
	s := db.Stats()
	if s.Bytes > c.Retention.Bytes || s.Bytes < c.Retention.Bytes*9/10 || s.Events < 100 {
		t.Fatalf("the log is %+v", s)
	}
	check := func(db *sqlite.DB) {
		t.Helper()
		if got := replayed(t, db, "quiet#0", "quiet"); len(got) != 39 {
			t.Errorf("behind the first event of the quiet one %d are left, want 39", len(got))
		}
		var first int // of those of the flood that are there
		for first = range 1000 {
			if _, err := db.Find(t.Context(), fmt.Sprint("flood#", first), ""); err == nil {
				break
			}
		}
		if got := replayed(t, db, fmt.Sprint("flood#", first), "flood"); first < 800 || len(got) != 999-first {
			t.Errorf("of the flood %d is the first that is left, with %d behind it", first, len(got))
		}
		position, err := db.Find(t.Context(), fmt.Sprint("flood#", first), "flood")
		if err != nil {
			t.Fatal(err)
		}
		for _, from := range []struct {
			after    int64
			instance string
			complete bool
		}{
			{position, "flood", true}, {position - 1, "flood", true}, {position - 2, "flood", false}, {1, "quiet", true},
			{position - 1, "", true}, {position - 2, "", false}, {1, "", false},
		} {
			_, err := db.Replay(t.Context(), from.after, from.instance, func(int64, *event.Event) error { return nil })
			if from.complete && err != nil || !from.complete && !errors.Is(err, sink.ErrExpired) {
				t.Errorf("replay of %q behind %d: %v, complete %v", from.instance, from.after-position, err, from.complete)
			}
		}
	}
	check(db)
	recovered := open(t, crashed(t, c))
	if got := recovered.Stats(); got.Events != s.Events || got.Bytes != s.Bytes || !got.Oldest.Equal(s.Oldest) {
		t.Errorf("after a crash the log is %+v, it was %+v", got, s)
	}
	check(recovered)
	closeDB(t, db)
	again := open(t, c)
	check(again)
	publishMany(t, again, "flood", 1000, 1300)
	retain(t, again, time.Now())
	if got := replayed(t, again, "quiet#0", "quiet"); len(got) != 39 {
		t.Errorf("after more of the flood %d are left, want 39", len(got))
	}
}

func TestTheFloodersShareIsCutUpToWhatAGroupHasNotAckedAndNobodyElsePays(t *testing.T) {
	c := newConfig(t)
	c.Retention.Bytes = 200_000
	db := open(t, c)
	quiet := other(db, "flood")
	publishMany(t, db, quiet, 0, 50)
	group := subscribe(t, db.Group("g"), bus.Topic(bus.Shard("flood", db.Shards())))
	publishMany(t, db, "flood", 0, 1000)
	take(t, group, "flood", 0, 100)
	retainTo(t, db, time.Now(), 50+900)
	take(t, group, "flood", 100, 1000)
	waitFor(t, "the acks have arrived", func() bool {
		retain(t, db, time.Now())
		return db.Stats().Bytes <= c.Retention.Bytes
	})
	if got := replayed(t, db, quiet+"#0", quiet); len(got) != 49 {
		t.Errorf("%d are left, want 49", len(got))
	}
}

// An instance of which everything was cut is still known to have been cut.
func TestWhatWasCutToTheLastIsNotTakenForNothing(t *testing.T) {
	c := newConfig(t)
	c.Retention.Bytes = 190_000
	db := open(t, c)
	for i := range 50 {
		publishMany(t, db, fmt.Sprint("few-", i), 0, 3)
	}
	publishMany(t, db, "large", 0, 1, bytes.Repeat([]byte(" "), 55_000)...)
	publishMany(t, db, "few-0", 3, 6)
	retain(t, db, time.Now())
	for range 2 {
		_, err := db.Replay(t.Context(), 150, "large", func(int64, *event.Event) error { return nil })
		if !errors.Is(err, sink.ErrExpired) {
			t.Errorf("replay behind what came before the event that was cut: %v, want ErrExpired", err)
		}
		closeDB(t, db)
		db = open(t, c)
	}
	if s := db.Stats(); s.Events != 153 {
		t.Errorf("the log is %+v", s)
	}
}
