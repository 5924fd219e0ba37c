package queue_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/evosink/evosink/core/bus"
	"github.com/evosink/evosink/core/event"
	"github.com/evosink/evosink/core/queue"
	"github.com/evosink/evosink/core/sink"
)

// A way is how a test gives events to a queue.
type way struct {
	*rig
	target *target
	answer chan struct{} // closed when the target answers that hangs until then
	taken  bool          // as the log gives them, else they are put
	last   bus.Position
}

// give gives an event, and reports how that went.
func (w *way) give(ctx context.Context, e *event.Event, to ...queue.Destination) error {
	if !w.taken {
		return w.Put(ctx, e, to)
	}
	w.last++
	err := w.Take(ctx, bus.Shard(e.Instance, w.store.Shards()), queue.Logged{Position: w.last, Event: e, To: to})
	if err != nil {
		w.last-- // it is given again
	}
	return err
}

// gives gives events of one instance, by their numbers.
func (w *way) gives(instance string, from, until int, to ...queue.Destination) {
	w.t.Helper()
	for n := from; n < until; n++ {
		if err := w.give(w.t.Context(), newEvent(instance, fmt.Sprintf("%04d", n)), to...); err != nil {
			w.t.Fatalf("give %d: %v", n, err)
		}
	}
}

// bothWays fails unless what a test sees of a queue is the same for deliveries that are stored and for those that the log
// answers for. Its target hangs; what it gives is looked at before the queue would store it for that.
func bothWays(t *testing.T, c queue.Config, look func(w *way) []any) {
	t.Helper()
	saw := map[bool][]any{}
	for _, taken := range []bool{false, true} {
		bubble(t, func(t *testing.T) {
			w := &way{answer: make(chan struct{}), taken: taken}
			w.target = hanging(w.answer, func(d *sink.Delivery) bool { return d.Event.Name != "refused" })
			hangs := w.target.deliver
			w.target.deliver = func(ctx context.Context, d *sink.Delivery) error {
				if d.Event.Name == "refused" && d.Attempt == 1 && !w.answered() {
					return sink.Permanent(errBusy)
				}
				return hangs(ctx, d)
			}
			w.rig = start(t, newStore(t), c, outlet("hook", w.target))
			saw[taken] = look(w)
			w.rig.kill()
		})
	}
	if len(saw[true]) == 0 {
		t.Fatal("this test has seen nothing")
	}
	for i, seen := range saw[true] {
		want(t, fmt.Sprintf("what was seen at step %d of what the log answers for", i+1), seen, saw[false][i])
	}
}

func (w *way) answered() bool {
	select {
	case <-w.answer:
		return true
	default:
		return false
	}
}

// answers lets the target answer, and waits for all to be delivered.
func (w *way) answers() {
	close(w.answer)
	after(time.Minute)
}

// ids are of deliveries.
func idsOf(all []queue.Delivery) (ids []string) {
	for _, d := range all {
		ids = append(ids, d.Event.ID)
	}
	return ids
}

// standing is what operators see of a queue that has come to rest, but for numbers that only the store gives.
func (w *way) standing() string {
	synctest.Wait()
	var out []string
	now := time.Now()
	for _, l := range w.Backlog(queue.Selector{}) {
		out = append(out, fmt.Sprint(l.Target, l.Instance, l.Scope, " ", l.State, l.Breaker, l.Waiting, l.Bytes, l.Drops,
			now.Sub(l.Oldest), l.Head.Attempts, l.Head.Error, l.Paused != nil))
	}
	for _, s := range w.Stats() {
		s.Oldest, s.FailedAt = s.Oldest.Truncate(time.Millisecond), time.Time{}
		out = append(out, fmt.Sprintf("%+v", s))
	}
	return fmt.Sprint(out)
}

func TestWhatTheLogAnswersForIsSeenAsIfItWereStored(t *testing.T) {
	bothWays(t, queue.DefaultConfig(), func(w *way) (saw []any) {
		see := func(limit int) {
			for _, d := range []queue.Destination{to("a"), own("a"), to("nothing")} {
				waiting, err := w.Waiting(w.t.Context(), d.Lane, limit)
				saw = append(saw, idsOf(waiting), err)
			}
		}
		w.gives("a", 1, 11, own("a"), to("a"))
		w.gives("b", 11, 14, own("b"))
		after(500 * time.Millisecond)
		saw = append(saw, w.standing())
		see(3)
		see(100)
		if err := w.Pause(w.t.Context(), queue.Selector{Instance: "c"}, "r"); err != nil {
			w.t.Fatal(err)
		}
		w.gives("c", 14, 200, own("c"))
		after(500 * time.Millisecond)
		saw = append(saw, w.standing())
		see(100)
		w.answers()
		of := slices.Sorted(slices.Values(w.target.took("a"))) // of two lanes
		saw = append(saw, of, w.target.took("b"), w.target.took("c"), w.standing())
		return saw
	})
}

