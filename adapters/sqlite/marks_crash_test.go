package sqlite_test

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/evosink/evosink/adapters/sqlite"
	"github.com/evosink/evosink/core/bus"
	"github.com/evosink/evosink/core/queue"
	"github.com/evosink/evosink/core/queue/queuetest"
)

// childQueue is the variable that makes a child process write to the queue.
const childQueue = "EVOSINK_SQLITE_TEST_QUEUE"

// queuePairs is how many pairs of instances a child has, each of two shards that no other has.
const queuePairs = 4

// queueInstance returns an instance of a shard.
func queueInstance(shard, shards int) string {
	for i := 0; ; i++ {
		if name := fmt.Sprint("i", i); bus.Shard(name, shards) == shard {
			return name
		}
	}
}

// queueChild puts events of both instances of each pair with the marks of both shards in one call, and then writes down
// that they are done behind the cursor, until it is killed. It says "put <pair>#<n>" and "done <pair>#<n>" when a call
// has returned.
func queueChild(path string) {
	c := sqlite.DefaultConfig()
	c.Path = path
	db, err := sqlite.Open(context.Background(), c, nop)
	if err != nil {
		fmt.Println("error", err)
		os.Exit(1)
	}
	fmt.Println("open ")
	for pair := range queuePairs {
		go func() {
			for {
				if err := putPair(db, pair); err != nil {
					panic(err)
				}
			}
		}()
	}
	select {}
}

// putPair puts the next event of both instances: that behind the marks which the file has.
func putPair(db *sqlite.DB, pair int) error {
	ctx, store := context.Background(), db.Queue()
	var leases []bus.Lease
	var stored, done []queue.Mark
	var entries []queue.Entry
	for shard := 2 * pair; shard < 2*pair+2; shard++ {
		marks, err := store.Marks(ctx, shard)
		if err != nil {
			return err
		}
		at := bus.Position(1)
		if len(marks) > 0 {
			at = marks[0].Cursor.Position + 1
		}
		instance := queueInstance(shard, store.Shards())
		e := queue.Entry{Event: numbered(instance, int(at)), At: time.Now(), Position: at}
		e.To = []queue.Destination{{Lane: laneOf(instance, "a")}}
		leases = append(leases, queuetest.Lease(store, instance))
		m := queue.Mark{Cursor: bus.Cursor{Group: "dispatch", Shard: shard, Position: at}}
		stored, entries = append(stored, m), append(entries, e)
		m.Done = fmt.Append(nil, at)
		done = append(done, m)
	}
	at := int(stored[0].Cursor.Position)
	if _, err := store.Put(ctx, leases, stored, entries...); err != nil {
		return err
	}
	say("put", pair, at)
	if err := store.Checkpoint(ctx, leases, done...); err != nil {
		return err
	}
	say("done", pair, at)
	return nil
}

func say(word string, pair, n int) {
	if _, err := io.WriteString(os.Stdout, fmt.Sprintf("%s %d#%d\n", word, pair, n)); err != nil {
		os.Exit(1) // the parent is gone
	}
}

// What is stored and what is marked as stored are one: an event that is in a lane and not marked would come twice, one
// that is marked and in no lane would be lost.
func TestMarksAndWhatTheyStandForAreOneAfterKill9(t *testing.T) {
	c := newConfig(t)
	rounds := 8
	if testing.Short() {
		rounds = 2
	}
	said := map[string]map[int]int{"put": {}, "done": {}} // the last n, by pair
	for round := range rounds {
		v := startChild(t, c.Path, round, childQueue+"=1")
		v.kill(rand.IntN(400), func(word, id string) {
			pair, n, ok := strings.Cut(id, "#")
			p, err1 := strconv.Atoi(pair)
			at, err2 := strconv.Atoi(n)
			if !ok || err1 != nil || err2 != nil {
				t.Fatalf("the child says %s %s", word, id)
			}
			said[word][p] = at
		})
		db, err := sqlite.Open(t.Context(), c, nop)
		if err != nil {
			t.Fatal(err)
		}
		for pair := range queuePairs {
			wantPair(t, db, pair, said["put"][pair], said["done"][pair])
		}
		closeDB(t, db)
	}
	t.Logf("%v", said)
}

// wantPair holds a pair to its marks: both are at the same position, which is at least the one that was put; as many
// events wait in each lane; and what was done is.
func wantPair(t *testing.T, db *sqlite.DB, pair, put, done int) {
	t.Helper()
	marks, err := db.Queue().Marks(t.Context(), 2*pair, 2*pair+1)
	if err == nil && len(marks) == 0 && put == 0 {
		return // killed before
	}
	if err != nil || len(marks) != 2 || marks[0].Cursor.Position != marks[1].Cursor.Position {
		t.Fatalf("pair %d has the marks %+v, %v", pair, marks, err)
	}
	at := int(marks[0].Cursor.Position)
	if at < put {
		t.Fatalf("pair %d is marked up to %d, %d was put", pair, at, put)
	}
	for _, m := range marks {
		if want := strconv.Itoa(at); done == at && string(m.Done) != want || len(m.Done) > 0 && string(m.Done) != want {
			t.Errorf("the mark %+v has done %q, %d was", m.Cursor, m.Done, done)
		}
		lane := laneOf(queueInstance(m.Cursor.Shard, db.Shards()), "a")
		waiting, err := db.Queue().Window(t.Context(), lane, 0, 1<<62, at+2, 1<<30)
		if err != nil || len(waiting) != at {
			t.Errorf("%d events wait in %v (%v), marked are %d", len(waiting), lane, err, at)
		}
		for i, d := range waiting {
			if d.Event.ID != numbered(lane.Instance, i+1).ID {
				t.Fatalf("event %d of %v is %s", i+1, lane, d.Event.ID)
			}
		}
	}
}
