package sqlite_test

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/evosink/evosink/adapters/sqlite"
	"github.com/evosink/evosink/core/bus"
	"github.com/evosink/evosink/core/queue"
	"github.com/evosink/evosink/core/queue/queuetest"
	"github.com/evosink/evosink/core/sink"
)

// shardOf returns the lease of an instance's shard, and a mark of it.
func shardOf(db *sqlite.DB, instance string, at bus.Position, done string) (bus.Lease, queue.Mark) {
	l := queuetest.Lease(db.Queue(), instance)
	return l, queue.Mark{Cursor: bus.Cursor{Group: l.Group, Shard: l.Shard, Position: at}, Done: []byte(done)}
}

// put puts the n-th event of an instance, with position n, into lanes of targets of its own, and returns its seqs.
func put(t *testing.T, db *sqlite.DB, instance string, n int, targets ...sink.Target) (seqs []int64) {
	t.Helper()
	l, m := shardOf(db, instance, bus.Position(n), "")
	e := queue.Entry{Event: numbered(instance, n), At: time.Now(), Position: bus.Position(n)}
	for _, target := range targets {
		e.To = append(e.To, queue.Destination{Lane: laneOf(instance, target), Scope: sink.Instance})
	}
	places, err := db.Queue().Put(t.Context(), []bus.Lease{l}, []queue.Mark{m}, e)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range places {
		seqs = append(seqs, p.Seq)
	}
	return seqs
}

func laneOf(instance string, target sink.Target) queue.LaneKey {
	return queue.LaneKey{Sink: "hook", Target: target, Instance: instance}
}

func record(t *testing.T, db *sqlite.DB, r queue.Result) {
	t.Helper()
	leases := []bus.Lease{queuetest.Lease(db.Queue(), r.Lane.Instance)}
	if err := db.Queue().Record(t.Context(), leases, []queue.Result{r}); err != nil {
		t.Fatal(err)
	}
}

// What the log has too is stored once for all lanes, and goes with the last of them by whichever way it leaves.
func TestAnEventWithAPositionGoesWithItsLastDelivery(t *testing.T) {
	a, b := laneOf("sales", "a"), laneOf("sales", "b")
	purge := func(r queue.PurgeRequest) func(*testing.T, *sqlite.DB, int64) {
		return func(t *testing.T, db *sqlite.DB, seq int64) {
			r.Lane, r.Until, r.Max = b, seq, 10
			n, err := db.Queue().Purge(t.Context(), queuetest.Lease(db.Queue(), "sales"), r)
			if n.Count != 1 || err != nil {
				t.Fatalf("Purge: %+v, %v", n, err)
			}
		}
	}
	ends := map[string]func(t *testing.T, db *sqlite.DB, seq int64){
		"delivered": func(t *testing.T, db *sqlite.DB, seq int64) {
			record(t, db, queue.Result{Lane: b, Seq: seq, Kind: queue.Delivered})
		},
		"a dead letter": func(t *testing.T, db *sqlite.DB, seq int64) {
			record(t, db, queue.Result{Lane: b, Seq: seq, Kind: queue.DeadLettered, Reason: queue.Permanent})
		},
		"purged":                   purge(queue.PurgeRequest{}),
		"purged into dead letters": purge(queue.PurgeRequest{Reason: queue.Gone}),
		"overwritten":              purge(queue.PurgeRequest{Overwrite: true}),
		"delivered after it was requeued": func(t *testing.T, db *sqlite.DB, seq int64) {
			record(t, db, queue.Result{Lane: b, Seq: seq, Kind: queue.DeadLettered, Reason: queue.Permanent})
			again, err := db.Queue().Requeue(t.Context(), queuetest.Lease(db.Queue(), "sales"), []int64{1}, time.Now())
			if err != nil || len(again) != 1 {
				t.Fatalf("Requeue: %+v, %v", again, err)
			}
			record(t, db, queue.Result{Lane: b, Seq: again[0].Seq, Kind: queue.Delivered})
		},
	}
	for how, end := range ends {
		t.Run(how, func(t *testing.T) {
			c := newConfig(t)
			db := open(t, c)
			seqs := put(t, db, "sales", 1, a.Target, b.Target)
			if n := count(t, c, "queue_events"); n != 1 {
				t.Fatalf("%d events are stored for two lanes", n)
			}
			record(t, db, queue.Result{Lane: a, Seq: seqs[0], Kind: queue.Delivered})
			if n := count(t, c, "queue_events"); n != 1 {
				t.Fatalf("%d events are stored while one lane waits", n)
			}
			end(t, db, seqs[1])
			if n := count(t, c, "queue_events"); n != 0 {
				t.Errorf("%d events are stored although nothing waits", n)
			}
		})
	}
}

func TestAnEventWithAPositionThatAllLanesRefuseIsADeadLetterAndNothingElse(t *testing.T) {
	c := newConfig(t)
	db := open(t, c)
	e := queue.Entry{Event: numbered("sales", 1), At: time.Now(), Position: 1}
	e.To = []queue.Destination{{Lane: laneOf("sales", "a"), Refused: queue.Full}}
	if _, err := db.Queue().Put(t.Context(), []bus.Lease{queuetest.Lease(db.Queue(), "sales")}, nil, e); err != nil {
		t.Fatal(err)
	}
	if events, letters := count(t, c, "queue_events"), count(t, c, "queue_letters"); events != 0 || letters != 1 {
		t.Errorf("there are %d events and %d dead letters", events, letters)
	}
}

