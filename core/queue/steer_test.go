package queue_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/evosink/evosink/core/bus"
	"github.com/evosink/evosink/core/queue"
	"github.com/evosink/evosink/core/sink"
)

// faulty is a target that is down until it is told otherwise.
func faulty(up *atomic.Bool) *target {
	s := &target{}
	s.deliver = func(context.Context, *sink.Delivery) error {
		if up.Load() {
			return nil
		}
		return sink.Unavailable(errors.New("down"))
	}
	return s
}

func TestAPauseHoldsItsLanesAndNoOthersAlsoAfterARestart(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store, s := newStore(t), &target{}
		r := start(t, store, queue.DefaultConfig(), outlet("hook", s))
		paused := queue.Selector{Sink: "hook", Target: "global", Instance: "a"}
		if err := r.Pause(t.Context(), paused, "maintenance"); err != nil {
			t.Fatal(err)
		}
		r.fill(to("a"), 3)
		r.fill(to("b"), 3)
		after(time.Hour)
		want(t, "paused", s.took("a"), []string(nil))
		want(t, "not paused", s.took("b"), ids(3))
		line := r.Backlog(queue.Selector{Instance: "a"})[0]
		want(t, "line", []any{line.State, line.Waiting, line.Paused.Reason}, []any{"parked", 3, "maintenance"})
		r.close()

		r = start(t, store, queue.DefaultConfig(), outlet("hook", s))
		after(time.Hour)
		want(t, "still paused", s.took("a"), []string(nil))
		if err := r.Resume(t.Context(), paused); err != nil {
			t.Fatal(err)
		}
		after(time.Second)
		want(t, "resumed", s.took("a"), ids(3))
	})
}

func TestWhatIsDisabledIsKeptUntilASettingsChange(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := &target{}
		var standing atomic.Int32
		standing.Store(int32(queue.Hold))
		o := outlet("hook", s)
		o.Admit = func(queue.LaneKey, sink.Scope) (queue.Admission, json.RawMessage) {
			return queue.Admission(standing.Load()), nil
		}
		r := start(t, newStore(t), queue.DefaultConfig(), o)
		r.fill(own("a"), 3)
		after(time.Hour)
		want(t, "attempts", len(s.seen()), 0)
		standing.Store(int32(queue.Deliver))
		r.Refresh("a")
		after(time.Second)
		want(t, "delivered", s.took("a"), ids(3))
	})
}

func TestADeletedInstanceLeavesDeadLettersAndItsGlobalEventsGoOn(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var up, deleted atomic.Bool
		s := faulty(&up)
		o := outlet("hook", s)
		o.Admit = func(_ queue.LaneKey, scope sink.Scope) (queue.Admission, json.RawMessage) {
			if deleted.Load() && scope == sink.Instance {
				return queue.Discard, nil
			}
			return queue.Deliver, nil
		}
		r := start(t, newStore(t), queue.DefaultConfig(), o)
		r.fill(own("a"), 1200)
		for i := range 3 {
			r.put(newEvent("a", fmt.Sprintf("global-%d", i)), to("a"))
		}
		after(time.Second)
		deleted.Store(true)
		r.Refresh("a")
		after(time.Second)
		n, _ := r.CountDeadLetters(t.Context(), queue.DeadLetterFilter{Reason: queue.Gone})
		want(t, "letters", n, 1200)
		up.Store(true)
		after(2 * time.Minute)
		want(t, "delivered", s.took(""), []string{"global-0", "global-1", "global-2"})
		want(t, "backlog", len(r.Backlog(queue.Selector{})), 0)
	})
}