func TestWhatTheLogAnswersForIsPurged(t *testing.T) {
	bothWays(t, queue.DefaultConfig(), func(w *way) (saw []any) {
		w.gives("a", 1, 701, to("a"))
		w.gives("b", 701, 703, to("b"))
		after(500 * time.Millisecond)
		n, err := w.Purge(w.t.Context(), queue.Selector{Instance: "a"})
		saw = append(saw, n, err, w.standing())
		w.gives("a", 703, 704, to("a"))
		n, err = w.Purge(w.t.Context(), queue.Selector{Instance: "b", Target: "another"})
		saw = append(saw, n, err)
		w.answers()
		return append(saw, w.target.took("a"), w.target.took("b"), w.standing())
	})
}

func TestDeadLettersComeBackBehindWhatTheLogAnswersFor(t *testing.T) {
	bothWays(t, queue.DefaultConfig(), func(w *way) (saw []any) {
		for n := range 3 {
			e := newEvent("a", fmt.Sprint("refused-", n))
			e.Name = "refused"
			if err := w.give(w.t.Context(), e, to("a")); err != nil {
				w.t.Fatal(err)
			}
		}
		w.gives("a", 1, 11, to("a"))
		after(500 * time.Millisecond)
		letters, err := w.DeadLetters(w.t.Context(), queue.DeadLetterFilter{}, queue.Page{})
		for _, l := range letters {
			saw = append(saw, l.EventID, l.Reason, l.Attempts, l.Error)
		}
		saw = append(saw, err, w.standing())
		if len(letters) != 3 {
			w.t.Fatalf("there are dead letters %+v", letters)
		}
		saw = append(saw, w.RequeueOne(w.t.Context(), letters[1].ID))
		n, err := w.Requeue(w.t.Context(), queue.DeadLetterFilter{}, nil)
		saw = append(saw, n, err, w.standing())
		w.gives("a", 11, 14, to("a"))
		w.answers()
		return append(saw, w.target.took("a"), w.standing())
	})
}

func TestWhatTheLogAnswersForIsErased(t *testing.T) {
	bothWays(t, queue.DefaultConfig(), func(w *way) (saw []any) {
		erase := func() {
			n, left, err := w.Erase(w.t.Context(), bus.Erasure{Instance: "a"})
			n.Remembered = 0 // nothing is remembered of what was never put
			saw = append(saw, n, left, err)
		}
		w.gives("a", 1, 701, to("a"), own("a"))
		w.gives("b", 701, 703, to("b"))
		after(500 * time.Millisecond)
		erase()
		saw = append(saw, w.standing())
		w.answers()
		erase()
		return append(saw, w.target.took("a"), w.target.took("b"), w.standing())
	})
}

func TestDrainedWaitsForWhatTheLogAnswersFor(t *testing.T) {
	bothWays(t, queue.DefaultConfig(), func(w *way) (saw []any) {
		w.gives("a", 1, 11, to("a"), own("a"))
		ctx, cancel := context.WithTimeout(w.t.Context(), time.Second)
		defer cancel()
		saw = append(saw, w.Drained(ctx, "a"), w.Drained(w.t.Context(), "b"))
		drained := make(chan error, 1)
		go func() { drained <- w.Drained(w.t.Context(), "a") }()
		w.answers()
		return append(saw, <-drained, slices.Sorted(slices.Values(w.target.took("a"))))
	})
}

