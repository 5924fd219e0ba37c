package queue_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/evosink/evosink/core/event"
	"github.com/evosink/evosink/core/queue"
)

// large returns an event with so many bytes of data.
func large(instance, id string, bytes int) *event.Event {
	e := newEvent(instance, id)
	e.Data = json.RawMessage(`"` + strings.Repeat("x", bytes-2) + `"`)
	return e
}

// refusedOf returns how many dead letters instances have because there was no room.
func (r *rig) refusedOf() map[string]int {
	r.t.Helper()
	letters, err := r.DeadLetters(r.t.Context(), queue.DeadLetterFilter{Reason: queue.Full}, queue.Page{Limit: 1000})
	if err != nil {
		r.t.Fatal(err)
	}
	of := map[string]int{}
	for _, l := range letters {
		of[l.Instance]++
	}
	return of
}

func TestAnInstanceHasALimitInBytesOfItsOwn(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var up atomic.Bool
		c := queue.DefaultConfig()
		c.InstanceBytes = 10 * queue.Size(large("hog", "0000", 10_000))
		r := start(t, newStore(t), c, outlet("hook", faulty(&up)))
		for i := range 20 {
			r.put(large("hog", fmt.Sprintf("%04d", i), 10_000), ownTarget("hog", fmt.Sprint(i%3)))
		}
		r.fill(to("other"), 30)
		want(t, "refused", r.refusedOf(), map[string]int{"hog": 10})
		up.Store(true)
		after(2 * time.Minute)
		r.put(large("hog", "0020", 10_000), own("hog"))
		want(t, "refused when room was made", r.refusedOf(), map[string]int{"hog": 10})
	})
}

func TestAnInstanceThatFillsTheQueueWithBytesTakesFromItself(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var up atomic.Bool
		c := queue.DefaultConfig()
		c.TotalBytes = 100 * queue.Size(large("hog", "0000", 10_000))
		r := start(t, newStore(t), c, outlet("hook", faulty(&up)))
		for i := range 150 {
			r.put(large("hog", fmt.Sprintf("%04d", i), 10_000), own("hog"))
		}
		for i := range 9 {
			r.fill(to(fmt.Sprint("tenant", i)), 10)
		}
		want(t, "refused", r.refusedOf(), map[string]int{"hog": 50})
	})
}

// What waits counts the same after a start, when memory knows none of the events.
func TestBytesThatWaitAreCountedAfterARestart(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var up atomic.Bool
		c := queue.DefaultConfig()
		c.InstanceBytes, c.CacheBytes = 10*queue.Size(large("hog", "0000", 10_000)), 0
		store := newStore(t)
		r := start(t, store, c, outlet("hook", faulty(&up)))
		for i := range 10 {
			r.put(large("hog", fmt.Sprintf("%04d", i), 10_000), own("hog"))
		}
		r.close()
		r = start(t, store, c, outlet("hook", faulty(&up)))
		r.put(large("hog", "0010", 10_000), own("hog"))
		want(t, "refused", r.refusedOf(), map[string]int{"hog": 1})
		want(t, "bytes that wait", r.Backlog(queue.Selector{})[0].Bytes, c.InstanceBytes)
		if n, err := r.Purge(t.Context(), queue.Selector{Instance: "hog"}); n != 10 || err != nil {
			t.Fatalf("purged %d, %v", n, err)
		}
		ids, _ := r.DeadLetters(t.Context(), queue.DeadLetterFilter{}, queue.Page{})
		if err := r.RequeueOne(t.Context(), ids[0].ID); err != nil {
			t.Fatal(err)
		}
		for i := range 20 {
			r.put(large("hog", fmt.Sprint("later", i), 10_000), own("hog"))
		}
		want(t, "refused of 20 beside one requeued", r.refusedOf(), map[string]int{"hog": 11})
	})
}

// A small event that is dropped makes no room for a large one: otherwise an instance would exceed its bytes as often as
// it had put one that may be dropped.
func TestWhatIsDroppedMakesRoomForAsManyBytesOnly(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var up atomic.Bool
		c := queue.DefaultConfig()
		presence := func(i int) *event.Event {
			e := newEvent("hog", fmt.Sprint("presence", i))
			e.Name = "presence.update"
			return e
		}
		c.InstanceBytes = 100 * queue.Size(presence(0))
		r := start(t, newStore(t), c, outlet("hook", faulty(&up)))
		for i := range 200 {
			r.put(presence(i), own("hog"))
		}
		limit := c.InstanceBytes + 2*queue.Size(large("hog", "0000", 10_000))
		for i := range 200 {
			r.put(large("hog", fmt.Sprintf("%04d", i), 10_000), own("hog"))
			if waits := r.Backlog(queue.Selector{})[0].Bytes; waits > limit {
				t.Fatalf("%d bytes wait of an instance that may have %d", waits, c.InstanceBytes)
			}
		}
		if n := r.Stats()[0].Dropped; n < 150 {
			t.Errorf("%d events were dropped to make room", n)
		}
	})
}

func TestDeadLettersAreBoundedInBytes(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var up atomic.Bool
		c := queue.DefaultConfig()
		c.InstanceLimit = 1
		c.DeadBytes = 4*queue.Size(large("hog", "0000", 10_000)) + 3*queue.Size(newEvent("small", "0000"))
		r := start(t, newStore(t), c, outlet("hook", faulty(&up)))
		for i := range 100 {
			r.put(large("hog", fmt.Sprintf("%04d", i), 10_000), own("hog"))
		}
		r.fill(to("small"), 3)
		up.Store(true)
		after(20 * time.Minute)
		want(t, "dead letters left", r.refusedOf(), map[string]int{"hog": 4, "small": 2})
	})
}