func TestPurgeRemovesWhatWaitsButNotWhatIsBeingTried(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := &target{}
		hold := make(chan struct{})
		s.deliver = func(context.Context, *sink.Delivery) error { <-hold; return nil }
		r := start(t, newStore(t), queue.DefaultConfig(), outlet("hook", s))
		r.fill(to("a"), 700)
		r.fill(to("b"), 2)
		after(time.Second)
		n, err := r.Purge(t.Context(), queue.Selector{Instance: "a"})
		want(t, "purged", []any{n, err}, []any{699, nil})
		r.put(newEvent("a", "after"), to("a"))
		close(hold)
		after(time.Second)
		want(t, "delivered", s.took("a"), []string{"0000", "after"})
		want(t, "delivered", s.took("b"), ids(2))
		want(t, "backlog", len(r.Backlog(queue.Selector{})), 0)
		want(t, "waiting", r.Stats()[0].Waiting, 0)
	})
}

func TestReplayGoesAtItsRateTellsOfItsProgressAndKeepsOrder(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var up atomic.Bool
		s := &target{policy: &sink.Policy{Attempts: 1}}
		s.deliver = func(context.Context, *sink.Delivery) error {
			if up.Load() {
				return nil
			}
			return sink.Permanent(errBusy)
		}
		c := queue.DefaultConfig()
		c.ReplayRate = 100
		r := start(t, newStore(t), c, outlet("hook", s))
		for i := range 150 {
			for _, instance := range []string{"a", "b"} {
				r.put(newEvent(instance, fmt.Sprintf("%04d", i)), to(instance))
			}
		}
		after(time.Minute)
		up.Store(true)
		began := time.Now()
		var steps []int
		n, err := r.Requeue(t.Context(), queue.DeadLetterFilter{Selector: queue.Selector{Sink: "hook"}}, func(done, total int) {
			steps = append(steps, done)
			want(t, "total", total, 300)
		})
		want(t, "replayed", []any{n, err, len(steps)}, []any{300, nil, 6})
		if d := time.Since(began); d < 2400*time.Millisecond || d > 3*time.Second {
			t.Errorf("300 letters at 100 per second took %v", d)
		}
		after(time.Second)
		want(t, "a", s.took("a"), ids(150))
		want(t, "b", s.took("b"), ids(150))
		left, _ := r.CountDeadLetters(t.Context(), queue.DeadLetterFilter{})
		want(t, "letters left", left, 0)
	})
}

func TestAReplayKeepsTheRateItIsGivenInStepsOfASecond(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var up atomic.Bool
		s := &target{}
		s.deliver = func(context.Context, *sink.Delivery) error {
			if up.Load() {
				return nil
			}
			return sink.Permanent(errBusy)
		}
		r := start(t, newStore(t), queue.DefaultConfig(), outlet("hook", s))
		r.fill(to("a"), 30)
		after(time.Second)
		up.Store(true)
		began := time.Now()
		var steps []int
		n, err := r.RequeueAt(t.Context(), queue.DeadLetterFilter{}, 10, func(done, _ int) { steps = append(steps, done) })
		want(t, "replayed", []any{n, err, fmt.Sprint(steps), time.Since(began)}, []any{30, nil, "[10 20 30]", 2 * time.Second})
		if n, err := r.RequeueAt(t.Context(), queue.DeadLetterFilter{}, 0, nil); n != 0 || err != nil {
			t.Errorf("without letters and at the configured rate: %d, %v", n, err)
		}
	})
}

func TestReplayOneTakesOneLetterOnce(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := &target{}
		s.deliver = func(_ context.Context, d *sink.Delivery) error { return sink.Permanent(errBusy) }
		r := start(t, newStore(t), queue.DefaultConfig(), outlet("hook", s))
		r.fill(to("a"), 2)
		after(time.Second)
		letters, _ := r.DeadLetters(t.Context(), queue.DeadLetterFilter{}, queue.Page{})
		if err := r.RequeueOne(t.Context(), letters[0].ID); err != nil {
			t.Fatal(err)
		}
		if err := r.RequeueOne(t.Context(), letters[0].ID); !errors.Is(err, queue.ErrNoDeadLetter) {
			t.Errorf("the second time: %v, want ErrNoDeadLetter", err)
		}
		after(time.Second)
		n, err := r.PurgeDeadLetters(t.Context(), queue.DeadLetterFilter{EventID: "0000"})
		want(t, "purged", []any{n, err}, []any{1, nil})
	})
}

