package sqlite_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/evosink/evosink/adapters/sqlite"
	"github.com/evosink/evosink/core/bus"
)

// Entries of one shard that stand far from each other, at the ends of blocks, and behind others of their block.
func TestAShardIsReadWhereverItsEntriesStand(t *testing.T) {
	c := newConfig(t)
	db := open(t, c)
	flood := other(db, "rare")
	others, rare := 0, 0
	between := func(n int) {
		publishMany(t, db, flood, others, others+n)
		others += n
	}
	for _, n := range []int{0, 254, 0, 1, 300, 700, 0, 511} {
		if between(n); rare%2 == 1 { // the notes of the shard before come from the file
			closeDB(t, db)
			db = open(t, c)
		}
		publish(t, db, "rare", rare, rare+1)
		rare++
	}
	between(300)
	closeDB(t, db)
	db = open(t, c) // nothing is in memory
	take(t, subscribe(t, db.Group("g"), bus.Topic(bus.Shard("rare", db.Shards()))), "rare", 0, rare)
	take(t, subscribe(t, db.Group("g"), bus.Topic(bus.Shard(flood, db.Shards()))), flood, 0, others)
	for from := range rare {
		var want []string
		for n := from + 1; n < rare; n++ {
			want = append(want, fmt.Sprintf("rare#%d", n))
		}
		if got := replayed(t, db, fmt.Sprintf("rare#%d", from), "rare"); !slices.Equal(got, want) {
			t.Errorf("behind %d are %v, want %v", from, got, want)
		}
	}
}

func TestAnAppendThatIsRolledBackHidesNoLaterEntry(t *testing.T) {
	c := newConfig(t)
	closeDB(t, open(t, c))
	edit(t, c.Path, "CREATE TRIGGER bad BEFORE INSERT ON log WHEN new.id = 'a#1' BEGIN SELECT RAISE(ABORT, 'bad'); END")
	db := open(t, c)
	shard := bus.Shard("a", db.Shards())
	two := []bus.Entry{{Message: bus.Message(numbered("a", 0))}, {Message: bus.Message(numbered("a", 1))}}
	if _, err := db.Append(t.Context(), shard, two...); err == nil {
		t.Fatal("the entry that must not be stored was")
	}
	publish(t, db, "a", 2, 4)
	closeDB(t, db)
	db = open(t, c)
	take(t, subscribe(t, db.Group("g"), bus.Topic(shard)), "a", 2, 4)
}

func TestNotesOfBlocksGoWithTheirEntries(t *testing.T) {
	c := newConfig(t)
	blocks := func(db *sqlite.DB) (n int) {
		closeDB(t, db)
		query(t, c, "SELECT count(*) FROM log_blocks", &n)
		return n
	}
	db := open(t, c)
	flood := other(db, "a")
	publishMany(t, db, flood, 0, 2000)
	publishMany(t, db, "a", 0, 2000)
	if n := blocks(db); n != 17 { // of 256 positions each, one of them with entries of both
		t.Fatalf("%d blocks are noted", n)
	}
	db = open(t, c)
	retain(t, db, time.Now().Add(week+time.Minute))
	wantEvents(t, db, 1)
	publish(t, db, "a", 2000, 2001)
	publish(t, db, flood, 2000, 2001)
	if n := blocks(db); n != 2 {
		t.Errorf("%d blocks are noted, want 2", n)
	}
}
