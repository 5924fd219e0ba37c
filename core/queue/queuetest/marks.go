package queuetest

import (
	"fmt"
	"slices"
	"time"

	"github.com/evosink/evosink/core/bus"
	"github.com/evosink/evosink/core/queue"
	"github.com/evosink/evosink/core/sink"
)

// mark returns a mark of a shard.
func mark(shard int, at bus.Position, done string) queue.Mark {
	m := queue.Mark{Cursor: bus.Cursor{Group: group, Shard: shard, Position: at}}
	if done != "" {
		m.Done = []byte(done)
	}
	return m
}

// leasesOf returns the leases that writes for shards carry, each once.
func (t *trial) leasesOf(shards ...int) (leases []bus.Lease) {
	slices.Sort(shards)
	for _, shard := range slices.Compact(shards) {
		if t.leases != nil {
			leases = append(leases, t.leases[shard])
		} else {
			leases = append(leases, lone(shard))
		}
	}
	return leases
}

func (t *trial) checkpoint(marks ...queue.Mark) {
	t.Helper()
	var shards []int
	for _, m := range marks {
		shards = append(shards, m.Cursor.Shard)
	}
	if err := t.store.Checkpoint(t.Context(), t.leasesOf(shards...), marks...); err != nil {
		t.Fatalf("Checkpoint: %v", err)
	}
}

// wantMarks fails unless the store has exactly these marks.
func (t *trial) wantMarks(why string, want ...queue.Mark) {
	t.Helper()
	all := make([]int, t.store.Shards())
	for shard := range all {
		all[shard] = shard
	}
	t.wantMarksOf(why, all, want...)
}

// wantMarksOf fails unless these are the marks of some shards.
func (t *trial) wantMarksOf(why string, shards []int, want ...queue.Mark) {
	t.Helper()
	got, err := t.store.Marks(t.Context(), shards...)
	if got, want := texts(got), texts(want); err != nil || !slices.Equal(got, want) {
		t.Errorf("the marks are %q (%v), want %q: %s", got, err, want, why)
	}
}

// texts makes marks readable, and comparable: they come in any order.
func texts(marks []queue.Mark) (texts []string) {
	for _, m := range marks {
		texts = append(texts, fmt.Sprintf("%s %d at %d: %s", m.Cursor.Group, m.Cursor.Shard, m.Cursor.Position, m.Done))
	}
	slices.Sort(texts)
	return texts
}

// pair returns two shards: that of "sales" and another. The test ends in a store of one.
func (t *trial) pair() (one, two int) {
	t.Helper()
	if t.store.Shards() == 1 {
		t.Skip("the store has one shard")
	}
	one = t.lease("sales").Shard
	return one, (one + 1) % t.store.Shards()
}

func (t *trial) marks() {
	one, two := t.pair()
	t.wantMarks("a new store has none")
	buffer := []byte("one\x00\xff")
	first, second := mark(one, 7, string(buffer)), mark(two, 9, "")
	t.checkpoint(queue.Mark{Cursor: first.Cursor, Done: buffer}, second)
	copy(buffer, "changed") // it is the caller's again
	t.wantMarks("the next owner would deliver what is handled", first, second)
	t.wantMarksOf("another shard's are another owner's", []int{two}, second)
}

func (t *trial) replacesMarks() {
	one, two := t.pair()
	t.checkpoint(mark(one, 7, "8 10"), mark(two, 7, "9"))
	t.checkpoint(mark(one, 7, "8 10 11"))
	t.wantMarks("what is done later is done too", mark(one, 7, "8 10 11"), mark(two, 7, "9"))
	t.checkpoint(mark(one, 6, "7 8"), mark(two, 12, ""))
	t.wantMarks("one came late, and another that is further has nothing behind it",
		mark(one, 7, "8 10 11"), mark(two, 12, ""))
	t.enterMarked([]queue.Mark{mark(one, 5, "6")})
	t.wantMarks("one came late, with a Put", mark(one, 7, "8 10 11"), mark(two, 12, ""))
}

func (t *trial) movesCursor() {
	shard := t.lease("sales").Shard
	at := func(want int64, why string) {
		t.Helper()
		if got := t.subject.Cursor(t.T, t.store, group, shard); got != want {
			t.Errorf("the cursor is at %d, want %d: %s", got, want, why)
		}
	}
	t.checkpoint(mark(shard, 7, ""))
	at(7, "after a crash each event would be delivered twice")
	t.checkpoint(mark(shard, 5, ""))
	at(7, "it does not go back")
	t.enterMarked([]queue.Mark{mark(shard, 9, "")}, placed("sales", "e1", 9, laneA))
	at(9, "after a crash the event would be stored twice")
}

// placed returns an entry with a position.
func placed(instance, id string, at bus.Position, lanes ...queue.LaneKey) queue.Entry {
	e := queue.Entry{Event: newEvent(instance, id), At: time.Now(), Position: at}
	for _, l := range lanes {
		e.To = append(e.To, queue.Destination{Lane: l, Scope: sink.Instance})
	}
	return e
}

// enterMarked puts entries with marks and returns the places.
func (t *trial) enterMarked(marks []queue.Mark, entries ...queue.Entry) []queue.PutResult {
	t.Helper()
	var shards []int
	for _, m := range marks {
		shards = append(shards, m.Cursor.Shard)
	}
	for _, e := range entries {
		shards = append(shards, t.lease(e.Event.Instance).Shard)
	}
	places, err := t.store.Put(t.Context(), t.leasesOf(shards...), marks, entries...)
	if err != nil {
		t.Fatalf("Put: %v", err)
	}
	return places
}

