package queue_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/evosink/evosink/core/bus"
	"github.com/evosink/evosink/core/queue"
	"github.com/evosink/evosink/core/sink"
)

// take gives events of one instance to a queue as the log does, each with its number as its position.
func (r *rig) take(instance string, from, until int, to ...queue.Destination) {
	r.t.Helper()
	for n := from; n < until; n++ {
		e := newEvent(instance, fmt.Sprintf("%04d", n))
		shard := bus.Shard(instance, r.store.Shards())
		if err := r.Take(r.t.Context(), shard, queue.Logged{Position: bus.Position(n), Event: e, To: to}); err != nil {
			r.t.Fatalf("Take %d: %v", n, err)
		}
	}
}

// puts is a store that counts what is put.
type puts struct {
	queue.Store
	n atomic.Int64
}

func (p *puts) Put(
	ctx context.Context, leases []bus.Lease, marks []queue.Mark, entries ...queue.Entry,
) ([]queue.PutResult, error) {
	p.n.Add(int64(len(entries)))
	return p.Store.Put(ctx, leases, marks, entries...)
}

// mark returns the store's mark of an instance's shard.
func (r *rig) mark(instance string) queue.Mark {
	r.t.Helper()
	marks, err := r.store.Marks(context.Background(), bus.Shard(instance, r.store.Shards()))
	if err != nil {
		r.t.Fatal(err)
	}
	for _, m := range marks {
		if m.Cursor.Shard == bus.Shard(instance, r.store.Shards()) {
			return m
		}
	}
	return queue.Mark{}
}

func (r *rig) stored(l queue.LaneKey) (ids []string) {
	r.t.Helper()
	window, err := r.store.Window(context.Background(), l, 0, 1<<62, 10000, 1<<30)
	if err != nil {
		r.t.Fatal(err)
	}
	for _, d := range window {
		ids = append(ids, d.Event.ID)
	}
	return ids
}

func TestWhatIsDeliveredAtOnceIsNeverStored(t *testing.T) {
	bubble(t, func(t *testing.T) {
		target := &target{}
		store := &puts{Store: newStore(t)}
		r := start(t, store, queue.DefaultConfig(), outlet("hook", target))
		r.take("a", 1, 101, to("a"))
		after(time.Second)
		if got := target.took("a"); len(got) != 100 || !slices.IsSorted(got) {
			t.Errorf("delivered were %v", got)
		}
		if store.n.Load() != 0 {
			t.Errorf("%d events were stored", store.n.Load())
		}
		if m := r.mark("a"); m.Cursor.Position != 100 || m.Done != nil {
			t.Errorf("the mark is %+v, want everything up to 100", m)
		}
	})
}

// numbered are the ids of events from one number to before another.
func numbered(from, until int) (out []string) {
	for n := from; n < until; n++ {
		out = append(out, fmt.Sprintf("%04d", n))
	}
	return out
}

// wantStored fails unless exactly these events of a lane are in the store.
func (r *rig) wantStored(what string, l queue.LaneKey, ids []string) {
	r.t.Helper()
	want(r.t, what, r.stored(l), ids)
}

// wantMark fails unless the mark of an instance's shard has everything up to a position, and nothing behind it.
func (r *rig) wantMark(what, instance string, position int) {
	r.t.Helper()
	m := r.mark(instance)
	want(r.t, what, []any{int(m.Cursor.Position), len(m.Done)}, []any{position, 0})
}

// kill ends a queue without letting its attempts end.
func (r *rig) kill() {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	r.Close(ctx)
}