func TestAFullLaneRefusesToDeadLettersAndDropsOnlyWhatMayBeDropped(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var up atomic.Bool
		s := faulty(&up)
		c := queue.DefaultConfig()
		c.LaneLimit = 4
		r := start(t, newStore(t), c, outlet("hook", s))
		presence := func(id string) {
			e := newEvent("a", id)
			e.Name = "presence.update"
			r.put(e, to("a"))
		}
		r.put(newEvent("a", "m1"), to("a"))
		presence("p1")
		presence("p2")
		r.put(newEvent("a", "m2"), to("a"))
		after(time.Second)                  // the lane is parked now, and its window let go of
		r.put(newEvent("a", "m3"), to("a")) // p1 makes room
		presence("p3")                      // p2 makes room
		r.put(newEvent("a", "m4"), to("a")) // p3 makes room
		r.put(newEvent("a", "m5"), to("a")) // nothing does
		presence("p4")                      // nothing does
		after(time.Second)
		letters, _ := r.DeadLetters(t.Context(), queue.DeadLetterFilter{Reason: queue.Full}, queue.Page{})
		if len(letters) != 1 || letters[0].EventID != "m5" {
			t.Errorf("letters are %+v, want m5", letters)
		}
		up.Store(true)
		after(10 * time.Minute)
		want(t, "delivered", s.took(""), []string{"m1", "m2", "m3", "m4"})
		stats := r.Stats()[0]
		want(t, "dropped, refused", []any{stats.Dropped, stats.Refused}, []any{4, 1})
	})
}

func TestAFullLaneBlocksWhenItIsToldToAndGoesOnWithRoom(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var up atomic.Bool
		s := faulty(&up)
		c := queue.DefaultConfig()
		c.LaneLimit, c.WhenFull = 3, queue.Block
		r := start(t, newStore(t), c, outlet("hook", s))
		r.fill(to("a"), 3)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := r.Put(ctx, newEvent("a", "0003"), []queue.Destination{to("a")}); !errors.Is(err, queue.ErrFull) {
			t.Errorf("Put into a full lane returned %v", err)
		}
		done := make(chan error, 1)
		go func() { done <- r.Put(t.Context(), newEvent("a", "0003"), []queue.Destination{to("a")}) }()
		up.Store(true)
		after(2 * time.Minute)
		want(t, "Put", <-done, nil)
		after(time.Second)
		want(t, "delivered", s.took(""), ids(4))
	})
}

func TestTheTotalIsBoundedToo(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var up atomic.Bool
		c := queue.DefaultConfig()
		c.TotalLimit = 2
		r := start(t, newStore(t), c, outlet("hook", faulty(&up)))
		for _, instance := range []string{"a", "b", "c"} {
			r.fill(to(instance), 1)
		}
		n, _ := r.CountDeadLetters(t.Context(), queue.DeadLetterFilter{Reason: queue.Full})
		want(t, "letters", n, 1)
	})
}

// pack is a target that takes batches.
type pack struct {
	*target
	answer func(d []*sink.Delivery) []error

	mu      sync.Mutex
	batches [][]string
}

func (p *pack) DeliverBatch(_ context.Context, d []*sink.Delivery) []error {
	p.mu.Lock()
	defer p.mu.Unlock()
	var batch []string
	for _, one := range d {
		batch = append(batch, one.Event.Instance+one.Event.ID)
	}
	p.batches = append(p.batches, batch)
	return p.answer(d)
}

