package queuetest

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"time"

	"github.com/evosink/evosink/core/queue"
	"github.com/evosink/evosink/core/sink"
)

func (t *trial) lists() {
	for i := range 6 {
		t.put(fmt.Sprint("e", i), laneA, laneB)
		t.kill(laneA, queue.Attempts, fmt.Sprintf("status 50%d", i))
	}
	t.kill(laneB, queue.Permanent, "410 100%_gone")
	all, letters := t.letters(queue.DeadLetterFilter{}, queue.Page{})
	if len(all) != 7 || !slices.IsSorted(all) {
		t.Fatalf("the letters are %v, want 7, oldest first", all)
	}
	want := queue.DeadLetter{
		ID: all[0], LaneKey: laneA, Scope: sink.Instance, EventID: "e0", EventName: "messages.upsert", Reason: queue.Attempts,
		Progress: queue.Progress{Attempts: 3, First: at(1), Last: at(2), Error: "status 500"}, Died: letters[0].Died,
	}
	if !reflect.DeepEqual(letters[0], want) || time.Since(want.Died).Abs() > time.Minute {
		t.Errorf("a letter is %+v\nwant %+v", letters[0], want)
	}
	t.wantLetters(all[2:4], queue.DeadLetterFilter{}, queue.Page{After: all[1], Limit: 2})
	t.wantLetters([]int64{all[6], all[5]}, queue.DeadLetterFilter{}, queue.Page{Newest: true, Limit: 2})
	t.wantLetters([]int64{all[1], all[0]}, queue.DeadLetterFilter{}, queue.Page{Newest: true, After: all[2]})
	t.wantLetters(all[6:], queue.DeadLetterFilter{Selector: queue.Selector{Target: laneB.Target}}, queue.Page{})
	t.wantLetters(all, queue.DeadLetterFilter{Selector: queue.Selector{Sink: "webhook", Instance: "sales"}}, queue.Page{})
	t.wantLetters(nil, queue.DeadLetterFilter{Selector: queue.Selector{Instance: "support"}}, queue.Page{})
	t.wantLetters([]int64{all[0], all[6]}, queue.DeadLetterFilter{EventID: "e0"}, queue.Page{})
	t.wantLetters(all[2:3], queue.DeadLetterFilter{ID: all[2]}, queue.Page{})
	t.wantLetters(all[6:], queue.DeadLetterFilter{Reason: queue.Permanent}, queue.Page{})
	t.wantLetters(all[3:4], queue.DeadLetterFilter{Error: "503"}, queue.Page{})
	t.wantLetters(all[6:], queue.DeadLetterFilter{Error: "0%_g"}, queue.Page{})
	t.shows(all[4])
	t.erases(all)
}

func (t *trial) wantLetters(want []int64, f queue.DeadLetterFilter, p queue.Page) {
	t.Helper()
	if got, _ := t.letters(f, p); !slices.Equal(got, want) {
		t.Errorf("Letters(%+v, %+v) gives %v, want %v", f, p, got, want)
	}
	if p != (queue.Page{}) {
		return
	}
	if n, err := t.store.CountDeadLetters(t.Context(), f); n != len(want) || err != nil {
		t.Errorf("CountLetters(%+v) = %d, %v, want %d", f, n, err, len(want))
	}
}

func (t *trial) shows(id int64) {
	t.Helper()
	l, err := t.store.DeadLetter(t.Context(), id)
	if err != nil || !reflect.DeepEqual(l.Event, newEvent("sales", "e4")) {
		t.Errorf("Letter(%d) has event %+v (%v)", id, l.Event, err)
	}
	if _, err := t.store.DeadLetter(t.Context(), 1<<40); !errors.Is(err, queue.ErrNoDeadLetter) {
		t.Errorf("a letter that does not exist: %v, want ErrNoDeadLetter", err)
	}
}

func (t *trial) erases(all []int64) {
	t.Helper()
	f := queue.DeadLetterFilter{Selector: queue.Selector{Target: laneA.Target}}
	for _, want := range []int{4, 2, 0} {
		if n, err := t.store.DeleteDeadLetters(t.Context(), f, 4); n != want || err != nil {
			t.Errorf("EraseLetters = %d, %v, want %d", n, err, want)
		}
	}
	t.wantLetters(all[6:], queue.DeadLetterFilter{}, queue.Page{})
}

