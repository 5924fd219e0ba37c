package queue_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/evosink/evosink/core/bus"
	"github.com/evosink/evosink/core/queue"
	"github.com/evosink/evosink/core/queue/queuetest"
	"github.com/evosink/evosink/core/sink"
)

func TestABatchThatIsGivenAgainIsTakenOnce(t *testing.T) {
	bubble(t, func(t *testing.T) {
		answer := make(chan struct{})
		target := hanging(answer, ofOwn)
		r := start(t, newStore(t), queue.DefaultConfig(), outlet("hook", target))
		r.take("a", 1, 11, to("a"), own("a"))
		r.take("a", 1, 11, to("a"), own("a")) // at once
		after(time.Second)
		r.take("a", 1, 16, to("a"), own("a")) // when some of it is delivered, with more behind it
		after(3 * time.Second)
		r.take("a", 1, 16, to("a"), own("a")) // when the rest is stored
		want(t, "delivered to the target that answers", target.took("a"), numbered(1, 16))
		r.wantStored("for the other", own("a").Lane, numbered(1, 16))
		close(answer)
		after(time.Second)
		r.take("a", 1, 16, to("a"), own("a")) // when all of it is handled
		after(time.Second)
		want(t, "delivered", target.took("a"), append(numbered(1, 16), numbered(1, 16)...))
		want(t, "put", r.Stats()[0].Put, 30)
		r.wantMark("mark", "a", 15)
	})
}

// What a former owner has delivered to some of an event's targets goes to the others only.
func TestTheNextOwnerGivesAnEventToTheLanesThatDoNotHaveIt(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store, answer := newStore(t), make(chan struct{})
		target := hanging(answer, ofOwn)
		r := start(t, store, queue.DefaultConfig(), outlet("hook", target))
		r.take("a", 1, 4, to("a"), own("a"))
		r.take("a", 4, 7, to("a"))
		r.take("a", 7, 9) // of no target
		after(time.Second)
		r.kill()
		want(t, "delivered by the first owner", target.took("a"), numbered(1, 7))
		want(t, "cursor", r.mark("a").Cursor.Position, 0)

		second := to("a") // a target that is new by then
		second.Lane.Target = "second"
		for range 3 { // owners that do not come further hand on what they know
			r = start(t, store, queue.DefaultConfig(), outlet("hook", target))
			r.take("a", 1, 2, to("a"), own("a"))
			r.take("a", 2, 3, to("a"), own("a"), second)
			after(time.Second)
			r.kill()
		}
		r = start(t, store, queue.DefaultConfig(), outlet("hook", target))
		r.take("a", 1, 4, to("a"), own("a"))
		r.take("a", 4, 7, to("a"))
		r.take("a", 7, 9)
		r.take("a", 9, 10, to("a"), own("a"))
		close(answer)
		after(time.Second)
		got := slices.Sorted(slices.Values(target.took("a")))
		want(t, "delivered", got, []string{
			"0001", "0001", "0002", "0002", "0002", "0003", "0003", "0004", "0005", "0006", "0009", "0009",
		})
		r.wantMark("mark", "a", 9)
	})
}

// The log may have lost events that a mark tells of, as their instance was erased, or its retention has removed them.
func TestAMarkOfWhatTheLogDoesNotHaveAnyMoreIsLeftBehind(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store, answer := newStore(t), make(chan struct{})
		target := hanging(answer, ofOwn)
		r := start(t, store, queue.DefaultConfig(), outlet("hook", target))
		r.take("a", 1, 2, own("a"))
		r.take("a", 2, 10, to("a"))
		after(time.Second)
		r.kill()
		if m := r.mark("a"); m.Cursor.Position != 0 || len(m.Done) == 0 {
			t.Fatalf("the mark is %+v", m)
		}
		r = start(t, store, queue.DefaultConfig(), outlet("hook", target))
		r.take("a", 8, 9, to("a"))
		r.take("a", 12, 13, own("a")) // not the first one, and of the next none but two
		r.take("a", 13, 14, to("a"))
		after(time.Second)
		r.kill()

		close(answer)
		r = start(t, store, queue.DefaultConfig(), outlet("hook", target))
		r.take("a", 12, 13, own("a"))
		r.take("a", 13, 15, to("a"))
		after(time.Second)
		got := slices.Sorted(slices.Values(target.took("a"))) // of two lanes
		want(t, "delivered", got, append(numbered(2, 10), "0012", "0013", "0014"))
		r.wantMark("mark", "a", 14)
	})
}

