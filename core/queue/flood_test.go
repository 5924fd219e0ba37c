package queue_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/evosink/evosink/core/bus"
	"github.com/evosink/evosink/core/queue"
	"github.com/evosink/evosink/core/sink"
)

// slowPuts is a store that takes a while to store what is put, or fails.
type slowPuts struct {
	queue.Store
	takes time.Duration
	fails atomic.Bool
}

func (s *slowPuts) Put(
	ctx context.Context, leases []bus.Lease, marks []queue.Mark, entries ...queue.Entry,
) ([]queue.PutResult, error) {
	time.Sleep(s.takes)
	if s.fails.Load() {
		return nil, errors.New("the store does not take this")
	}
	return s.Store.Put(ctx, leases, marks, entries...)
}

// deadAndWell is a sink of which the targets named "dead" refuse everything and those named "hung" answer nothing.
func deadAndWell() *target {
	return &target{
		policy: &sink.Policy{Base: time.Minute, Max: time.Minute, Factor: 1, Timeout: time.Hour},
		deliver: func(ctx context.Context, d *sink.Delivery) error {
			switch d.Target {
			case "dead":
				return errors.New("503")
			case "hung":
				<-ctx.Done()
				return ctx.Err()
			}
			return nil
		},
	}
}

// apart returns the name of an instance in another shard.
func apart(r *rig, from string) string {
	for n := 0; ; n++ {
		name := fmt.Sprint("tenant-", n)
		if bus.Shard(name, r.store.Shards()) != bus.Shard(from, r.store.Shards()) {
			return name
		}
	}
}

// flood gives events for a target until the returned function is called, with a pause behind each; without one, as fast
// as the queue takes them.
func (r *rig) flood(instance string, d queue.Destination, pause time.Duration) (end func()) {
	ctx, cancel := context.WithCancel(r.t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		shard := bus.Shard(instance, r.store.Shards())
		for n := 1; ctx.Err() == nil; n++ {
			l := queue.Logged{Position: bus.Position(n), Event: newEvent(instance, fmt.Sprint(n)), To: []queue.Destination{d}}
			if err := r.Take(ctx, shard, l); err != nil && ctx.Err() == nil {
				r.t.Errorf("Take: %v", err)
				return
			}
			if pause > 0 {
				time.Sleep(pause)
			}
		}
	}()
	return func() {
		cancel()
		<-ended
	}
}

func TestMarksOfOtherShardsFollowWhileOneIsFlooded(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := &slowPuts{Store: newStore(t), takes: 50 * time.Millisecond}
		r := start(t, store, queue.DefaultConfig(), outlet("hook", deadAndWell()))
		other := apart(r, "flooded")
		end := r.flood("flooded", ownTarget("flooded", "dead"), 0)
		time.Sleep(300 * time.Millisecond)
		r.take(other, 1, 11, to(other))
		time.Sleep(500 * time.Millisecond)
		if m := r.mark(other); m.Cursor.Position != 10 {
			t.Errorf("the mark of the other shard is %+v while one is flooded", m)
		}
		end()
	})
}

func TestALaneThatIsFloodedCanBePurged(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := &slowPuts{Store: newStore(t), takes: 10 * time.Millisecond}
		r := start(t, store, queue.DefaultConfig(), outlet("hook", deadAndWell()))
		end := r.flood("flooded", ownTarget("flooded", "dead"), time.Millisecond)
		time.Sleep(time.Second)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		n, err := r.Purge(ctx, queue.Selector{Instance: "flooded"})
		if err != nil || n == 0 {
			t.Errorf("purged were %d, %v", n, err)
		}
		end()
	})
}

