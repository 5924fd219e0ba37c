package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/evosink/evosink/adapters/postgres"
	"github.com/evosink/evosink/core/bus"
	"github.com/evosink/evosink/core/event"
	"github.com/evosink/evosink/core/instances"
	"github.com/evosink/evosink/core/sink"
)

// patience is how long to wait for what must happen.
const patience = 30 * time.Second

func newEvent(instance string, n int) *event.Event {
	return &event.Event{
		ID: fmt.Sprintf("%s#%d", instance, n), Name: "call", Instance: instance, Time: time.Now(), Data: fmt.Appendf(nil, `{"n":%d}`, n),
	}
}

// appendEvent appends an event and returns its position.
func appendEvent(ctx context.Context, db *postgres.DB, e *event.Event) (bus.Position, error) {
	positions, err := db.Append(ctx, bus.Shard(e.Instance, db.Shards()), bus.Entry{Message: bus.Message(e)})
	if err != nil {
		return 0, err
	}
	return positions[0], nil
}

func emit(t testing.TB, db *postgres.DB, instance string, n int) bus.Position {
	t.Helper()
	at, err := appendEvent(context.Background(), db, newEvent(instance, n))
	if err != nil {
		t.Fatalf("append: %v", err)
	}
	return at
}

// broadcast subscribes to everything.
func broadcast(t testing.TB, db *postgres.DB) <-chan *bus.Batch {
	t.Helper()
	c, err := db.Batches("").Subscribe(t.Context(), bus.All)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func group(t testing.TB, db *postgres.DB, name, instance string) <-chan *message.Message {
	t.Helper()
	c, err := db.Group(name).Subscribe(t.Context(), bus.Topic(bus.Shard(instance, db.Shards())))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func next[T any](t testing.TB, c <-chan T) T {
	t.Helper()
	select {
	case v, ok := <-c:
		if !ok {
			t.Fatal("the subscription has ended")
		}
		return v
	case <-time.After(patience):
		t.Fatalf("nothing came in %v", patience)
	}
	panic("unreachable")
}

// Every node sees the same entries at the same positions in the same order, complete, however many write at once, and
// while a foreign transaction of the database is open.
func TestThePositionsOfAllNodesAreOneOrder(t *testing.T) {
	const nodes, writers, each = 3, 4, 50
	c := newConfig(t)
	foreign := connect(t, c)
	defer foreign.Close(context.Background())
	open1 := open(t, c)
	if _, err := foreign.Exec(t.Context(), "BEGIN; CREATE TABLE "+c.Schema+".foreign_table ()"); err != nil {
		t.Fatal(err)
	}
	all := []*postgres.DB{open1}
	var seen []<-chan *bus.Batch
	for len(all) < nodes {
		all = append(all, open(t, c))
	}
	for _, db := range all {
		seen = append(seen, broadcast(t, db))
	}
	var writing sync.WaitGroup
	for i, db := range all {
		for w := range writers {
			writing.Go(func() {
				for n := range each {
					e := newEvent(fmt.Sprint(i, "-", w), n)
					if _, err := appendEvent(context.Background(), db, e); err != nil {
						t.Errorf("append: %v", err)
					}
				}
			})
		}
	}
	var orders [nodes][]string
	var reading sync.WaitGroup
	for i, c := range seen {
		reading.Go(func() {
			for len(orders[i]) < nodes*writers*each {
				select {
				case b := <-c:
					for k, m := range b.Messages {
						orders[i] = append(orders[i], fmt.Sprint(b.Cursors[k].Position, " ", bus.InstanceOf(m), m.UUID))
					}
					b.Ack()
				case <-time.After(patience):
					t.Errorf("node %d has seen %d of %d events", i, len(orders[i]), nodes*writers*each)
					return
				}
			}
		})
	}
	writing.Wait()
	reading.Wait()
	for i := 1; i < nodes; i++ {
		if !slices.Equal(orders[i], orders[0]) {
			t.Errorf("node %d has seen another order than node 0", i)
		}
	}
}

// Of the same event, posted on all nodes at once, the log has one.
func TestAnEventThatIsPostedOnAllNodesIsStoredOnce(t *testing.T) {
	c := newConfig(t)
	all := []*postgres.DB{open(t, c), open(t, c), open(t, c)}
	for round := range 20 {
		var posting sync.WaitGroup
		at := make([]bus.Position, 2*len(all))
		for i := range at {
			posting.Go(func() {
				db := all[i%len(all)]
				entry := bus.Entry{Message: bus.Message(newEvent("a", round)), Once: true}
				positions, err := db.Append(context.Background(), bus.Shard("a", db.Shards()), entry)
				if err != nil {
					t.Errorf("append: %v", err)
					return
				}
				at[i] = positions[0]
			})
		}
		posting.Wait()
		if slices.Min(at) != slices.Max(at) || at[0] == 0 {
			t.Fatalf("round %d: the event is at %v", round, at)
		}
	}
	if n := number(t, c, "SELECT count(*) FROM @.log"); n != 20 {
		t.Errorf("the log has %d entries, want 20", n)
	}
}

// What a process acks that has lost its turn counts for nothing: another one goes on behind its own last ack.
func TestAnAckOfAFormerReaderMovesNothing(t *testing.T) {
	c := newConfig(t)
	one, two := open(t, c), open(t, c)
	for n := range 3 {
		emit(t, one, "a", n)
	}
	first := group(t, one, "g", "a")
	late := next(t, first)
	sql(t, c, "UPDATE @.leases SET until = clock_timestamp() - interval '1 second'") // as if its node were frozen
	second := group(t, two, "g", "a")
	m := next(t, second)
	if m.UUID != "a#0" || late.UUID != "a#0" {
		t.Fatalf("the former reader has %s, the present one %s; want the first event on both", late.UUID, m.UUID)
	}
	late.Ack()
	<-next(t, first).Context().Done() // it did not know yet; the ack is refused
	if at := number(t, c, "SELECT position FROM @.cursors"); at != 0 {
		t.Errorf("the group is at %d by an ack of its former reader", at)
	}
	m.Ack()
	for n := 1; n < 3; n++ {
		m := next(t, second)
		if want := fmt.Sprint("a#", n); m.UUID != want {
			t.Errorf("the present reader is given %s, want %s", m.UUID, want)
		}
		m.Ack()
	}
	if at := number(t, c, "SELECT epoch FROM @.leases WHERE grp = 'g'"); at != 2 {
		t.Errorf("the epoch is %d, want 2", at)
	}
}

// A reader whose node dies is followed by another one when its lease has ended.
func TestAGroupGoesOnWhenTheNodeThatReadsItIsGone(t *testing.T) {
	c := newConfig(t)
	c.LeaseTime = time.Second
	way := newProxy(t, c.URL)
	dead := c
	dead.URL = way.url
	one, two := open(t, dead), open(t, c)
	emit(t, two, "a", 0)
	emit(t, two, "a", 1)
	m := next(t, group(t, one, "g", "a"))
	m.Ack()
	waitFor(t, "the ack is stored", func() bool { return number(t, c, "SELECT max(position) FROM @.cursors") > 0 })
	way.cut()
	if m := next(t, group(t, two, "g", "a")); m.UUID != "a#1" {
		t.Errorf("the other node goes on with %s, want a#1", m.UUID)
	}
	way.mend()
}

func waitFor(t testing.TB, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !done(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("after %v still not: %s", patience, what)
		}
	}
}

// The oldest chunks go when the log is too large, but none of which a group has not acked something.
func TestRetentionDropsWholeChunksThatNoGroupNeeds(t *testing.T) {
	c := newConfig(t)
	c.Retention.Bytes = 2 << 20
	db := open(t, c)
	big := func(n int) bus.Position {
		e := newEvent("a", n)
		e.Data = []byte(`"` + strings.Repeat("x", 300_000) + `"`)
		at, err := appendEvent(t.Context(), db, e)
		if err != nil {
			t.Fatal(err)
		}
		return at
	}
	reader := group(t, db, "g", "a")
	first := big(0)
	for n := 1; n < 20; n++ {
		big(n)
	}
	chunks := func() int64 { return number(t, c, "SELECT count(*) FROM @.log_chunks WHERE closed IS NOT NULL") }
	before := chunks()
	if before < 3 {
		t.Fatalf("6 MB are in %d closed chunks", before)
	}
	if err := db.Retain(t.Context()); err != nil || chunks() != before {
		t.Fatalf("of %d chunks that a group has not acked %d are left, %v", before, chunks(), err)
	}
	for range 20 {
		next(t, reader).Ack()
	}
	waitFor(t, "the acks are stored", func() bool {
		return number(t, c, "SELECT count(*) FROM @.log l JOIN @.cursors c ON c.shard = l.shard WHERE l.position > c.position") == 0
	})
	if err := db.Retain(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := number(t, c, "SELECT coalesce(sum(bytes), 0)::bigint FROM @.log"); n > 2<<20 || n == 0 {
		t.Errorf("the log holds %d bytes, want up to 2 MiB", n)
	}
	none := func(int64, *event.Event) error { return nil }
	for _, instance := range []string{"a", ""} {
		if _, err := db.Replay(t.Context(), int64(first), instance, none); !errors.Is(err, sink.ErrExpired) {
			t.Errorf("replay of %q behind what was dropped: %v, want ErrExpired", instance, err)
		}
	}
	if _, err := db.Find(t.Context(), "a#0", "a"); !errors.Is(err, sink.ErrExpired) {
		t.Errorf("find of what was dropped: %v", err)
	}
	last := emit(t, db, "a", 20)
	at, err := db.Find(t.Context(), "a#19", "a")
	if err != nil || at >= int64(last) {
		t.Fatalf("find: %d, %v", at, err)
	}
	if end, err := db.Replay(t.Context(), at, "a", none); err != nil || end != int64(last) {
		t.Errorf("replay behind what is left ends at %d, %v, want %d", end, err, last)
	}
}

// A chunk is closed when it is old, also when nothing comes any more, so that its events do not stay for ever.
func TestEventsOfAnIdleLogGoWhenTheyAreOld(t *testing.T) {
	c := newConfig(t)
	db := open(t, c)
	emit(t, db, "a", 0)
	sql(t, c, "UPDATE @.log_chunks SET opened = opened - interval '8 days'")
	for range 2 {
		if err := db.Retain(t.Context()); err != nil {
			t.Fatal(err)
		}
		sql(t, c, "UPDATE @.log_chunks SET closed = closed - interval '8 days'")
	}
	if n := number(t, c, "SELECT count(*) FROM @.log"); n != 0 {
		t.Errorf("%d old events are left", n)
	}
	seen := broadcast(t, db)
	at := emit(t, db, "a", 1)
	if b := next(t, seen); b.Messages[0].UUID != "a#1" || b.Cursors[0].Position != at {
		t.Errorf("behind that comes %+v", b)
	}
}

func TestErasedEventsAreGoneAndReplaysKnow(t *testing.T) {
	c := newConfig(t)
	db := open(t, c)
	former, err := db.PutInstance(t.Context(), instances.Instance{Name: "a", ID: "1"})
	if err != nil {
		t.Fatal(err)
	}
	var at []bus.Position
	for n := range 600 { // more than go at once
		e := newEvent("a", n)
		e.InstanceID = "1"
		p, err := appendEvent(t.Context(), db, e)
		if err != nil {
			t.Fatal(err)
		}
		at = append(at, p)
	}
	other := emit(t, db, "b", 0)
	if _, err := db.DeleteInstance(t.Context(), "a", former.Version); err != nil {
		t.Fatal(err)
	}
	if _, err := db.PutInstance(t.Context(), instances.Instance{Name: "a", ID: "2"}); err != nil {
		t.Fatal(err)
	}
	e := newEvent("a", 1000)
	e.InstanceID = "2"
	if _, err := appendEvent(t.Context(), db, e); err != nil {
		t.Fatal(err)
	}
	reader := group(t, db, "g", "a")
	next(t, reader).Ack()
	waitFor(t, "the ack is stored", func() bool {
		return number(t, c, "SELECT coalesce(max(position), 0) FROM @.cursors") == int64(at[0])
	})
	erasure := bus.Erasure{Instance: "a", ID: "1", Present: "2"}
	if n, left, err := db.EraseEvents(t.Context(), erasure); n != 1 || !left || err != nil {
		t.Errorf("erased %d, left %v, %v; want the one that the group in use has acked", n, left, err)
	}
	for range 599 {
		next(t, reader).Ack()
	}
	waitFor(t, "the acks are stored", func() bool {
		return number(t, c, "SELECT max(position) FROM @.cursors") >= int64(at[599])
	})
	if n, left, err := db.EraseEvents(t.Context(), erasure); n != 599 || left || err != nil {
		t.Errorf("erased %d, left %v, %v; want the other 599", n, left, err)
	}
	if n := number(t, c, "SELECT count(*) FROM @.log"); n != 2 {
		t.Errorf("%d entries are left, want that of the present instance and another's", n)
	}
	next(t, reader).Ack()
	waitFor(t, "the last ack is stored", func() bool {
		return number(t, c, "SELECT max(position) FROM @.cursors") > int64(other)
	})
	last := number(t, c, "SELECT max(position) FROM @.log")
	if n, left, err := db.EraseEvents(t.Context(), bus.Erasure{Instance: "a"}); n != 1 || left || err != nil {
		t.Errorf("erased %d, left %v, %v; want the newest of all", n, left, err)
	}
	if at := emit(t, open(t, c), "b", 1); int64(at) <= last { // by a node that has not met it
		t.Errorf("behind the newest entry at %d, which was erased, the next one is at %d", last, at)
	}
	none := func(int64, *event.Event) error { return nil }
	if _, err := db.Replay(t.Context(), 0, "", none); !errors.Is(err, sink.ErrExpired) {
		t.Errorf("replay of all from the start: %v, want ErrExpired", err)
	}
	if _, err := db.Replay(t.Context(), last, "", none); err != nil {
		t.Errorf("replay of all behind what was erased: %v", err)
	}
	if _, err := db.Replay(t.Context(), 0, "b", none); err != nil {
		t.Errorf("replay of another instance: %v", err)
	}
}