func (t *trial) putsMarks() {
	one, two := t.pair()
	other := ""
	for i := 0; other == "" || t.lease(other).Shard != two; i++ {
		other = fmt.Sprint("other-", i)
	}
	laneO := lane("webhook", "one", other)
	sales, others := mark(one, 4, "6"), mark(two, 3, "5")
	places := t.enterMarked([]queue.Mark{sales, others},
		placed("sales", "e1", 4, laneA, laneB), placed(other, "o1", 5, laneO), placed("sales", "e2", 6, laneA))
	var last int64
	for i, p := range places {
		if !p.New || p.Seq < last || i != 1 && p.Seq == last {
			t.Errorf("the places are %+v: each is new, and those of an entry are behind those before it", places)
		}
		last = p.Seq
	}
	if len(places) != 4 {
		t.Errorf("Put told of %d of 4 destinations", len(places))
	}
	t.wantWaiting("in order of the entries", laneA, "e1", "e2")
	t.wantWaiting("in order of the entries", laneB, "e1")
	t.wantWaiting("it is of another shard, and put in the same call", laneO, "o1")
	t.wantMarks("what is stored would come from the log once more", sales, others)
}

func (t *trial) putsPlaced() {
	t.put("e1", laneA)
	for at := range bus.Position(2) {
		if p := t.enterMarked(nil, placed("sales", "e1", 1+at, laneA, laneB)); !p[0].New || !p[1].New {
			t.Errorf("the places are %+v: an entry that is marked as stored must be", p)
		}
	}
	t.wantWaiting("an entry with a position is put, whatever its id", laneA, "e1", "e1", "e1")
	t.wantWaiting("an entry with a position is put, whatever its id", laneB, "e1", "e1")
	t.deliver(laneB)
	t.wantWaiting("its copy in another lane was delivered", laneA, "e1", "e1", "e1")
	t.enterMarked(nil, placed("sales", "e2", 3, laneA))
	if p := t.put("e2", laneA)[0]; !p.New {
		t.Error("an event was absorbed by one with a position, which may be of long ago")
	}
	t.wantLanes(map[queue.LaneKey]int{laneA: 5, laneB: 1})
	for range 5 {
		t.deliver(laneA)
	}
	t.deliver(laneB)
	t.wantLanes(map[queue.LaneKey]int{})
	if p := t.put("e1", laneA)[0]; p.New {
		t.Error("an event that was put without a position is not absorbed any more")
	}
	if p := t.put("e1", laneB)[0]; !p.New {
		t.Error("an entry with a position was remembered after its delivery: nothing would ever ask for it")
	}
}

func (t *trial) refusesPlaced() {
	for at := range bus.Position(2) {
		e := placed("sales", "e1", 1+at, laneA, laneB)
		e.To[0].Refused = queue.Full
		only := placed("sales", "e2", 3+at, laneC)
		only.To[0].Refused = queue.Full
		p := t.enterMarked(nil, e, only)
		if p[0] != (queue.PutResult{New: true}) || p[1].Seq == 0 || p[2] != (queue.PutResult{New: true}) {
			t.Errorf("the places are %+v", p)
		}
	}
	t.wantWaiting("it was refused", laneA)
	t.wantWaiting("another lane has taken it", laneB, "e1", "e1")
	_, letters := t.letters(queue.DeadLetterFilter{}, queue.Page{})
	var ids []string
	for _, l := range letters {
		ids = append(ids, l.EventID)
	}
	if !slices.Equal(ids, []string{"e1", "e2", "e1", "e2"}) {
		t.Errorf("there are dead letters of %v, want e1 and e2 of each Put: what is marked as stored must not be lost", ids)
	}
	requeued, err := t.store.Requeue(t.Context(), t.lease("sales"), []int64{letters[1].ID}, time.Now())
	if err != nil || len(requeued) != 1 {
		t.Fatalf("Requeue: %+v, %v", requeued, err)
	}
	t.wantWaiting("", laneC, "e2")
	if p := t.put("e2", laneC)[0]; !p.New {
		t.Error("a dead letter that was requeued absorbs an event that was never put without a position")
	}
}

// passesMarks has a shard marked by two owners, one after the other.
func (c *cluster) passesMarks() {
	a, b := c.join("a", nil), c.join("b", nil)
	t := c.trial(a)
	former := t.take(a, laneA.Instance)
	m := mark(former.Shard, 7, "9")
	t.checkpoint(m)
	if err := a.leases.Release(c.Context(), former); err != nil {
		c.Fatal(err)
	}
	t.store = b.store
	t.take(b, laneA.Instance)
	t.wantMarksOf("the next owner would deliver what the one before has delivered", []int{former.Shard}, m)
	t.enterMarked([]queue.Mark{mark(former.Shard, 6, "")})
	t.wantMarksOf("it does not go back with the next owner", []int{former.Shard}, m)
	t.enterMarked([]queue.Mark{mark(former.Shard, 8, "")})
	t.wantMarksOf("the next owner has gone on", []int{former.Shard}, mark(former.Shard, 8, ""))
}