func TestTheLimitsCountWhatTheLogAnswersFor(t *testing.T) {
	size := queue.Size(newEvent("a", "0000"))
	for name, limit := range map[string]func(c *queue.Config){
		"lane_limit":     func(c *queue.Config) { c.LaneLimit = 10 },
		"instance_limit": func(c *queue.Config) { c.InstanceLimit = 10 },
		"instance_bytes": func(c *queue.Config) { c.InstanceBytes = 10 * size },
		"total_limit":    func(c *queue.Config) { c.TotalLimit = 10 },
		"total_bytes":    func(c *queue.Config) { c.TotalBytes = 10 * size },
	} {
		t.Run(name, func(t *testing.T) {
			c := queue.DefaultConfig()
			limit(&c)
			bothWays(t, c, func(w *way) (saw []any) {
				w.gives("a", 1, 16, own("a"))
				after(500 * time.Millisecond)
				room := w.Room(newEvent("a", "x"), func() []queue.Destination { return []queue.Destination{own("a")} })
				saw = append(saw, fmt.Sprint(room), errors.Is(room, queue.ErrFull), w.refusedOf(), w.standing())
				w.answers()
				w.gives("a", 16, 19, own("a"))
				after(time.Second)
				return append(saw, w.target.took("a"), w.refusedOf(), w.standing())
			})
		})
	}
}

func TestTheLogWaitsForRoomIfItIsTo(t *testing.T) {
	c := queue.DefaultConfig()
	c.LaneLimit, c.WhenFull = 10, queue.Block
	bothWays(t, c, func(w *way) (saw []any) {
		w.gives("a", 1, 11, own("a"))
		ctx, cancel := context.WithTimeout(w.t.Context(), 100*time.Millisecond)
		defer cancel()
		err := w.give(ctx, newEvent("a", "0011"), own("a"))
		saw = append(saw, errors.Is(err, queue.ErrFull), w.standing())
		given := make(chan error, 1)
		go func() { given <- w.give(w.t.Context(), newEvent("a", "0011"), own("a")) }()
		after(500 * time.Millisecond)
		saw = append(saw, len(given))
		w.answers()
		return append(saw, <-given, w.target.took("a"), w.standing())
	})
}

func TestTheOldestThatTheLogAnswersForMakesRoom(t *testing.T) {
	c := queue.DefaultConfig()
	c.LaneLimit = 10
	for name, paused := range map[string]bool{"tried": false, "paused": true} {
		t.Run(name, func(t *testing.T) {
			bothWays(t, c, func(w *way) (saw []any) {
				if paused {
					if err := w.Pause(w.t.Context(), queue.Selector{Instance: "a"}, ""); err != nil {
						w.t.Fatal(err)
					}
				}
				for n := range 20 {
					e := newEvent("a", fmt.Sprintf("%04d", n))
					e.Name = []string{"messages.upsert", "presence.update"}[n%2]
					if err := w.give(w.t.Context(), e, own("a")); err != nil {
						w.t.Fatal(err)
					}
					synctest.Wait() // the first one is in hand
				}
				after(500 * time.Millisecond)
				waiting, err := w.Waiting(w.t.Context(), own("a").Lane, 100)
				saw = append(saw, idsOf(waiting), err, w.standing(), w.refusedOf())
				if dropped := w.Stats()[0].Dropped; dropped == 0 {
					w.t.Error("nothing was dropped")
				}
				saw = append(saw, w.Resume(w.t.Context(), queue.Selector{Instance: "a"}))
				w.answers()
				return append(saw, w.target.took("a"), w.standing())
			})
		})
	}
}

// What a pause holds back is stored at once: from then on it is the store that all looks are at.
func TestWhatAPauseHoldsBackIsPurgedAndErased(t *testing.T) {
	bothWays(t, queue.DefaultConfig(), func(w *way) (saw []any) {
		if err := w.Pause(w.t.Context(), queue.Selector{Sink: "hook"}, ""); err != nil {
			w.t.Fatal(err)
		}
		for _, instance := range []string{"a", "b", "c"} {
			w.gives(instance, 1, 701, own(instance))
		}
		n, err := w.Purge(w.t.Context(), queue.Selector{Instance: "a"}) // some of it is on its way to the store
		saw = append(saw, n, err, w.standing())
		erased, left, err := w.Erase(w.t.Context(), bus.Erasure{Instance: "b"})
		erased.Remembered = 0
		saw = append(saw, erased, left, err, w.standing())
		w.gives("a", 701, 711, own("a"))
		saw = append(saw, w.Resume(w.t.Context(), queue.Selector{Sink: "hook"}))
		w.answers()
		return append(saw, w.target.took("a"), w.target.took("b"), w.target.took("c"), w.standing())
	})
}