func TestABatchTakesManyLanesAndAFailureHoldsOnlyItsOwn(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := &pack{target: &target{policy: &sink.Policy{Base: time.Minute, Factor: 1}}}
		failed := false
		p.answer = func(d []*sink.Delivery) []error {
			errs := make([]error, len(d))
			for i, one := range d {
				if one.Event.Instance == "b" && one.Event.ID == "0001" && !failed {
					failed = true
					errs[i] = errBusy // what is behind it claims success
				}
			}
			return errs
		}
		r := start(t, newStore(t), queue.DefaultConfig(), outlet("hook", p))
		pause := queue.Selector{Sink: "hook"}
		r.Pause(t.Context(), pause, "to gather a batch")
		for _, instance := range []string{"a", "b", "c"} {
			r.fill(to(instance), 3)
		}
		after(time.Second)
		r.Resume(t.Context(), pause)
		after(time.Hour)
		p.mu.Lock()
		defer p.mu.Unlock()
		all := slices.Concat(p.batches...)
		for _, instance := range []string{"a", "c"} {
			var got []string
			for _, id := range all {
				if id[:1] == instance {
					got = append(got, id[1:])
				}
			}
			want(t, instance, got, ids(3))
		}
		last := p.batches[len(p.batches)-2:]
		want(t, "b's second try, what failed alone and then what is behind it", last, [][]string{{"b0001"}, {"b0002"}})
		if len(p.batches) > 5 {
			t.Errorf("9 events went in %d batches: %v", len(p.batches), p.batches)
		}
	})
}

func TestABatchWithoutAnAnswerForEachIsTriedAgain(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := &pack{target: &target{}}
		p.answer = func(d []*sink.Delivery) []error {
			if len(p.batches) == 1 {
				return nil
			}
			return make([]error, len(d))
		}
		r := start(t, newStore(t), queue.DefaultConfig(), outlet("hook", p))
		r.fill(to("a"), 1)
		after(time.Minute)
		want(t, "batches", len(p.batches), 2)
	})
}

func TestASinkThatPanicsIsRestartedWithGrowingPausesAndOthersGoOn(t *testing.T) {
	bubble(t, func(t *testing.T) {
		healthy, began := &target{}, time.Now()
		bad := &target{deliver: func(context.Context, *sink.Delivery) error { panic("poison") }}
		var restarts []time.Duration
		o := outlet("hook", bad)
		o.Restart = func(context.Context) (sink.Sink, error) {
			if restarts = append(restarts, time.Since(began)); len(restarts) < 3 {
				return nil, errors.New("not yet")
			}
			return healthy, nil
		}
		other := &target{}
		r := start(t, newStore(t), queue.DefaultConfig(), o, outlet("other", other))
		r.fill(to("a"), 2)
		after(100 * time.Millisecond)
		if err := r.Health("hook"); err == nil {
			t.Error("a sink that has panicked is healthy")
		}
		r.put(newEvent("a", "x"), queue.Destination{Lane: queue.LaneKey{Sink: "other", Target: "global", Instance: "a"}, Scope: sink.Global})
		after(0)
		want(t, "other sink", other.took(""), []string{"x"})
		after(time.Minute)
		want(t, "delivered", healthy.took(""), ids(2))
		want(t, "health", r.Health("hook"), error(nil))
		if len(restarts) != 3 || restarts[0] < time.Second || restarts[1]-restarts[0] < 2*time.Second || restarts[2]-restarts[1] < 4*time.Second {
			t.Errorf("restarts at %v, want pauses of 1, 2 and 4 s and a little more", restarts)
		}
	})
}

func TestCloseLetsAttemptsEndAndTheNextStartGoesOn(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store, s := newStore(t), &target{}
		s.deliver = func(context.Context, *sink.Delivery) error { time.Sleep(3 * time.Second); return nil }
		r := start(t, store, queue.DefaultConfig(), outlet("hook", s))
		r.fill(to("a"), 3)
		after(time.Second)
		began := time.Now()
		r.close()
		want(t, "Close took", time.Since(began), 2*time.Second)
		want(t, "delivered", s.took(""), ids(1))
		if err := r.Put(t.Context(), newEvent("a", "late"), []queue.Destination{to("a")}); !errors.Is(err, queue.ErrClosed) {
			t.Errorf("Put after Close: %v", err)
		}
		start(t, store, queue.DefaultConfig(), outlet("hook", s))
		after(time.Minute)
		want(t, "delivered", s.took(""), ids(3))
	})
}