func TestASweepPassesOverWhatIsGoneInOneCommit(t *testing.T) {
	const gone = 5000
	db := open(t, newConfig(t))
	l, lane := queuetest.Lease(db.Queue(), "sales"), laneOf("sales", "a")
	var entries []queue.Entry
	for n := range gone + 2 {
		e := queue.Entry{Event: numbered("sales", n), At: time.Now(), To: []queue.Destination{{Lane: lane}}}
		if e.Event.Data = nil; 0 < n && n <= gone {
			e.Position = bus.Position(n)
		}
		entries = append(entries, e)
	}
	places, err := db.Queue().Put(t.Context(), []bus.Lease{l}, nil, entries...)
	if err != nil {
		t.Fatal(err)
	}
	purge := queue.PurgeRequest{Lane: lane, After: places[0].Seq, Until: places[gone].Seq, Max: gone}
	if n, err := db.Queue().Purge(t.Context(), l, purge); n.Count != gone || err != nil {
		t.Fatalf("Purge: %+v, %v", n, err)
	}
	before := db.Stats().Commits
	if err := db.Queue().Sweep(t.Context(), queue.Retention{}); err != nil {
		t.Fatal(err)
	}
	if n := db.Stats().Commits - before; n != 1 {
		t.Errorf("the sweep of two rows took %d commits", n)
	}
}

func TestAFileWithoutRememberedEventsIsNotSwept(t *testing.T) {
	c := newConfig(t)
	db := open(t, c)
	for n := range 3 {
		put(t, db, "sales", n+1, "a")
	}
	for _, when := range []string{"before it is closed", "when it is opened again"} {
		before := db.Stats().Commits
		if err := db.Queue().Sweep(t.Context(), queue.Retention{}); err != nil {
			t.Fatal(err)
		}
		if n := db.Stats().Commits - before; n != 0 {
			t.Errorf("%s: a sweep of nothing took %d commits", when, n)
		}
		closeDB(t, db)
		db = open(t, c)
	}
	got, err := db.Queue().Window(t.Context(), laneOf("sales", "a"), 0, 1<<62, 10, 1<<20)
	if len(got) != 3 || err != nil {
		t.Errorf("%d deliveries wait, %v", len(got), err)
	}
}

// A checkpoint that has others to join costs no commit of its own, however many there are.
func TestCheckpointsJoinTheCommitsOfOthers(t *testing.T) {
	db := open(t, newConfig(t))
	db.Patience(time.Hour)
	const checkpoints = 8
	done := make(chan error, checkpoints)
	before := db.Stats()
	for n := range checkpoints {
		l, m := shardOf(db, string(rune('a'+n)), 7, "9")
		go func() { done <- db.Queue().Checkpoint(t.Context(), []bus.Lease{l}, m) }()
	}
	published := 0
	for left := checkpoints; left > 0; {
		publish(t, db, "sales", published, published+1)
		published++
		for waiting := true; waiting && left > 0; {
			select {
			case err := <-done:
				if left--; err != nil {
					t.Fatal(err)
				}
			default:
				waiting = false
			}
		}
	}
	after := db.Stats()
	commits, writes := int(after.Commits-before.Commits), int(after.Writes-before.Writes)
	if commits != published || writes != published+checkpoints {
		t.Errorf("%d commits of %d writes, want one for each of %d events", commits, writes, published)
	}
}

// What was delivered while the disk was full does not come again.
func TestAFullDiskTakesCheckpoints(t *testing.T) {
	c := newConfig(t)
	c.Path = filepath.Join(smallDisk(t, 12<<20), "evosink.db")
	db := open(t, c)
	n := fillUp(t, db, 0)
	l, m := shardOf(db, "a", bus.Position(n), "some")
	if err := db.Queue().Checkpoint(t.Context(), []bus.Lease{l}, m); err != nil {
		t.Fatalf("Checkpoint on a full disk: %v", err)
	}
	closeDB(t, db)
	marks, err := open(t, c).Queue().Marks(t.Context(), l.Shard)
	if err != nil || len(marks) != 1 || marks[0].Cursor != m.Cursor || string(marks[0].Done) != "some" {
		t.Errorf("the marks are %+v, %v", marks, err)
	}
}

func TestACursorThatAcksHaveMovedIsNoMark(t *testing.T) {
	c := newConfig(t)
	db := open(t, c)
	publish(t, db, "sales", 0, 1)
	messages, err := db.Group("audit").Subscribe(t.Context(), bus.Topic(bus.Shard("sales", db.Shards())))
	if err != nil {
		t.Fatal(err)
	}
	(<-messages).Ack()
	closeDB(t, db)
	db = open(t, c)
	l, m := shardOf(db, "sales", 1, "")
	if got, err := db.Queue().Marks(t.Context(), l.Shard); len(got) != 0 || err != nil {
		t.Errorf("marks: %+v, %v", got, err)
	}
	if err := db.Queue().Checkpoint(t.Context(), []bus.Lease{l}, m); err != nil {
		t.Fatal(err)
	}
	if got, err := db.Queue().Marks(t.Context(), l.Shard); len(got) != 1 || got[0].Cursor != m.Cursor || err != nil {
		t.Errorf("marks: %+v, %v", got, err)
	}
}