// hanging is a target that answers when a channel is closed, where of reports so.
func hanging(until <-chan struct{}, of func(d *sink.Delivery) bool) *target {
	s := &target{}
	s.deliver = func(ctx context.Context, d *sink.Delivery) error {
		if !of(d) {
			return nil
		}
		select {
		case <-until:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return s
}

func anything(*sink.Delivery) bool { return true }

func ofOwn(d *sink.Delivery) bool { return d.Scope == sink.Instance }

func TestALaneKeepsItsOrderHoweverOftenItIsStoredAndNotStored(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var up atomic.Bool
		target := &target{policy: &sink.Policy{Base: time.Second, Factor: 1}}
		target.deliver = func(context.Context, *sink.Delivery) error {
			if time.Sleep(time.Millisecond); up.Load() { // so that what comes meanwhile waits
				return nil
			}
			return errBusy
		}
		store := &puts{Store: newStore(t)}
		r := start(t, store, queue.DefaultConfig(), outlet("hook", target))
		n := 1
		for range 10 {
			up.Store(false)
			r.take("a", n, n+100, to("a")) // more than a window of the lane
			after(10 * time.Millisecond)
			up.Store(true)
			for until := n + 200; n < until; n++ {
				if n >= until-100 {
					r.take("a", n, n+1, to("a"))
				}
				after(15 * time.Millisecond)
			}
			after(time.Minute)
			r.wantStored("when it has caught up", to("a").Lane, nil)
		}
		want(t, "delivered", target.took("a"), numbered(1, n))
		r.wantMark("mark", "a", n-1)
		if stored := int(store.n.Load()); stored < 1000 || stored >= n-1 {
			t.Errorf("%d of %d events were stored, want those that came while the target was down or just back", stored, n-1)
		}
	})
}

func TestWhatIsPausedIsStoredAtOnce(t *testing.T) {
	bubble(t, func(t *testing.T) {
		target := &target{}
		r := start(t, newStore(t), queue.DefaultConfig(), outlet("hook", target))
		paused := queue.Selector{Sink: "hook", Target: "instance"}
		if err := r.Pause(t.Context(), paused, ""); err != nil {
			t.Fatal(err)
		}
		r.take("a", 1, 201, to("a"), own("a"))
		after(100 * time.Millisecond)
		r.wantStored("paused", own("a").Lane, numbered(1, 201))
		r.wantStored("not paused", to("a").Lane, nil)
		r.wantMark("what is stored need not come again", "a", 200)
		if err := r.Resume(t.Context(), paused); err != nil {
			t.Fatal(err)
		}
		r.take("a", 201, 211, own("a"))
		after(time.Second)
		want(t, "delivered", slices.Compact(slices.Sorted(slices.Values(target.took("a")))), numbered(1, 211))
		if got := target.took("a")[200:]; !slices.Equal(got, numbered(1, 211)) {
			t.Errorf("after the pause came %v, want all in order", got)
		}
	})
}

func TestWhatIsSwitchedOffIsStoredAtOnce(t *testing.T) {
	bubble(t, func(t *testing.T) {
		target := &target{}
		var admission atomic.Int32
		admission.Store(int32(queue.Hold))
		o := outlet("hook", target)
		o.Admit = func(queue.LaneKey, sink.Scope) (queue.Admission, json.RawMessage) {
			return queue.Admission(admission.Load()), nil
		}
		r := start(t, newStore(t), queue.DefaultConfig(), o)
		r.take("a", 1, 201, own("a"))
		after(100 * time.Millisecond)
		r.wantStored("switched off", own("a").Lane, numbered(1, 201))
		r.wantMark("what is stored need not come again", "a", 200)
		admission.Store(int32(queue.Deliver))
		r.Refresh("a")
		r.take("a", 201, 211, own("a"))
		after(time.Second)
		want(t, "delivered", target.took("a"), numbered(1, 211))
		r.wantStored("when it was delivered", own("a").Lane, nil)
	})
}

// A target that does not answer keeps the log no longer than it has to: what waits for it, and what an attempt has in
// hand, is stored after some seconds.
func TestWhatAnAttemptHasInHandForLongIsStored(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store, answer := newStore(t), make(chan struct{})
		target := hanging(answer, ofOwn)
		r := start(t, store, queue.DefaultConfig(), outlet("hook", target))
		r.take("a", 1, 4, to("a"), own("a"))
		after(time.Second)
		r.wantStored("after a second", own("a").Lane, nil)
		want(t, "mark after a second", r.mark("a").Cursor.Position, 0)
		after(2 * time.Second)
		r.wantStored("after three seconds", own("a").Lane, numbered(1, 4))
		r.wantStored("of the target that answers", to("a").Lane, nil)
		r.wantMark("what is stored need not come again", "a", 3)
		r.kill()
		want(t, "delivered by the first process", target.took("a"), numbered(1, 4)) // to the other target

		r = start(t, store, queue.DefaultConfig(), outlet("hook", target))
		after(time.Second)
		r.wantStored("while the next process tries it", own("a").Lane, numbered(1, 4))
		close(answer)
		after(time.Second)
		r.wantStored("when it was delivered", own("a").Lane, nil)
		want(t, "delivered in all", target.took("a"), append(numbered(1, 4), numbered(1, 4)...))
		want(t, "backlog", len(r.Backlog(queue.Selector{})), 0)
	})
}

