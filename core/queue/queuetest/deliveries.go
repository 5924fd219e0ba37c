package queuetest

import (
	"encoding/json"
	"fmt"
	"reflect"
	"sync"
	"time"

	"github.com/evosink/evosink/core/bus"
	"github.com/evosink/evosink/core/queue"
	"github.com/evosink/evosink/core/sink"
)

func (t *trial) keeps() {
	begin := time.Now().Add(-time.Millisecond)
	var last int64
	for i := range 20 {
		for _, p := range t.put(fmt.Sprintf("e%02d", i), laneA, laneB) {
			if !p.New || p.Seq <= last {
				t.Fatalf("place %+v after Seq %d: it must be new and behind", p, last)
			}
		}
		last = t.window(laneA)[i].Seq
	}
	items := t.window(laneB)
	if len(items) != 20 {
		t.Fatalf("%d of 20 wait", len(items))
	}
	for i, item := range items {
		want := newEvent("sales", fmt.Sprintf("e%02d", i))
		if !reflect.DeepEqual(item.Event, want) || item.Scope != sink.Instance {
			t.Errorf("event %d came back as %+v, scope %v\nwant %+v", i, item.Event, item.Scope, want)
		}
		if item.At.Before(begin) || item.At.After(time.Now()) {
			t.Errorf("it was put at %v", item.At)
		}
	}
	t.wantLanes(map[queue.LaneKey]int{laneA: 20, laneB: 20})
}

func (t *trial) wantLanes(want map[queue.LaneKey]int) {
	t.Helper()
	lanes, err := t.store.Lanes(t.Context())
	if err != nil {
		t.Fatalf("Lanes: %v", err)
	}
	got := map[queue.LaneKey]int{}
	for _, b := range lanes {
		items := t.window(b.LaneKey)
		got[b.LaneKey] = b.Waiting
		bytes := int64(0)
		for _, d := range items {
			bytes += queue.Size(d.Event)
		}
		if b.Bytes != bytes {
			t.Errorf("Lanes tells of %d bytes in %v, want %d: after a start an instance would have more room, or less", b.Bytes, b.LaneKey, bytes)
		}
		first, last := items[0], items[len(items)-1]
		if b.First != first.Seq || b.Newest != last.Seq || !b.Oldest.Equal(first.At) || b.Scope != first.Scope {
			t.Errorf("Lanes tells %+v of a lane from %d (%v, %v) to %d", b, first.Seq, first.At, first.Scope, last.Seq)
		}
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("Lanes tells %v, want %v: a lane that a start does not find waits for ever", got, want)
	}
}

func (t *trial) putsSeveral() {
	entry := func(id string, lanes ...queue.LaneKey) queue.Entry {
		e := queue.Entry{Event: newEvent("sales", id), At: time.Now()}
		for _, l := range lanes {
			e.To = append(e.To, queue.Destination{Lane: l, Scope: sink.Instance})
		}
		return e
	}
	t.put("e0", laneA)
	refused := entry("e3", laneA)
	refused.To[0].Refused = queue.Full
	places, err := t.store.Put(t.Context(), []bus.Lease{t.lease("sales")}, nil,
		entry("e1", laneA, laneB), entry("e2", laneB), entry("e1", laneA), refused, entry("e0", laneA, laneB), entry("e4", laneA))
	if err != nil {
		t.Fatalf("Put: %v", err)
	}
	if len(places) != 8 {
		t.Fatalf("Put told of %d of 8 destinations", len(places))
	}
	for i, isNew := range []bool{true, true, true, false, true, false, true, true} {
		if places[i].New != isNew {
			t.Errorf("destination %d has place %+v, want New %v", i, places[i], isNew)
		}
	}
	if places[3].Seq != places[0].Seq || places[4].Seq != 0 {
		t.Errorf("absorbed at %+v, refused at %+v", places[3], places[4])
	}
	t.wantWaiting("in order of the entries", laneA, "e0", "e1", "e4")
	t.wantWaiting("in order of the entries", laneB, "e1", "e2", "e0")
	if _, letters := t.letters(queue.DeadLetterFilter{}, queue.Page{}); len(letters) != 1 || letters[0].EventID != "e3" {
		t.Errorf("dead letters: %+v", letters)
	}
}

func (t *trial) absorbs() {
	first := t.put("e1", laneA)[0]
	t.put("e2", laneA)
	again := t.put("e1", laneA, laneB)
	if again[0] != (queue.PutResult{Seq: first.Seq}) {
		t.Errorf("the same event has place %+v, was %+v: a bus that delivers again would double it", again[0], first)
	}
	if !again[1].New {
		t.Error("a lane did not take an event that only another lane knew")
	}
	t.wantWaiting("", laneA, "e1", "e2")
	t.wantWaiting("", laneB, "e1")
	other := lane("webhook", "one", "support")
	if p := t.put("e1", other)[0]; !p.New {
		t.Error("an id of one instance absorbed an event of another: ids are the producers'")
	}
	t.wantWaiting("", other, "e1")
}

