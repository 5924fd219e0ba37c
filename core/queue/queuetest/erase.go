package queuetest

import (
	"fmt"
	"time"

	"github.com/evosink/evosink/core/bus"
	"github.com/evosink/evosink/core/queue"
)

// erasesInstance leaves what waits, and what belongs to the present instance or to other names.
func (t *trial) erasesInstance() {
	own := func(name, id string) queue.LaneKey {
		l := lane("webhook", "one", name)
		l.InstanceID = id
		return l
	}
	old, former, present, other := own("sales", ""), own("sales", "1"), own("sales", "2"), own("support", "1")
	for _, l := range []queue.LaneKey{old, former, present, other} {
		for i := range 300 { // more than a store removes at once
			id := fmt.Sprint(l.Instance, l.InstanceID, i)
			t.put(id, l)
			seq := t.window(l)[0].Seq
			t.settle(queue.Result{
				Lane: l, Seq: seq, Kind: queue.DeadLettered, Reason: queue.Permanent,
				Attempt: &queue.Attempt{LaneKey: l, EventID: id, Number: 1, At: time.Now(), Error: "410"},
			})
		}
		t.put("waits"+l.InstanceID+l.Instance, l)
	}
	erase := func(e bus.Erasure, letters, attempts int) {
		t.Helper()
		n, err := t.store.Erase(t.Context(), e)
		if err != nil || n.DeadLetters != letters || n.Attempts != attempts || n.Deliveries != 0 {
			t.Errorf("Erase(%+v) removed %+v, %v; want %d dead letters and %d attempts", e, n, err, letters, attempts)
		}
	}
	erase(bus.Erasure{Instance: "sales", ID: "3", Present: "2"}, 300, 300) // those without an id
	erase(bus.Erasure{Instance: "sales", ID: "3", Present: "2"}, 0, 0)
	erase(bus.Erasure{Instance: "sales", ID: "1", Present: "2"}, 300, 300)
	erase(bus.Erasure{Instance: "sales", Present: "2"}, 0, 0)
	for _, l := range []queue.LaneKey{present, other} {
		n, err := t.store.CountDeadLetters(t.Context(), queue.DeadLetterFilter{Selector: queue.Selector{Instance: l.Instance}})
		if err != nil || n != 300 {
			t.Errorf("of %v %d dead letters are left, %v; want 300", l, n, err)
		}
		attempts, err := t.store.Attempts(t.Context(), fmt.Sprint(l.Instance, l.InstanceID, 7))
		if err != nil || len(attempts) != 1 {
			t.Errorf("of %v %d attempts are left, %v; want 1", l, len(attempts), err)
		}
	}
	for _, l := range []queue.LaneKey{old, former, present, other} {
		t.wantWaiting("what waits is purged, not erased", l, "waits"+l.InstanceID+l.Instance)
	}
	erase(bus.Erasure{Instance: "sales"}, 300, 300)
	if n, err := t.store.CountDeadLetters(t.Context(), queue.DeadLetterFilter{}); n != 300 || err != nil {
		t.Errorf("%d dead letters are left, %v; want the 300 of the other name", n, err)
	}
}