func TestCloseEndsAnAttemptThatDoesNotEndAndCountsItNot(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store, s := newStore(t), &target{}
		s.deliver = func(ctx context.Context, _ *sink.Delivery) error { <-ctx.Done(); return ctx.Err() }
		r := start(t, store, queue.DefaultConfig(), outlet("hook", s))
		r.fill(to("a"), 1)
		after(time.Second)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := r.Close(ctx); err != nil {
			t.Errorf("Close: %v", err)
		}
		lanes, _ := store.Lanes(t.Context())
		want(t, "attempts counted", lanes[0].Head.Attempts, 0)
		want(t, "cut off", r.CutOff(), queue.CutOff{Attempts: 1, Lanes: []queue.LaneKey{to("a").Lane}})
	})
}

func TestLanesOfASinkThatDoesNotRunAreKept(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := newStore(t)
		var up atomic.Bool
		r := start(t, store, queue.DefaultConfig(), outlet("hook", faulty(&up)))
		r.fill(to("a"), 2)
		r.close()
		r = start(t, store, queue.DefaultConfig(), outlet("other", &target{}))
		after(time.Hour)
		line := r.Backlog(queue.Selector{})
		want(t, "backlog", []any{len(line), line[0].State, line[0].Waiting}, []any{1, "parked", 2})
		n, err := r.Purge(t.Context(), queue.Selector{Sink: "hook"})
		want(t, "purged", []any{n, err}, []any{2, nil})
	})
}

func TestABacklogIsDeliveredFromTheStoreInBoundedWindows(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store, s := newStore(t), &target{}
		var up atomic.Bool
		c := queue.DefaultConfig()
		c.CacheBytes = 10_000
		r := start(t, store, c, outlet("hook", faulty(&up)))
		r.fill(to("a"), 500)
		r.fill(to("b"), 500)
		r.close()
		r = start(t, store, c, outlet("hook", s))
		for i := 500; i < 600; i++ {
			r.put(newEvent("a", fmt.Sprintf("%04d", i)), to("a"))
		}
		after(time.Minute)
		want(t, "a", s.took("a"), ids(600))
		want(t, "b", s.took("b"), ids(500))
	})
}

// broken is a store that cannot settle for a while.
type broken struct {
	queue.Store
	down atomic.Bool
}

func (b *broken) Record(ctx context.Context, l []bus.Lease, o []queue.Result) error {
	if b.down.Load() {
		return errors.New("disk full")
	}
	return b.Store.Record(ctx, l, o)
}

func TestAStoreThatCannotBeWrittenStopsDeliveringInTimeAndThenGoesOn(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store, s := &broken{Store: newStore(t)}, &target{}
		store.down.Store(true)
		r := start(t, store, queue.DefaultConfig(), outlet("hook", s))
		r.fill(to("a"), 6000)
		after(time.Minute)
		if n := len(s.took("")); n < 4000 || n > 4200 {
			t.Errorf("%d events were delivered that a crash would deliver again, want about 4,096 at most", n)
		}
		store.down.Store(false)
		after(time.Minute)
		want(t, "delivered", s.took(""), ids(6000))
		lanes, _ := store.Lanes(t.Context())
		want(t, "lanes in the store", len(lanes), 0)
	})
}

func TestIdleLanesAreForgotten(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := &target{}
		r := start(t, newStore(t), queue.DefaultConfig(), outlet("hook", s))
		for i := range 1000 {
			r.fill(own(fmt.Sprint("i", i)), 2)
			r.fill(to(fmt.Sprint("i", i)), 1)
		}
		after(time.Minute)
		lanes, gates := r.Size()
		want(t, "lanes, gates and bytes in memory", []int{lanes, gates, r.Cached()}, []int{0, 0, 0})
	})
}

