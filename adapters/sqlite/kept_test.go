package sqlite_test

import (
	"testing"
	"time"

	"github.com/evosink/evosink/core/bus"
)

func TestWhatAGroupHasKeptStaysHoweverOldUntilTheQueueMovesItsCursor(t *testing.T) {
	c := newConfig(t)
	c.Retention.Bytes = 10_000
	db := open(t, c)
	batches, err := db.Batches("g").Subscribe(t.Context(), bus.Topic(bus.Shard("a", db.Shards())))
	if err != nil {
		t.Fatal(err)
	}
	publishMany(t, db, "a", 0, 1000)
	var at []bus.Cursor
	for len(at) < 1000 {
		b := <-batches
		at = append(at, b.Cursors...)
		b.Keep()
		b.Ack()
	}
	later := time.Now().Add(2 * week)
	retain(t, db, later)
	wantEvents(t, db, 1000)
	if err := moveCursor(t, db, at[299]); err != nil {
		t.Fatal(err)
	}
	retain(t, db, later)
	wantEvents(t, db, 700)
	if err := moveCursor(t, db, at[999]); err != nil {
		t.Fatal(err)
	}
	retain(t, db, later)
	wantEvents(t, db, 1) // the newest stays
}