func (t *trial) revives() {
	t.put("e1", laneA)
	t.put("e2", laneA)
	t.put("e3", laneA)
	t.kill(laneA, queue.Attempts, "500")
	t.kill(laneA, queue.Attempts, "500")
	ids, _ := t.letters(queue.DeadLetterFilter{}, queue.Page{})
	now := time.Now()
	revived, err := t.store.Requeue(t.Context(), t.lease("sales"), append(ids, 1<<40), now)
	if err != nil || len(revived) != 2 {
		t.Fatalf("Revive = %v, %v, want two", revived, err)
	}
	t.wantWaiting("letters go behind what waits, in order", laneA, "e3", "e1", "e2")
	items := t.window(laneA)
	for i, r := range revived {
		want := queue.Requeued{ID: ids[i], LaneKey: laneA, Scope: sink.Instance, Seq: items[i+1].Seq, Bytes: queue.Size(items[i+1].Event)}
		if r != want || now.Sub(items[i+1].At).Abs() > time.Second {
			t.Errorf("Revive tells %+v of an item put at %v, want %+v", r, items[i+1].At, want)
		}
	}
	if again, err := t.store.Requeue(t.Context(), t.lease("sales"), ids, now); len(again) != 0 || err != nil {
		t.Errorf("the letters could be revived twice: %v, %v", again, err)
	}
	if got := t.put("e1", laneA)[0]; got.New {
		t.Error("an event was taken a second time because its letter was revived")
	}
	if !reflect.DeepEqual(items[1].Event, newEvent("sales", "e1")) {
		t.Errorf("the event came back as %+v", items[1].Event)
	}
	t.sweep(queue.Retention{Letters: 1e6, LetterAge: 1e6 * time.Hour})
	t.deliver(laneA)
	t.wantWaiting("", laneA, "e1", "e2")
	t.kill(laneA, queue.Permanent, "again")
	t.deliver(laneA)
	t.sweep(queue.Retention{Letters: 1e6, LetterAge: 1e6 * time.Hour})
	t.wantLanes(map[queue.LaneKey]int{})
	if _, letters := t.letters(queue.DeadLetterFilter{}, queue.Page{}); len(letters) != 1 || letters[0].EventID != "e1" {
		t.Errorf("a revived delivery could not die again: %+v", letters)
	}
}

func (t *trial) logs() {
	t.put("e1", laneA)
	seq := t.window(laneA)[0].Seq
	want := []queue.Attempt{
		{LaneKey: laneA, EventID: "e1", Number: 1, At: at(1), Took: 30 * time.Millisecond, Error: "503", Status: "503 Busy", Head: []byte("<html>\x00\xff")},
		{LaneKey: laneA, EventID: "e1", Number: 2, At: at(2), Took: 1500 * time.Microsecond, Status: "200 OK"},
	}
	t.settle(queue.Result{Lane: laneA, Seq: seq, Kind: queue.Retry, Attempt: &want[0]})
	t.settle(queue.Result{Lane: laneA, Seq: seq, Kind: queue.Delivered, Attempt: &want[1]})
	got, err := t.store.Attempts(t.Context(), "e1")
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("the attempts are %+v (%v)\nwant %+v", got, err, want)
	}
	if got, err := t.store.Attempts(t.Context(), "e2"); len(got) != 0 || err != nil {
		t.Errorf("another event has attempts %v, %v", got, err)
	}
}