func TestMemoryHoldsAWindowOfWhatWaits(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var up atomic.Bool
		s := faulty(&up)
		c := queue.DefaultConfig()
		c.CacheBytes = 1 << 20
		r := start(t, newStore(t), c, outlet("hook", s))
		for i := range 500 {
			for _, instance := range []string{"a", "b", "c"} {
				e := newEvent(instance, fmt.Sprintf("%04d", i))
				e.Data = fmt.Appendf(nil, "%q", make([]byte, 10_000))
				r.put(e, own(instance))
			}
		}
		after(time.Minute)
		if n := r.Cached(); n > 1<<20 {
			t.Errorf("%d bytes of events are in memory, want at most %d", n, 1<<20)
		}
		up.Store(true)
		after(10 * time.Minute)
		want(t, "a", s.took("a"), ids(500))
		want(t, "bytes in memory", r.Cached(), 0)
	})
}

// moody is a sink that panics whenever it is asked something.
type moody struct{ target }

func (*moody) Retry(*sink.Delivery) sink.Policy               { panic("retry") }
func (*moody) Address(sink.Scope, sink.Target, string) string { panic("address") }

func TestASinkThatPanicsWhenAskedIsAskedNoMore(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := &moody{}
		r := start(t, newStore(t), queue.DefaultConfig(), outlet("hook", s))
		r.fill(to("a"), 2)
		after(time.Second)
		want(t, "delivered", s.took(""), ids(2))
	})
}

// addressed is a sink whose targets all stand behind one address.
type addressed struct{ *target }

func (addressed) Address(sink.Scope, sink.Target, string) string { return "broker:5672" }

func TestTargetsOfOneAddressShareItsBreaker(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var up atomic.Bool
		s := faulty(&up)
		r := start(t, newStore(t), queue.DefaultConfig(), outlet("hook", addressed{s}))
		for i := range 20 {
			r.fill(own(fmt.Sprint("i", i)), 1)
		}
		after(time.Hour)
		if n := len(s.seen()); n > 100 {
			t.Errorf("20 lanes of a dead address made %d attempts in an hour, want about one a minute", n)
		}
	})
}

func TestATargetNamedTwiceGetsTheEventOnce(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := &target{}
		r := start(t, newStore(t), queue.DefaultConfig(), outlet("hook", s))
		r.put(newEvent("a", "0000"), to("a"), to("a"))
		r.put(newEvent("a", "0000"), to("a"))
		after(time.Second)
		want(t, "delivered", s.took(""), ids(1))
	})
}

func TestPutRefusesALaneOfAnotherInstanceOrSink(t *testing.T) {
	r := start(t, newStore(t), queue.DefaultConfig(), outlet("hook", &target{}))
	if err := r.Put(t.Context(), newEvent("a", "x"), []queue.Destination{to("b")}); err == nil {
		t.Error("an event of one instance went into a lane of another")
	}
	other := queue.Destination{Lane: queue.LaneKey{Sink: "other", Instance: "a"}}
	if err := r.Put(t.Context(), newEvent("a", "x"), []queue.Destination{other}); err == nil {
		t.Error("an event went into a lane of a sink that does not run")
	}
}

func TestAConfigurationIsCheckedInTheUsersWords(t *testing.T) {
	c := queue.DefaultConfig()
	c.Workers, c.WhenFull = 0, "sometimes"
	err := c.Validate()
	want(t, "error", err.Error(), "workers must be at least 1, it is 0\nwhen_full must be \"reject\" or \"block\", it is \"sometimes\"")
}