func (t *trial) separates() {
	former, later := laneA, laneA
	former.InstanceID, later.InstanceID = "1", "2"
	t.put("e1", former)
	if p := t.put("e1", later)[0]; !p.New {
		t.Error("an id of a former instance absorbed an event of a later one of that name")
	}
	t.put("e2", later)
	t.wantWaiting("", former, "e1")
	t.wantWaiting("", later, "e1", "e2")
	for _, l := range []queue.LaneKey{former, later} {
		for _, d := range t.window(l) {
			if d.Event.InstanceID != l.InstanceID {
				t.Errorf("event %s of %v has instance id %q", d.Event.ID, l, d.Event.InstanceID)
			}
		}
	}
	if n, err := t.store.Purge(t.Context(), t.lease("sales"), queue.PurgeRequest{Lane: former, Until: everything, Max: 10, Reason: queue.Gone}); n.Count != 1 || err != nil {
		t.Fatalf("Purge: %d, %v", n, err)
	}
	t.wantWaiting("", later, "e1", "e2")
	letters, err := t.store.DeadLetters(t.Context(), queue.DeadLetterFilter{}, queue.Page{})
	if err != nil || len(letters) != 1 || letters[0].LaneKey != former {
		t.Fatalf("dead letters are %+v, %v; want one of %v", letters, err, former)
	}
	requeued, err := t.store.Requeue(t.Context(), t.lease("sales"), []int64{letters[0].ID}, time.Now())
	if err != nil || len(requeued) != 1 || requeued[0].LaneKey != former {
		t.Errorf("requeued: %+v, %v; want it in %v", requeued, err, former)
	}
	t.wantWaiting("", later, "e1", "e2")
	lanes, err := t.store.Lanes(t.Context())
	if err != nil || len(lanes) != 2 {
		t.Errorf("lanes are %+v, %v", lanes, err)
	}
}

func (t *trial) remembers() {
	t.put("e1", laneA)
	t.deliver(laneA)
	t.sweep(ample())
	if p := t.put("e1", laneA)[0]; p != (queue.PutResult{}) {
		t.Errorf("an event delivered has place %+v: a bus that delivers again behind its cursor would double it", p)
	}
	t.put("e2", laneA)
	forgetful := ample()
	forgetful.Seen = 0
	t.sweep(forgetful)
	if p := t.put("e1", laneA)[0]; !p.New {
		t.Error("an event is remembered for ever: so is its data on the disk")
	}
	if p := t.put("e2", laneA)[0]; p.New {
		t.Error("retention forgot an event that waits")
	}
	t.wantWaiting("", laneA, "e2", "e1")
	t.deliver(laneA)
	if p := t.put("e2", laneA)[0]; !p.New {
		t.Error("an event that retention had passed over while it waited is remembered for ever")
	}
}

func (t *trial) shares() {
	t.put("e1", laneA, laneB, laneC)
	nothing := queue.Retention{}
	t.deliver(laneA)
	t.sweep(nothing)
	t.wantWaiting("another lane's delivery took it away", laneB, "e1")
	t.deliver(laneB)
	t.sweep(nothing)
	t.wantWaiting("another lane's delivery took it away", laneC, "e1")
	t.deliver(laneC)
	t.sweep(nothing)
	t.wantLanes(map[queue.LaneKey]int{})
}

func (t *trial) refuses() {
	e := queue.Entry{Event: newEvent("sales", "e1"), At: at(9), To: []queue.Destination{
		{Lane: laneA, Scope: sink.Global, Refused: queue.Full}, {Lane: laneB, Scope: sink.Global},
	}}
	if p := t.enter(e); p[0] != (queue.PutResult{New: true}) || !p[1].New || p[1].Seq == 0 {
		t.Errorf("places are %+v", p)
	}
	t.wantWaiting("it was refused", laneA)
	t.wantWaiting("", laneB, "e1")
	_, letters := t.letters(queue.DeadLetterFilter{}, queue.Page{})
	if len(letters) != 1 || letters[0].LaneKey != laneA || letters[0].Reason != queue.Full || letters[0].EventID != "e1" ||
		letters[0].Scope != sink.Global {
		t.Errorf("the dead letters are %+v: what is refused must not be lost", letters)
	}
	if t.enter(e); len(t.window(laneB)) != 1 {
		t.Error("it was not absorbed")
	}
	if ids, _ := t.letters(queue.DeadLetterFilter{}, queue.Page{}); len(ids) != 1 {
		t.Error("an event given again was refused again: one dead letter is enough")
	}
}