func TestADeletedInstanceTakesNoAttemptsWhileTheStoreFails(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := &slowPuts{Store: newStore(t)}
		store.fails.Store(true)
		hook := outlet("hook", deadAndWell())
		hook.Admit = func(l queue.LaneKey, _ sink.Scope) (queue.Admission, json.RawMessage) {
			if l.Instance == "deleted" {
				return queue.Discard, nil
			}
			return queue.Deliver, nil
		}
		c := queue.DefaultConfig()
		c.Workers = 1
		r := start(t, store, c, hook)
		other := apart(r, "deleted")
		r.take("deleted", 1, 3, own("deleted"))
		time.Sleep(time.Second)
		r.take(other, 1, 11, own(other))
		time.Sleep(5 * time.Second)
		want(t, "delivered of another instance", len(r.sinkOf(hook).took(other)), 10)
		store.fails.Store(false)
		time.Sleep(time.Minute)
		n, err := r.CountDeadLetters(t.Context(), queue.DeadLetterFilter{Reason: queue.Gone})
		if n != 2 || err != nil {
			t.Errorf("%d dead letters, %v", n, err)
		}
	})
}

func (r *rig) sinkOf(s queue.Sink) *target { return s.Sink.(*target) }

func TestWhatIsStoredBehindAHungAttemptIsNotKeptInMemory(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := queue.DefaultConfig()
		c.CacheBytes = 64 << 10
		r := start(t, newStore(t), c, outlet("hook", deadAndWell()))
		for n := 1; n < 3000; n++ {
			l := queue.Logged{Position: bus.Position(n), Event: large("hung", fmt.Sprint(n), 1000)}
			l.To = []queue.Destination{ownTarget("hung", "hung")}
			if err := r.Take(t.Context(), bus.Shard("hung", r.store.Shards()), l); err != nil {
				t.Fatal(err)
			}
		}
		after(time.Second)
		if n := r.Cached(); n > 3*c.CacheBytes {
			t.Errorf("%d bytes are in memory, cache_bytes is %d", n, c.CacheBytes)
		}
		closing(r)
	})
}

// closing stops a queue although attempts hang.
func closing(r *rig) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_ = r.Close(ctx)
}

// What was done of an event may be erased from the log before its next owner is given it.
func TestAMarkOutlivesTheEventsThatItNames(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := newStore(t)
		r := start(t, store, queue.DefaultConfig(), outlet("hook", deadAndWell()))
		r.take("a", 1, 2, ownTarget("a", "hung"))
		r.take("a", 2, 3, ownTarget("a", "well"))
		time.Sleep(time.Second)
		closing(r)
		if m := r.mark("a"); m.Done == nil {
			t.Fatalf("the mark is %+v", m)
		}
		r = start(t, store, queue.DefaultConfig(), outlet("hook", deadAndWell()))
		r.take("a", 3, 5, ownTarget("a", "well")) // the others were erased meanwhile
		time.Sleep(time.Second)
		if m := r.mark("a"); m.Cursor.Position != 4 || m.Done != nil {
			t.Errorf("the mark is %+v", m)
		}
		r.close()
		start(t, store, queue.DefaultConfig(), outlet("hook", deadAndWell()))
	})
}

func TestAnswersInMemoryAreErasedToo(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := &target{deliver: func(ctx context.Context, _ *sink.Delivery) error {
			sink.Report(ctx, sink.Answer{Status: "200", Head: []byte("of a person")})
			return nil
		}}
		r := start(t, newStore(t), queue.DefaultConfig(), outlet("hook", s))
		r.take("a", 1, 2, to("a"))
		r.take("b", 2, 3, to("b"))
		after(time.Second)
		if n, left, err := r.Erase(t.Context(), bus.Erasure{Instance: "a"}); n.Attempts != 1 || left || err != nil {
			t.Errorf("erased: %+v, left %v, %v", n, left, err)
		}
		for id, n := range map[string]int{"0001": 0, "0002": 1} {
			if known, err := r.Attempts(t.Context(), id); len(known) != n || err != nil {
				t.Errorf("of %s are known %v, %v", id, known, err)
			}
		}
	})
}