// The same, with an answer that comes after the delivery was stored, in the same process.
func TestALateAnswerTakesADeliveryOutOfTheStore(t *testing.T) {
	bubble(t, func(t *testing.T) {
		answer := make(chan struct{})
		target := hanging(answer, anything)
		r := start(t, newStore(t), queue.DefaultConfig(), outlet("hook", target))
		r.take("a", 1, 4, own("a"))
		after(3 * time.Second)
		r.wantStored("while it hangs", own("a").Lane, numbered(1, 4))
		close(answer)
		after(time.Second)
		want(t, "delivered", target.took("a"), numbered(1, 4))
		r.wantStored("when it was delivered", own("a").Lane, nil)
		r.wantMark("mark", "a", 3)
	})
}

// blocked is a store that puts nothing until it is opened.
type blocked struct {
	queue.Store
	open chan struct{} // closed when it puts
}

func (b *blocked) Put(
	ctx context.Context, leases []bus.Lease, marks []queue.Mark, entries ...queue.Entry,
) ([]queue.PutResult, error) {
	select {
	case <-b.open:
		return b.Store.Put(ctx, leases, marks, entries...)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// window is what memory holds of a shard's events at most, see track.go.
const window = 4096

func TestTheLogWaitsWhileTooMuchOfAShardIsNotHandled(t *testing.T) {
	for name, test := range map[string]struct{ events, bytes, most int }{
		"events": {6000, 2, window},
		"bytes":  {100, 10_000, 20},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				store := &blocked{Store: newStore(t), open: make(chan struct{})}
				c := queue.DefaultConfig()
				if test.bytes > 2 {
					c.CacheBytes = store.Shards() * test.most * int(queue.Size(large("a", "0000", test.bytes)))
				}
				target := hanging(nil, ofOwn)
				r := start(t, store, c, outlet("hook", target))
				var taken atomic.Int64
				take := func(ctx context.Context, n int) error {
					err := r.Take(ctx, bus.Shard("a", store.Shards()), queue.Logged{
						Position: bus.Position(n), Event: large("a", fmt.Sprintf("%04d", n), test.bytes),
						To: []queue.Destination{to("a"), own("a")},
					})
					taken.Store(int64(n))
					return err
				}
				ended := make(chan error, 1)
				go func() { // ends with the events
					for n := 1; n <= test.events; n++ {
						if err := take(t.Context(), n); err != nil {
							ended <- err
							return
						}
					}
					ended <- nil
				}()
				after(time.Minute)
				want(t, "taken", int(taken.Load()), test.most)
				want(t, "delivered to the target that answers", target.took("a"), numbered(1, test.most+1))
				close(store.open)
				after(time.Minute)
				want(t, "Take", <-ended, nil)
				want(t, "delivered to the target that answers", target.took("a"), numbered(1, test.events+1))
				r.wantStored("for the other", own("a").Lane, numbered(1, test.events+1))
				r.wantMark("mark", "a", test.events)
				r.kill()
			})
		})
	}
}

// It waits for a commit then, not until what hangs is old.
func TestWhatFillsAWindowIsStoredAtOnce(t *testing.T) {
	bubble(t, func(t *testing.T) {
		const targets, events = 20, 6000 // none of them has so much that it is stored for that
		r := start(t, newStore(t), queue.DefaultConfig(), outlet("hook", hanging(nil, anything)))
		began := time.Now()
		for n := 1; n <= events; n++ {
			r.take("a", n, n+1, ownTarget("a", fmt.Sprint(n%targets)))
		}
		if d := time.Since(began); d >= 200*time.Millisecond {
			t.Errorf("%d events of which none is delivered were taken within %v", events, d)
		}
		r.kill()
	})
}