func (t *trial) bounds() {
	for i := range 10 {
		t.put(fmt.Sprint("e", i), laneA)
	}
	all := t.window(laneA)
	size := len(all[0].Event.Data)
	for _, c := range []struct {
		after, until int64
		limit, bytes int
		want         []queue.Delivery
	}{
		{0, everything, 3, 1 << 30, all[:3]},
		{all[2].Seq, everything, 100, 1 << 30, all[3:]},
		{all[2].Seq, all[5].Seq, 100, 1 << 30, all[3:6]},
		{0, everything, 100, 4 * size, all[:4]},
		{0, everything, 100, 1, all[:1]},
		{all[9].Seq, everything, 100, 1 << 30, nil},
	} {
		got, err := t.store.Window(t.Context(), laneA, c.after, c.until, c.limit, c.bytes)
		if err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("Window(%d, %d, %d, %d) gave %d items (%v), want %d", c.after, c.until, c.limit, c.bytes, len(got), err, len(c.want))
		}
	}
	if got := t.window(laneB); got != nil {
		t.Errorf("a lane that does not exist has %v", got)
	}
}

func (t *trial) progresses() {
	t.put("e1", laneA)
	t.put("e2", laneA)
	p := queue.Progress{Attempts: 2, First: at(1), Last: at(2), Next: at(3), Error: "503"}
	t.settle(queue.Result{Lane: laneA, Seq: t.window(laneA)[0].Seq, Kind: queue.Retry, Progress: p})
	if got := t.head(laneA); !reflect.DeepEqual(got, p) {
		t.Errorf("the head's progress is %+v, want %+v: a restart would begin its attempts anew", got, p)
	}
	t.deliver(laneA)
	if got := t.head(laneA); !reflect.DeepEqual(got, queue.Progress{}) {
		t.Errorf("the next one has inherited %+v", got)
	}
}