// What a lane has already is nothing that needs room: it neither waits for that nor drops another.
func TestWhatIsGivenAgainNeedsNoRoom(t *testing.T) {
	for name, c := range map[string]func(c *queue.Config){
		"block":       func(c *queue.Config) { c.WhenFull = queue.Block },
		"drop_oldest": func(c *queue.Config) { c.DropOldest = []string{"messages.upsert"} },
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				config := queue.DefaultConfig()
				config.LaneLimit = 10
				c(&config)
				store, answer := newStore(t), make(chan struct{})
				target := hanging(answer, func(d *sink.Delivery) bool { return d.Event.Instance != "b" })
				same := sameShard("a", "b", store.Shards())
				r := start(t, store, config, outlet("hook", target))
				if err := r.Pause(t.Context(), queue.Selector{Instance: same}, ""); err != nil {
					t.Fatal(err)
				}
				give := func() {
					ctx, cancel := context.WithTimeout(t.Context(), time.Second)
					defer cancel()
					r.take("a", 1, 2, own("a")) // keeps the cursor
					for n := 2; n < 12; n++ {
						e := queue.Logged{Position: bus.Position(n), Event: newEvent(same, fmt.Sprintf("%04d", n))}
						e.To = []queue.Destination{to(same)}
						if err := r.Take(ctx, bus.Shard(same, store.Shards()), e); err != nil {
							t.Errorf("event %d, which is given again, waits for room: %v", n, err)
						}
					}
					after(100 * time.Millisecond)
					r.wantStored("of the instance that is paused", to(same).Lane, numbered(2, 12))
				}
				give()
				give() // within one holding
				want(t, "cursor", r.mark("a").Cursor.Position, 0)
				r.kill()
				r = start(t, store, config, outlet("hook", target))
				give() // after a handover
				if err := r.Resume(t.Context(), queue.Selector{Instance: same}); err != nil {
					t.Fatal(err)
				}
				close(answer)
				after(time.Second)
				want(t, "delivered", target.took(same), numbered(2, 12))
			})
		})
	}
}

// sameShard returns an instance of the shard of another one.
func sameShard(of, prefix string, shards int) string {
	for n := 0; ; n++ {
		if name := fmt.Sprint(prefix, n); bus.Shard(name, shards) == bus.Shard(of, shards) {
			return name
		}
	}
}

// With all that a window may hold done but for its first event, and each event to several targets, a mark takes some
// bytes for each delivery.
func TestMarksAreBounded(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := &stingy{Store: newStore(t)}
		store.full.Store(true)
		target := hanging(nil, ofOwn)
		r := start(t, store, queue.DefaultConfig(), outlet("hook", target))
		destinations := []queue.Destination{own("a")}
		for n := range 4 {
			d := to("a")
			d.Lane.Target = sink.Target(fmt.Sprint("global-", n))
			destinations = append(destinations, d)
		}
		r.take("a", 1, window+1, destinations...)
		after(time.Minute)
		want(t, "delivered", len(target.took("a")), 4*window)
		if n := store.longest.Load(); n < 4*8*window || n > (4*8+8)*window {
			t.Errorf("the longest mark has %d bytes for %d deliveries that are done", n, 4*window)
		}
		r.kill()
	})
}

// withMark returns a store with a mark of the shard of an instance.
func withMark(t *testing.T, instance string, cursor bus.Position, done []byte) queue.Store {
	t.Helper()
	store := newStore(t)
	m := queue.Mark{Cursor: bus.Cursor{Group: "dispatch", Shard: bus.Shard(instance, store.Shards()), Position: cursor}, Done: done}
	if err := store.Checkpoint(t.Context(), []bus.Lease{queuetest.Lease(store, instance)}, m); err != nil {
		t.Fatal(err)
	}
	return store
}

// acquire starts a queue on a store, and returns the error of Acquire.
func acquire(t *testing.T, store queue.Store, s sink.Sink) (*rig, error) {
	t.Helper()
	q, err := queue.New(queue.Options{Store: store, Config: queue.DefaultConfig(), Sinks: []queue.Sink{outlet("hook", s)}})
	if err != nil {
		t.Fatal(err)
	}
	if err := q.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	r := &rig{q, t, store}
	t.Cleanup(r.close)
	return r, q.Acquire(t.Context(), queuetest.Alone(store)...)
}

// done is a Mark.Done of events: of each the distance from the one before, and how many lanes it says are done with it.
func done(format byte, events ...[2]uint64) []byte {
	b := []byte{format}
	for _, e := range events {
		b = binary.AppendUvarint(b, e[0])
		b = binary.AppendUvarint(b, e[1])
	}
	return b
}

func many(n int) (events [][2]uint64) {
	for range n {
		events = append(events, [2]uint64{1, 0})
	}
	return events
}