func TestTakeWaitsNoLongerThanItsContext(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := &blocked{Store: newStore(t), open: make(chan struct{})}
		answer := make(chan struct{})
		target := hanging(answer, anything)
		r := start(t, store, queue.DefaultConfig(), outlet("hook", target))
		r.take("a", 1, window+1, own("a"))
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		last := queue.Logged{Position: window + 1, Event: newEvent("a", fmt.Sprint(window+1)), To: []queue.Destination{own("a")}}
		err := r.Take(ctx, bus.Shard("a", store.Shards()), last)
		if !errors.Is(err, queue.ErrFull) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Take returned %v, want ErrFull and the context's error", err)
		}
		close(answer)
		close(store.open)
		after(time.Minute)
		r.take("a", window+1, window+2, own("a")) // it is given again
		after(time.Second)
		want(t, "delivered", target.took("a"), numbered(1, window+2))
		r.wantMark("mark", "a", window+1)
	})
}

// stingy is a store that writes marks, but stores nothing while it is full.
type stingy struct {
	queue.Store
	full    atomic.Bool
	longest atomic.Int64 // bytes of Mark.Done in a checkpoint
}

func (s *stingy) Checkpoint(ctx context.Context, leases []bus.Lease, marks ...queue.Mark) error {
	for _, m := range marks {
		s.longest.Store(max(s.longest.Load(), int64(len(m.Done))))
	}
	return s.Store.Checkpoint(ctx, leases, marks...)
}

var errNoSpace = errors.New("no space left")

func (s *stingy) Put(
	ctx context.Context, leases []bus.Lease, marks []queue.Mark, entries ...queue.Entry,
) ([]queue.PutResult, error) {
	if s.full.Load() {
		return nil, errNoSpace
	}
	return s.Store.Put(ctx, leases, marks, entries...)
}

func TestWhileNothingCanBeStoredHealthyLanesGoOnAndAreMarked(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var up atomic.Bool
		store := &stingy{Store: newStore(t)}
		store.full.Store(true)
		target := &target{}
		target.deliver = func(_ context.Context, d *sink.Delivery) error {
			if d.Scope == sink.Instance && !up.Load() {
				return errBusy
			}
			return nil
		}
		r := start(t, store, queue.DefaultConfig(), outlet("hook", target))
		for n := 1; n <= 1000; n++ { // of two shards: one has a target that is down
			r.take("a", n, n+1, to("a"), own("a"))
			r.take("b", n, n+1, to("b"))
			time.Sleep(10 * time.Millisecond)
		}
		after(10 * time.Second)
		want(t, "delivered of a", target.took("a"), numbered(1, 1001))
		want(t, "delivered of b", target.took("b"), numbered(1, 1001))
		r.wantMark("of the shard without a target that is down", "b", 1000)
		want(t, "cursor of the other", r.mark("a").Cursor.Position, 0)
		r.kill()

		up.Store(true)
		store.full.Store(false)
		r = start(t, store, queue.DefaultConfig(), outlet("hook", target))
		r.take("a", 1, 1001, to("a"), own("a")) // the log gives again what is behind the cursor
		after(time.Minute)
		want(t, "delivered of a after a restart", target.took("a")[1000:], numbered(1, 1001))
		r.wantMark("mark", "a", 1000)
	})
}

func TestTheAnswerToWhatIsNotStoredIsAmongTheAttempts(t *testing.T) {
	bubble(t, func(t *testing.T) {
		target := &target{}
		target.deliver = func(ctx context.Context, d *sink.Delivery) error {
			if d.Scope == sink.Instance && d.Attempt == 1 {
				sink.Report(ctx, sink.Answer{Status: "503"})
				return errBusy
			}
			sink.Report(ctx, sink.Answer{Status: "202", Head: []byte("taken")})
			return nil
		}
		r := start(t, newStore(t), queue.DefaultConfig(), outlet("hook", target))
		r.take("a", 1, 2, to("a"), own("a"))
		after(time.Minute)
		attempts, err := r.Attempts(t.Context(), "0001")
		var got []string
		for _, a := range attempts {
			got = append(got, fmt.Sprint(a.Target, a.Number, a.Status, string(a.Head), a.Error))
		}
		slices.Sort(got)
		want(t, "attempts", []any{got, err}, []any{
			[]string{"global1202taken", "instance1503" + errBusy.Error(), "instance2202taken"}, nil,
		})
		others, err := r.Attempts(t.Context(), "0002")
		want(t, "attempts of another event", []any{len(others), err}, []any{0, nil})
	})
}