func (t *trial) head(l queue.LaneKey) queue.Progress {
	t.Helper()
	lanes, err := t.store.Lanes(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range lanes {
		if b.LaneKey == l {
			return b.Head
		}
	}
	t.Fatalf("lane %v is not there", l)
	return queue.Progress{}
}

func (t *trial) ignores() {
	t.put("e1", laneA)
	seq := t.window(laneA)[0].Seq
	t.deliver(laneA)
	for _, r := range []queue.ResultKind{queue.Delivered, queue.Retry, queue.DeadLettered} {
		t.settle(queue.Result{Lane: laneA, Seq: seq, Kind: r}, queue.Result{Lane: laneC, Seq: seq, Kind: r})
	}
	if ids, _ := t.letters(queue.DeadLetterFilter{}, queue.Page{}); ids != nil {
		t.Errorf("what has gone became dead letters %v", ids)
	}
	t.wantLanes(map[queue.LaneKey]int{})
}

func (t *trial) clears() {
	for i := range 6 {
		e := queue.Entry{Event: newEvent("sales", fmt.Sprint("e", i)), At: time.Now()}
		e.To = []queue.Destination{{Lane: laneA, Droppable: i%2 == 1}, {Lane: laneB}}
		t.enter(e)
	}
	items := t.window(laneA)
	lanes, err := t.store.Lanes(t.Context())
	for _, b := range lanes {
		if drops := map[queue.LaneKey]int{laneA: 3}[b.LaneKey]; b.Drops != drops {
			t.Errorf("Lanes tells of %d droppable deliveries in %v (%v), want %d", b.Drops, b.LaneKey, err, drops)
		}
	}
	t.clear(2, queue.PurgeRequest{Lane: laneA, After: items[1].Seq, Until: everything, Max: 10, Droppable: true})
	t.wantWaiting("only droppable ones behind the second were to go", laneA, "e0", "e1", "e2", "e4")
	t.clear(2, queue.PurgeRequest{Lane: laneA, Until: everything, Max: 2, Reason: queue.Gone})
	t.wantWaiting("the oldest were to go, two of them", laneA, "e2", "e4")
	t.clear(1, queue.PurgeRequest{Lane: laneA, After: items[0].Seq, Until: items[3].Seq, Max: 10})
	t.wantWaiting("", laneA, "e4")
	t.wantWaiting("another lane was cleared", laneB, "e0", "e1", "e2", "e3", "e4", "e5")
	_, letters := t.letters(queue.DeadLetterFilter{}, queue.Page{})
	if len(letters) != 2 || letters[0].EventID != "e0" || letters[1].EventID != "e1" || letters[0].Reason != queue.Gone {
		t.Errorf("the dead letters are %+v", letters)
	}
}

func (t *trial) clear(want int, c queue.PurgeRequest) {
	t.Helper()
	before := t.bytes(c.Lane)
	gone, err := t.store.Purge(t.Context(), t.lease(c.Lane.Instance), c)
	if gone.Count != want || err != nil {
		t.Errorf("Purge(%+v) = %+v, %v, want %d", c, gone, err, want)
	}
	if after := t.bytes(c.Lane); gone.Bytes != before-after {
		t.Errorf("Purge tells of %d bytes, and the lane has %d of %d left: limits in bytes would drift", gone.Bytes, after, before)
	}
}

// bytes returns what Lanes tells of a lane.
func (t *trial) bytes(l queue.LaneKey) int64 {
	t.Helper()
	lanes, err := t.store.Lanes(t.Context())
	if err != nil {
		t.Fatalf("Lanes: %v", err)
	}
	for _, b := range lanes {
		if b.LaneKey == l {
			return b.Bytes
		}
	}
	return 0
}

func (t *trial) races() {
	const instances, events = 8, 50
	var wg sync.WaitGroup
	for i := range instances {
		wg.Go(func() {
			l := lane("webhook", "one", fmt.Sprint("instance-", i))
			for n := range events {
				e := queue.Entry{Event: newEvent(l.Instance, fmt.Sprintf("e%02d", n)), At: time.Now()}
				e.To = []queue.Destination{{Lane: l}}
				places, err := t.store.Put(t.Context(), []bus.Lease{t.lease(l.Instance)}, nil, e)
				if err != nil {
					t.Errorf("Put: %v", err)
					return
				}
				if n%2 == 0 {
					o := queue.Result{Lane: l, Seq: places[0].Seq, Kind: queue.Delivered}
					if err := t.store.Record(t.Context(), []bus.Lease{t.lease(l.Instance)}, []queue.Result{o}); err != nil {
						t.Errorf("Settle: %v", err)
					}
				}
			}
		})
	}
	wg.Wait()
	var want []string
	for n := 1; n < events; n += 2 {
		want = append(want, fmt.Sprintf("e%02d", n))
	}
	for i := range instances {
		t.wantWaiting("", lane("webhook", "one", fmt.Sprint("instance-", i)), want...)
	}
}

func (t *trial) survives() {
	t.put("e1", laneA, laneB)
	t.put("e2", laneA)
	t.put("e3", laneA)
	t.deliver(laneA)
	t.kill(laneA, queue.Attempts, "500")
	p := queue.Progress{Attempts: 1, First: at(1), Last: at(1), Next: at(2), Error: "503"}
	a := &queue.Attempt{LaneKey: laneA, EventID: "e3", Number: 1, At: at(1), Error: "503"}
	t.settle(queue.Result{Lane: laneA, Seq: t.window(laneA)[0].Seq, Kind: queue.Retry, Progress: p, Attempt: a})
	if err := t.store.PutPause(t.Context(), queue.Pause{Selector: queue.Selector{Sink: "nats"}, At: at(1)}); err != nil {
		t.Fatal(err)
	}
	together := mark(t.lease("sales").Shard, 11, "13")
	t.enterMarked([]queue.Mark{together}, placed("sales", "e3", 11, laneC))
	t.store = t.subject.Reopen(t.T, t.store)
	t.wantLanes(map[queue.LaneKey]int{laneA: 1, laneB: 1, laneC: 1})
	t.wantWaiting("", laneA, "e3")
	t.wantWaiting("", laneB, "e1")
	t.wantWaiting("", laneC, "e3")
	t.wantMarks("what was stored would be stored again", together)
	if got := t.head(laneA); !reflect.DeepEqual(got, p) {
		t.Errorf("the head's progress is %+v, want %+v", got, p)
	}
	ids, _ := t.letters(queue.DeadLetterFilter{}, queue.Page{})
	attempts, _ := t.store.Attempts(t.Context(), "e3")
	pauses, _ := t.store.Pauses(t.Context())
	if len(ids) != 1 || len(attempts) != 1 || len(pauses) != 1 {
		t.Errorf("after a crash there are letters %v, attempts %v, pauses %v, want one of each", ids, attempts, pauses)
	}
	if p := t.put("e1", laneA)[0]; p.New {
		t.Error("a crash made the store forget what it had delivered")
	}
	if p := t.put("e4", laneA)[0]; p.Seq <= t.window(laneA)[0].Seq {
		t.Error("after a crash a new event has got in front of old ones")
	}
	alone := mark(together.Cursor.Shard, 11, "13 14")
	t.checkpoint(alone)
	t.store = t.subject.Reopen(t.T, t.store)
	t.wantMarks("what was delivered would be delivered again", alone)
}

// big returns JSON of about n bytes.
func big(n int) json.RawMessage {
	b := make([]byte, n)
	for i := range b {
		b[i] = 'x'
	}
	b[0], b[n-1] = '"', '"'
	return b
}
