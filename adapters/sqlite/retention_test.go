package sqlite_test

import (
	"bytes"
	"errors"
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
