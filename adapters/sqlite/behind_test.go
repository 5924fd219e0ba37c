package sqlite_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/evosink/evosink/adapters/sqlite"
	"github.com/evosink/evosink/core/bus"
)

// publishMany publishes the events in one call, each with so many bytes more than usual.
func publishMany(t *testing.T, db *sqlite.DB, instance string, from, to int, more ...byte) {
	t.Helper()
	var batch []*message.Message
	for ; from < to; from++ {
		e := numbered(instance, from)
		e.Data = slices.Concat(e.Data, more)
		batch = append(batch, bus.Message(e))
	}
	if err := db.Publisher().Publish(bus.Topic(bus.Shard(instance, db.Shards())), batch...); err != nil {
		t.Fatal(err)
	}
}

func subscribe(t *testing.T, s message.Subscriber, topic string) <-chan *message.Message {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	c, err := s.Subscribe(ctx, topic)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// take acks the events from (included) to (excluded), in order.
func take(t *testing.T, c <-chan *message.Message, instance string, from, to int) {
	t.Helper()
	for n := from; n < to; n++ {
		select {
		case m := <-c:
			if want := fmt.Sprintf("%s#%d", instance, n); m.UUID != want {
				t.Fatalf("got %s, want %s", m.UUID, want)
			}
			m.Ack()
		case <-time.After(20 * time.Second):
			t.Fatalf("%s#%d did not come", instance, n)
		}
	}
}

// So many events with so many bytes more than usual are more than what is kept in memory.
const behind = 180

var more = bytes.Repeat([]byte(" "), 100<<10)

func TestReadersThatFellBehindCatchUpFromTheFileAndGoOnLive(t *testing.T) {
	db := open(t, newConfig(t))
	broadcast := subscribe(t, db.Broadcast(), bus.All)
	publishMany(t, db, "a", 0, behind, more...)
	group := subscribe(t, db.Group("g"), bus.Topic(bus.Shard("a", db.Shards())))
	take(t, broadcast, "a", 0, behind)
	take(t, group, "a", 0, behind)
	publish(t, db, "a", behind, behind+3)
	take(t, broadcast, "a", behind, behind+3)
	take(t, group, "a", behind, behind+3)
}

func TestAnIdleShardSeesItsNextEventWhateverHappenedElsewhere(t *testing.T) {
	db := open(t, newConfig(t))
	idle, busy := "a", other(db, "a")
	group := subscribe(t, db.Group("g"), bus.Topic(bus.Shard(idle, db.Shards())))
	publish(t, db, idle, 0, 1)
	take(t, group, idle, 0, 1)
	publishMany(t, db, busy, 0, behind, more...)
	publish(t, db, idle, 1, 2)
	take(t, group, idle, 1, 2)
}

// other returns an instance in another shard.
func other(db *sqlite.DB, instance string) string {
	for i := 0; ; i++ {
		if name := fmt.Sprint("other-", i); bus.Shard(name, db.Shards()) != bus.Shard(instance, db.Shards()) {
			return name
		}
	}
}

func TestLargeEventsAreReadBackInPagesThatFitInMemory(t *testing.T) {
	db := open(t, newConfig(t))
	for n := range 4 {
		publishMany(t, db, "a", n, n+1, bytes.Repeat([]byte(" "), 8<<20)...)
	}
	take(t, subscribe(t, db.Group("g"), bus.Topic(bus.Shard("a", db.Shards()))), "a", 0, 4)
}

func TestAckedEventsCostNoCommitEach(t *testing.T) {
	const n = 500
	db := open(t, newConfig(t))
	publishMany(t, db, "a", 0, n)
	before := db.Stats().Commits
	begin := time.Now()
	take(t, subscribe(t, db.Group("g"), bus.Topic(bus.Shard("a", db.Shards()))), "a", 0, n)
	commits := db.Stats().Commits - before
	if allowed := uint64(2 + time.Since(begin)/(100*time.Millisecond)); commits > allowed {
		t.Fatalf("%d acks made %d commits, want %d at most", n, commits, allowed)
	}
}

func TestAnIdleFileIsNotWritten(t *testing.T) {
	c := newConfig(t)
	db := open(t, c)
	for shard := range db.Shards() {
		subscribe(t, db.Group("g"), bus.Topic(shard))
	}
	group := subscribe(t, db.Group("other"), bus.Topic(bus.Shard("a", db.Shards())))
	broadcast := subscribe(t, db.Broadcast(), bus.All)
	publish(t, db, "a", 0, 3)
	take(t, group, "a", 0, 3)
	take(t, broadcast, "a", 0, 3)
	waitFor(t, "nothing is written for half a second once the cursors are stored", func() bool {
		before := footprint(t, c, db)
		time.Sleep(500 * time.Millisecond)
		return db.Stats().Commits >= 4 && footprint(t, c, db) == before
	})
}

// footprint tells of every write to the file.
func footprint(t *testing.T, c sqlite.Config, db *sqlite.DB) string {
	t.Helper()
	out := fmt.Sprint(db.Stats().Commits)
	for _, suffix := range []string{"", "-wal"} {
		info, err := os.Stat(c.Path + suffix)
		if err != nil {
			t.Fatal(err)
		}
		out += fmt.Sprintf(" %s:%d:%v", suffix, info.Size(), info.ModTime())
	}
	return out
}

func waitFor(t *testing.T, what string, holds func() bool) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for !holds() {
		if time.Now().After(deadline) {
			t.Fatalf("not in 20 s: %s", what)
		}
		time.Sleep(time.Millisecond)
	}
}

func TestPublishWaitsForABusyDiskUntilItsContextEnds(t *testing.T) {
	db := open(t, newConfig(t))
	c := subscribe(t, db.Broadcast(), bus.All)
	release := db.Hold()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	m := bus.Message(numbered("a", 0))
	m.SetContext(ctx)
	err := db.Publisher().Publish(bus.Topic(bus.Shard("a", db.Shards())), m)
	release()
	if !errors.Is(err, bus.ErrOverloaded) || !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("Publish: %v, want ErrOverloaded and DeadlineExceeded", err)
	}
	publish(t, db, "a", 1, 2) // the first was never published
	take(t, c, "a", 1, 2)
}

func TestTheQueueOfWritesIsBounded(t *testing.T) {
	c := newConfig(t)
	c.MaxEventBytes, c.MaxQueueBytes = 8<<10, 8<<10
	db := open(t, c)
	release := db.Hold()
	results := make(chan error)
	const n = 20
	ctx, cancel := context.WithCancel(t.Context())
	for i := range n {
		go func() {
			m := bus.Message(numbered("a", i))
			m.SetContext(ctx)
			results <- db.Publisher().Publish(bus.Topic(bus.Shard("a", db.Shards())), m)
		}()
	}
	waitFor(t, "the queue has filled", func() bool { return db.Waiting() > 1 })
	time.Sleep(20 * time.Millisecond) // for those that must not get in
	if waiting := db.Waiting(); waiting > 5 {
		t.Errorf("%d events of 1 KiB wait in a queue of 8 KiB", waiting)
	}
	cancel()
	for range n {
		if err := <-results; !errors.Is(err, bus.ErrOverloaded) {
			t.Errorf("Publish: %v, want ErrOverloaded", err)
		}
	}
	release()
	publish(t, db, "a", n, n+1)
}