func TestASinkIsReachableUnlessAllThatItDeliversToIsDown(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var up atomic.Bool
		s := faulty(&up)
		down := s.deliver
		s.deliver = func(ctx context.Context, d *sink.Delivery) error {
			if d.Event.Instance == "slow" {
				time.Sleep(10 * time.Second)
				return nil
			}
			return down(ctx, d)
		}
		r := start(t, newStore(t), queue.DefaultConfig(), outlet("hook", s))
		want(t, "reachable before anything was tried", r.Reachable("hook"), error(nil))
		r.fill(own("dead"), 1)
		after(time.Second)
		if err := r.Reachable("hook"); err == nil || !strings.Contains(err.Error(), "down") {
			t.Errorf("with its only target down: %v", err)
		}
		r.fill(own("slow"), 1)
		after(time.Second)
		want(t, "reachable while another target is tried", r.Reachable("hook"), error(nil))
		after(10 * time.Second)
		if err := r.Reachable("hook"); err == nil {
			t.Error("reachable, though only the dead target has anything to be delivered")
		}
		up.Store(true)
		after(time.Hour)
		want(t, "reachable after all went out", r.Reachable("hook"), error(nil))
	})
}

// A pause is of one instance: a later one of the name is delivered to, and what is left of the former is too, once the
// queue knows that it was deleted.
func TestAPauseEndsWithItsInstance(t *testing.T) {
	bubble(t, func(t *testing.T) {
		present := "1"
		s := &target{}
		store := newStore(t)
		begun := func() *rig {
			q, err := queue.New(queue.Options{
				Store: store, Config: queue.DefaultConfig(), Sinks: []queue.Sink{outlet("hook", s)}, Logger: zerolog.Nop(),
				InstanceID: func(string) string { return present },
			})
			if err != nil {
				t.Fatal(err)
			}
			begin(t, q, store)
			r := &rig{q, t, store}
			t.Cleanup(r.close)
			return r
		}
		put := func(r *rig, id, event string) {
			e, d := newEvent("sales", event), to("sales")
			e.InstanceID, d.Lane.InstanceID = id, id
			r.put(e, d)
			after(time.Second)
		}
		r := begun()
		if err := r.Pause(t.Context(), queue.Selector{Instance: "sales"}, "of the former"); err != nil {
			t.Fatal(err)
		}
		put(r, "1", "former")
		put(r, "2", "later")
		want(t, "delivered while the former is paused", s.took("sales"), []string{"later"})
		r.close()
		present = "2"
		r = begun()
		put(r, "2", "later still")
		want(t, "delivered after a restart", s.took("sales"), []string{"later", "later still"})
		if err := r.Pause(t.Context(), queue.Selector{Sink: "hook", Instance: "sales"}, "of the later"); err != nil {
			t.Fatal(err)
		}
		r.Forget("sales", "1")
		put(r, "2", "held")
		want(t, "delivered when the former was deleted", s.took("sales"), []string{"later", "later still", "former"})
		if p := r.Pauses(); len(p) != 1 || p[0].Reason != "of the later" {
			t.Errorf("the pauses left are %+v", p)
		}
		if err := r.Resume(t.Context(), queue.Selector{Sink: "hook", Instance: "sales"}); err != nil {
			t.Fatal(err)
		}
		after(time.Second)
		want(t, "delivered after all", s.took("sales"), []string{"later", "later still", "former", "held"})
		want(t, "pauses left", len(r.Pauses()), 0)
	})
}

// A pause from before pauses had ids holds whatever has the name, until an instance of it is deleted.
func TestAPauseWithoutAnIDHoldsByName(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := &target{}
		store := newStore(t)
		if err := store.PutPause(t.Context(), queue.Pause{Selector: queue.Selector{Instance: "sales"}}); err != nil {
			t.Fatal(err)
		}
		r := start(t, store, queue.DefaultConfig(), outlet("hook", s))
		d := to("sales")
		d.Lane.InstanceID = "1"
		r.put(newEvent("sales", "0000"), d)
		after(time.Second)
		want(t, "delivered", s.took("sales"), []string(nil))
		r.Forget("sales", "0")
		after(time.Second)
		want(t, "delivered after a deletion", s.took("sales"), ids(1))
		stored, err := store.Pauses(t.Context())
		if len(stored) != 0 || err != nil {
			t.Errorf("stored are %+v, %v", stored, err)
		}
	})
}