// Memory holds the last few thousand answers.
func TestAnswersInMemoryAreBounded(t *testing.T) {
	bubble(t, func(t *testing.T) {
		const kept, events = 4096, 6000
		target := &target{}
		target.deliver = func(ctx context.Context, d *sink.Delivery) error {
			sink.Report(ctx, sink.Answer{Status: "202"})
			return nil
		}
		r := start(t, newStore(t), queue.DefaultConfig(), outlet("hook", target))
		for n := 1; n <= events; n += 100 { // so that none is stored, with its answer
			r.take("a", n, n+100, to("a"))
			after(time.Second)
		}
		known := 0
		for n := 1; n <= events; n++ {
			attempts, err := r.Attempts(t.Context(), fmt.Sprintf("%04d", n))
			if err != nil || len(attempts) != 0 && n <= events-kept || len(attempts) > 1 {
				t.Fatalf("of event %d: %+v, %v", n, attempts, err)
			}
			known += len(attempts)
		}
		want(t, "known", known, kept)
	})
}

// What is erased of an instance is the answers that memory keeps too.
func TestAnswersInMemoryAreErasedWithTheirInstance(t *testing.T) {
	bubble(t, func(t *testing.T) {
		target := &target{}
		target.deliver = func(ctx context.Context, d *sink.Delivery) error {
			sink.Report(ctx, sink.Answer{Status: "202", Head: []byte(d.Event.Instance)})
			return nil
		}
		r := start(t, newStore(t), queue.DefaultConfig(), outlet("hook", target))
		r.take("a", 1, 4, to("a"))
		r.take("b", 1, 3, to("b"))
		after(time.Second)
		n, left, err := r.Erase(t.Context(), bus.Erasure{Instance: "a"})
		want(t, "erased", []any{n.Attempts, left, err}, []any{3, false, nil})
		attempts, err := r.Attempts(t.Context(), "0001")
		want(t, "of both, those left", []any{len(attempts), attempts[0].Instance, err}, []any{1, "b", nil})
	})
}

// An unsure is a store whose Put is done although it fails, as when the answer to a commit is lost.
type unsure struct {
	queue.Store
	lost atomic.Int64 // answers to be lost
}

func (u *unsure) Put(
	ctx context.Context, leases []bus.Lease, marks []queue.Mark, entries ...queue.Entry,
) ([]queue.PutResult, error) {
	places, err := u.Store.Put(ctx, leases, marks, entries...)
	if err == nil && u.lost.Add(-1) >= 0 {
		return nil, errNoSpace
	}
	return places, err
}

func TestWhatIsStoredAlthoughTheStoreSaidOtherwiseComesOnceAndInOrder(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var up atomic.Bool
		store := &unsure{Store: newStore(t)}
		store.lost.Store(1)
		target := &target{}
		target.deliver = func(context.Context, *sink.Delivery) error {
			if !up.Load() {
				return errBusy
			}
			return nil
		}
		lost := make(chan bus.Lease, 1)
		q, err := queue.New(queue.Options{
			Store: store, Config: queue.DefaultConfig(), Sinks: []queue.Sink{outlet("hook", target)},
			Lost: func(l bus.Lease) { lost <- l },
		})
		if err != nil {
			t.Fatal(err)
		}
		begin(t, q, store)
		r := &rig{q, t, store}
		defer r.close()
		r.take("a", 1, 6, to("a"))
		l := <-lost // the queue has given the shard up
		if err := r.Acquire(t.Context(), queue.Owned{Lease: l}); err != nil {
			t.Fatal(err)
		}
		up.Store(true)
		r.take("a", 1, 9, to("a")) // the log gives again what it has behind the cursor, and more
		after(time.Minute)
		want(t, "delivered", target.took("a"), numbered(1, 9))
		r.wantMark("mark", "a", 8)
		want(t, "stored", r.stored(to("a").Lane), []string(nil))
	})
}