func (t *trial) pauses() {
	first := queue.Pause{Selector: queue.Selector{Sink: "webhook", Target: "t:one"}, Reason: "maintenance", At: at(1)}
	second := queue.Pause{Selector: queue.Selector{Sink: "webhook", Target: "t:one", Instance: "sales"}, At: at(2)}
	for _, p := range []queue.Pause{first, second, first} {
		if err := t.store.PutPause(t.Context(), p); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := t.store.Pauses(t.Context()); len(got) != 2 || err != nil {
		t.Errorf("Pauses = %v, %v, want two", got, err)
	}
	third := second
	third.InstanceID = "7"
	if err := t.store.PutPause(t.Context(), third); err != nil {
		t.Fatal(err)
	}
	if got, err := t.store.Pauses(t.Context()); len(got) != 3 || !slices.Contains(got, third) || err != nil {
		t.Errorf("Pauses = %+v, %v, want a third with an id", got, err)
	}
	for range 2 {
		if err := t.store.DeletePause(t.Context(), second.Selector); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := t.store.Pauses(t.Context()); len(got) != 1 || !reflect.DeepEqual(got[0], first) || err != nil {
		t.Errorf("Pauses = %+v, %v, want %+v", got, err, first)
	}
}

func (t *trial) sweeps() {
	for i := range 10 {
		t.put(fmt.Sprint("e", i), laneA)
		a := &queue.Attempt{LaneKey: laneA, EventID: "e", Number: i, At: at(1), Error: "500"}
		t.settle(queue.Result{Lane: laneA, Seq: t.window(laneA)[0].Seq, Kind: queue.DeadLettered, Reason: queue.Attempts, Attempt: a})
	}
	e := newEvent("sales", "large")
	e.Data = big(100_000)
	t.enter(queue.Entry{Event: e, At: time.Now(), To: []queue.Destination{{Lane: laneA}}})
	r := ample()
	r.Letters, r.Attempts = 4, 3
	t.sweep(r)
	_, letters := t.letters(queue.DeadLetterFilter{}, queue.Page{})
	attempts, _ := t.store.Attempts(t.Context(), "e")
	if len(letters) != 4 || letters[0].EventID != "e6" {
		t.Errorf("%d letters are left, the oldest of %s, want the last 4", len(letters), letters[0].EventID)
	}
	if len(attempts) != 3 || attempts[0].Number != 7 {
		t.Errorf("%d attempts are left, want the last 3", len(attempts))
	}
	r.AttemptAge = time.Hour
	t.sweep(r)
	if attempts, _ := t.store.Attempts(t.Context(), "e"); len(attempts) != 0 {
		t.Errorf("%d attempts from long ago are left", len(attempts))
	}
	if ids, _ := t.letters(queue.DeadLetterFilter{}, queue.Page{}); len(ids) != 4 {
		t.Error("young letters were removed")
	}
	t.sweep(queue.Retention{})
	if ids, _ := t.letters(queue.DeadLetterFilter{}, queue.Page{}); ids != nil {
		t.Errorf("letters %v are left although none may be", ids)
	}
	if items := t.window(laneA); len(items) != 1 || len(items[0].Event.Data) != 100_000 {
		t.Error("retention took what waits")
	}
}

func (t *trial) endsPauses() {
	all := map[string]queue.Pause{
		"its own":               {Selector: queue.Selector{Instance: "sales"}, InstanceID: "1"},
		"its own of a sink":     {Selector: queue.Selector{Sink: "nats", Instance: "sales"}, InstanceID: "1"},
		"from before ids":       {Selector: queue.Selector{Sink: "webhook", Instance: "sales"}},
		"a later instance's":    {Selector: queue.Selector{Instance: "sales"}, InstanceID: "2"},
		"another instance's":    {Selector: queue.Selector{Instance: "support"}, InstanceID: "1"},
		"that of all instances": {Selector: queue.Selector{Sink: "webhook"}},
	}
	for _, p := range all {
		if err := t.store.PutPause(t.Context(), p); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		if err := t.store.DeletePausesOf(t.Context(), "sales", "1"); err != nil {
			t.Fatal(err)
		}
	}
	left, err := t.store.Pauses(t.Context())
	for what, p := range all {
		ended := what == "its own" || what == "its own of a sink" || what == "from before ids"
		if slices.ContainsFunc(left, func(l queue.Pause) bool { return l.Selector == p.Selector && l.InstanceID == p.InstanceID }) == ended {
			t.Errorf("when an instance is deleted, %s: ended must be %v (%v)", what, ended, err)
		}
	}
}

func (t *trial) sharesLetters() {
	die := func(id string, l queue.LaneKey) {
		t.put(id, l)
		t.settle(queue.Result{Lane: l, Seq: t.window(l)[0].Seq, Kind: queue.DeadLettered, Reason: queue.Attempts})
	}
	other := lane("webhook", "one", "support")
	die("o0", other)
	die("o1", other)
	r := ample()
	r.Letters = 6
	for i := range 20 {
		die(fmt.Sprint("e", i), laneA)
		t.sweep(r)
	}
	ids, letters := t.letters(queue.DeadLetterFilter{}, queue.Page{})
	of := map[string]int{}
	for _, l := range letters {
		of[l.Instance]++
	}
	if of["support"] != 2 || of["sales"] != 4 || letters[len(letters)-1].EventID != "e19" {
		t.Errorf("of 2 and 20 letters %v are left (%v), want 2 and the last 4", of, ids)
	}
}

func (t *trial) sharesLetterBytes() {
	die := func(id string, l queue.LaneKey, n int) (size int64) {
		e := newEvent(l.Instance, id)
		e.Data = big(n)
		t.enter(queue.Entry{Event: e, At: time.Now(), To: []queue.Destination{{Lane: l, Refused: queue.Full}}})
		return queue.Size(e)
	}
	other := lane("webhook", "one", "support")
	for i := range 5 {
		die(fmt.Sprint("o", i), other, 10)
	}
	r := ample()
	for i := range 4 {
		r.LetterBytes += die(fmt.Sprint("e", i), laneA, 10_000)
		t.sweep(r)
	}
	for i := range 8 {
		die(fmt.Sprint("f", i), laneA, 10_000)
		t.sweep(r)
	}
	_, letters := t.letters(queue.DeadLetterFilter{}, queue.Page{})
	of := map[string]int{}
	for _, l := range letters {
		of[l.Instance]++
	}
	if of["support"] != 5 || of["sales"] != 3 || letters[len(letters)-1].EventID != "f7" {
		t.Errorf("%v are left within %d bytes, want all 5 small ones and the last 3 large ones", of, r.LetterBytes)
	}
	r.LetterBytes = 0
	t.sweep(r)
	if n, err := t.store.CountDeadLetters(t.Context(), queue.DeadLetterFilter{}); n != 8 || err != nil {
		t.Errorf("without a bound %d of 8 letters are left (%v)", n, err)
	}
}