func TestAMarkThatCannotBeReadIsAnErrorOfAcquire(t *testing.T) {
	for name, b := range map[string][]byte{
		"of a later version":               done(2, [2]uint64{1, 0}),
		"of no version":                    done(0),
		"cut off in a distance":            {1, 0x80},
		"cut off in a count":               {1, 1, 0x80},
		"cut off in a lane":                append(done(1, [2]uint64{1, 1}), 1, 2, 3),
		"a number of more than 64 bits":    append([]byte{1}, "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"...),
		"the same event twice":             done(1, [2]uint64{1, 0}, [2]uint64{0, 0}),
		"more lanes than bytes":            done(1, [2]uint64{1, 1 << 62}),
		"lanes whose bytes overflow":       done(1, [2]uint64{1, 1<<61 + 1}),
		"a position that overflows":        done(1, [2]uint64{1<<63 - 1, 0}),
		"positions that overflow together": done(1, [2]uint64{1 << 62, 0}, [2]uint64{1 << 62, 0}),
		"more events than any window":      done(1, many(1<<20)...),
	} {
		t.Run(name, func(t *testing.T) {
			store := withMark(t, "a", 7, b)
			var before, behind runtime.MemStats
			runtime.ReadMemStats(&before)
			_, err := acquire(t, store, &target{})
			runtime.ReadMemStats(&behind)
			if err == nil {
				t.Error("it was read")
			}
			if n := behind.TotalAlloc - before.TotalAlloc; n > 32<<20 {
				t.Errorf("%d bytes were allocated", n)
			}
		})
	}
}

// What can be read of a mark is written again so that it can be read, whatever it was.
func FuzzMark(f *testing.F) {
	for _, b := range [][]byte{
		nil, done(1), done(1, [2]uint64{1, 0}, [2]uint64{2, 0}), append(done(1, [2]uint64{3, 1}), "12345678"...),
		done(1, [2]uint64{1 << 62, 0}, [2]uint64{1 << 62, 0}), done(1, [2]uint64{1<<62 - 8, 0}), {1, 0xff}, done(9),
	} {
		f.Add(uint8(3), b)
	}
	f.Fuzz(func(t *testing.T, next uint8, b []byte) {
		store := withMark(t, "a", 7, b)
		target := &target{}
		r, err := acquire(t, store, target)
		if err != nil {
			return
		}
		r.take("a", 8+int(next), 9+int(next), to("a"))
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := errors.Join(r.Release(ctx, bus.Shard("a", store.Shards())), r.Close(ctx)); err != nil {
			t.Fatal(err)
		}
		if m := r.mark("a"); m.Cursor.Position < 7 {
			t.Errorf("the cursor went back to %d", m.Cursor.Position)
		}
		again, err := acquire(t, store, target)
		if err != nil {
			t.Fatalf("the mark %+v that was written then: %v", r.mark("a"), err)
		}
		again.take("a", 8+int(next), 9+int(next), to("a"))
		if err := again.Release(ctx, bus.Shard("a", store.Shards())); err != nil || len(target.took("a")) > 1 {
			t.Errorf("Release: %v; delivered: %v", err, target.took("a"))
		}
	})
}

// Several shards are taken from and spilled at once, under the race detector.
func TestShardsAreTakenFromAtOnce(t *testing.T) {
	const instances, events = 8, 3000
	var up atomic.Bool
	target := &target{policy: &sink.Policy{Base: 5 * time.Millisecond, Factor: 1}}
	target.deliver = func(_ context.Context, d *sink.Delivery) error {
		if d.Scope == sink.Instance && !up.Load() {
			return errBusy
		}
		return nil
	}
	c := queue.DefaultConfig()
	c.BreakerWait, c.BreakerMax = 5*time.Millisecond, 5*time.Millisecond
	r := start(t, newStore(t), c, outlet("hook", target))
	used := map[int]string{}
	for n := 0; len(used) < instances; n++ {
		name := fmt.Sprint("i", n)
		used[bus.Shard(name, r.store.Shards())] = name
	}
	ended := make(chan struct{})
	for _, instance := range used {
		go func() {
			defer func() { ended <- struct{}{} }()
			for n := 1; n <= events; n++ {
				e := queue.Logged{Position: bus.Position(n), Event: newEvent(instance, fmt.Sprintf("%04d", n))}
				e.To = []queue.Destination{to(instance), own(instance)}
				if err := r.Take(t.Context(), bus.Shard(instance, r.store.Shards()), e); err != nil {
					t.Errorf("Take: %v", err)
					return
				}
				if n == events/2 {
					up.Store(true)
				}
			}
		}()
	}
	for range instances {
		<-ended
	}
	eventually(t, "all is delivered", func() bool { return len(target.took("")) >= 2*instances*events })
	eventually(t, "nothing waits", func() bool { return len(r.Backlog(queue.Selector{})) == 0 })
	for _, instance := range used {
		took := target.took(instance)
		slices.Sort(took)
		if twice := len(took) - len(slices.Compact(took)); len(took) != 2*events || twice != events {
			t.Errorf("%s took %d deliveries of %d events", instance, len(took), len(took)-twice)
		}
	}
}
