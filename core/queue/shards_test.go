package queue_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/evosink/evosink/adapters/memory"
	"github.com/evosink/evosink/core/bus"
	"github.com/evosink/evosink/core/queue"
	"github.com/evosink/evosink/core/sink"
)

// inShard returns n instances of a shard.
func inShard(s queue.Store, shard, n int) (names []string) {
	for i := 0; len(names) < n; i++ {
		if name := fmt.Sprint("i", i); bus.Shard(name, s.Shards()) == shard {
			names = append(names, name)
		}
	}
	return names
}

// left returns what waits in a store, by instance.
func left(t *testing.T, s queue.Store) map[string]int {
	t.Helper()
	lanes, err := s.Lanes(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]int{}
	for _, l := range lanes {
		out[l.Instance] += l.Waiting
	}
	return out
}

// recording is a store whose Record a test answers for.
type recording struct {
	*memory.Queue
	record func() error // called before each; nil records
}

func (s *recording) Record(ctx context.Context, leases []bus.Lease, results []queue.Result) error {
	if err := s.record(); err != nil {
		return err
	}
	return s.Queue.Record(ctx, leases, results)
}

// The results of a shard that is lost are left out; those of the others are written, each once, however often the store
// fails after that.
func TestResultsBesideThoseOfALostShardAreAllWritten(t *testing.T) {
	bubble(t, func(t *testing.T) {
		gathered := make(chan struct{})
		store, s := &recording{Queue: newStore(t)}, &target{}
		lost, kept := inShard(store, 0, 1)[0], inShard(store, 1, 3)
		calls := 0
		store.record = func() error {
			switch calls++; calls {
			case 1:
				<-gathered
			case 2:
				return &queue.FencedError{Shards: []int{0}}
			case 3:
				return errors.New("disk full")
			}
			return nil
		}
		r := start(t, store, queue.DefaultConfig(), outlet("hook", s))
		for _, instance := range []string{kept[0], lost, kept[1], kept[2]} {
			r.put(newEvent(instance, "of "+instance), to(instance))
			after(time.Millisecond)
		}
		close(gathered)
		after(time.Minute)
		want(t, "delivered", len(s.took("")), 4)
		want(t, "left in the store", left(t, store), map[string]int{lost: 1})
	})
}

// A shard that is released while the queue closes is not let go of before what is under way in it has ended.
func TestAReleaseWhileTheQueueClosesWaitsForWhatIsUnderWay(t *testing.T) {
	bubble(t, func(t *testing.T) {
		goOn, write := make(chan struct{}), make(chan struct{})
		store, s := &recording{Queue: newStore(t)}, &target{}
		store.record = func() error { <-write; return nil }
		s.deliver = func(ctx context.Context, _ *sink.Delivery) error {
			select {
			case <-goOn:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		r := start(t, store, queue.DefaultConfig(), outlet("hook", s))
		shards := []int{2, 3}
		for _, shard := range shards {
			r.fill(to(inShard(store, shard, 1)[0]), 1)
		}
		after(time.Second)
		closed, released := make(chan error, 1), make(chan error, 2)
		go func() { closed <- r.Close(t.Context()) }()
		after(time.Second)
		go func() { released <- r.Release(t.Context(), shards[0]) }()
		after(time.Second)
		close(goOn)
		after(time.Second)
		go func() { released <- r.Release(t.Context(), shards[1]) }()
		after(time.Second)
		want(t, "shards let go of while their results are not written", len(released), 0)
		close(write)
		want(t, "errors", []error{<-released, <-released, <-closed}, []error{nil, nil, nil})
		want(t, "delivered", len(s.took("")), 2)
		want(t, "left in the store", left(t, store), map[string]int{})
	})
}

// A lane that an attempt has looked at and left, because it is paused, ends with its shard as any other: the endpoint
// goes on with the lanes that lead to it, and with its limits.
func TestALaneThatIsDroppedBesideAnAttemptLeavesItsEndpointOnce(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store, goOn := newStore(t), make(chan struct{})
		var inTheAir, most atomic.Int64
		s := &batchTarget{}
		s.deliver = func(context.Context, *sink.Delivery) error {
			most.Store(max(most.Load(), inTheAir.Add(1)))
			defer inTheAir.Add(-1)
			<-goOn
			return nil
		}
		c := queue.DefaultConfig()
		c.PerTarget = 1
		r := start(t, store, c, outlet("hook", s))
		lost, kept := inShard(store, 0, 1)[0], inShard(store, 1, 2)
		if err := r.Pause(t.Context(), queue.Selector{Instance: lost}, "maintenance"); err != nil {
			t.Fatal(err)
		}
		r.fill(to(kept[0]), 1)
		after(time.Second)
		r.fill(to(lost), 1) // goes with those behind it into the next batch
		r.fill(to(kept[1]), 200)
		after(time.Second)
		goOn <- struct{}{}
		after(time.Second)
		r.Drop(0)
		for range 100 {
			goOn <- struct{}{}
		}
		after(time.Second)
		r.put(newEvent(kept[0], "last"), to(kept[0]))
		after(time.Second)
		close(goOn)
		after(time.Minute)
		want(t, "delivered", len(s.took("")), 202)
		want(t, "at once at the target", most.Load(), int64(1))
		want(t, "left in the store", left(t, store), map[string]int{lost: 1})
	})
}

// batchTarget is a target that takes batches, and answers for each delivery as if alone.
type batchTarget struct{ target }

func (s *batchTarget) DeliverBatch(ctx context.Context, all []*sink.Delivery) []error {
	errs := make([]error, len(all))
	for i, d := range all {
		errs[i] = s.Deliver(ctx, d)
	}
	return errs
}

// outdated is a store whose jobs are read just before a part is done, and seen after it.
type outdated struct {
	*memory.Queue
	read, goOn chan struct{}
	once       atomic.Bool
}

func (s *outdated) Jobs(ctx context.Context) ([]queue.Job, error) {
	jobs, err := s.Queue.Jobs(ctx)
	if len(jobs) == 1 && jobs[0].Parts[0].Count > 0 && s.once.CompareAndSwap(false, true) {
		close(s.read)
		<-s.goOn
	}
	return jobs, err
}

func (s *outdated) AdvanceJob(ctx context.Context, l bus.Lease, id int64, count int, done bool) error {
	if done {
		<-s.read
	}
	return s.Queue.AdvanceJob(ctx, l, id, count, done)
}

func TestAPurgeForAnotherNodeIsDoneOnce(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := &outdated{Queue: newStore(t), read: make(chan struct{}), goOn: make(chan struct{})}
		r := start(t, store, queue.DefaultConfig(), outlet("hook", &target{}))
		if err := r.Pause(t.Context(), queue.Selector{}, "maintenance"); err != nil {
			t.Fatal(err)
		}
		r.fill(to("a"), 3)
		_, err := store.AddJob(t.Context(), queue.Job{
			Kind: queue.PurgeJob, At: time.Now(), Parts: []queue.Part{{Shard: bus.Shard("a", store.Shards())}},
		})
		if err != nil {
			t.Fatal(err)
		}
		after(time.Second)
		jobs, err := store.Queue.Jobs(t.Context())
		want(t, "jobs", []any{err, jobs[0].Parts[0].Count, jobs[0].Parts[0].Done}, []any{nil, 3, true})
		r.put(newEvent("a", "after the purge"), to("a"))
		close(store.goOn)
		after(time.Second)
		want(t, "left in the store", left(t, store), map[string]int{"a": 1})
	})
}

// uncounted is a store that takes its time to count what was done of a job.
type uncounted struct {
	*memory.Queue
	goOn chan struct{}
}

func (s *uncounted) AdvanceJob(ctx context.Context, l bus.Lease, id int64, count int, done bool) error {
	if count > 0 {
		<-s.goOn
	}
	return s.Queue.AdvanceJob(ctx, l, id, count, done)
}

// A shard is not given back between a piece of a job and its count, which would be refused then.
func TestAReleaseWaitsUntilWhatWasDoneOfAJobIsCounted(t *testing.T) {
	for _, kind := range []queue.JobKind{queue.PurgeJob, queue.RequeueJob} {
		bubble(t, func(t *testing.T) {
			store := &uncounted{newStore(t), make(chan struct{})}
			s := &target{deliver: func(context.Context, *sink.Delivery) error { return sink.Permanent(errors.New("400")) }}
			r := start(t, store, queue.DefaultConfig(), outlet("hook", s))
			if kind == queue.RequeueJob {
				r.fill(to("a"), 3)
				after(time.Second)
			}
			if err := r.Pause(t.Context(), queue.Selector{}, "maintenance"); err != nil {
				t.Fatal(err)
			}
			if kind == queue.PurgeJob {
				r.fill(to("a"), 3)
				after(time.Second)
			}
			shard := bus.Shard("a", store.Shards())
			job := queue.Job{Kind: kind, Last: 1000, Rate: 50, At: time.Now(), Parts: []queue.Part{{Shard: shard}}}
			if _, err := store.AddJob(t.Context(), job); err != nil {
				t.Fatal(err)
			}
			after(time.Second)
			released := make(chan error, 1)
			go func() { released <- r.Release(t.Context(), shard) }()
			after(time.Second)
			want(t, "releases before it is counted", len(released), 0)
			close(store.goOn)
			want(t, "release", <-released, nil)
			jobs, err := store.Jobs(t.Context())
			want(t, "job", []any{jobs[0].Parts[0].Count, err}, []any{3, nil})
		})
	}
}

func TestWhatWasDoneOfAJobIsCountedAlsoWhileTheQueueCloses(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := &uncounted{newStore(t), make(chan struct{})}
		r := start(t, store, queue.DefaultConfig(), outlet("hook", &target{}))
		if err := r.Pause(t.Context(), queue.Selector{}, "maintenance"); err != nil {
			t.Fatal(err)
		}
		r.fill(to("a"), 3)
		shard := bus.Shard("a", store.Shards())
		job := queue.Job{Kind: queue.PurgeJob, At: time.Now(), Parts: []queue.Part{{Shard: shard}}}
		if _, err := store.AddJob(t.Context(), job); err != nil {
			t.Fatal(err)
		}
		after(time.Second)
		closed, released := make(chan error, 1), make(chan error, 1)
		go func() { closed <- r.Close(t.Context()) }()
		after(time.Second)
		go func() { released <- r.Release(t.Context(), shard) }()
		after(time.Second)
		want(t, "releases before it is counted", len(released), 0)
		close(store.goOn)
		want(t, "errors", []error{<-closed, <-released}, []error{nil, nil})
		jobs, err := store.Jobs(t.Context())
		want(t, "job", []any{jobs[0].Parts[0].Count, err}, []any{3, nil})
	})
}

// A part of a job that cannot be ended because its shard is another node's is left to that node, at once, and not begun
// again and again until the lease is renewed.
func TestAShardThatIsAnotherNodesIsDroppedWhenItsPartOfAJobIsRefused(t *testing.T) {
	c := memory.DefaultConfig()
	c.LeaseTime = time.Hour
	engine, err := memory.New(c)
	if err != nil {
		t.Fatal(err)
	}
	lost := make(chan bus.Lease, 1)
	q, err := queue.New(queue.Options{
		Store: engine.Queue(), Config: queue.DefaultConfig(), Logger: zerolog.Nop(), Sinks: []queue.Sink{outlet("hook", &target{})},
		Lost: func(l bus.Lease) { lost <- l },
	})
	if err != nil {
		t.Fatal(err)
	}
	defer (&rig{q, t, engine.Queue()}).close()
	former, _, err := engine.Leases().Acquire(t.Context(), "dispatch", 0, "one")
	if err = errors.Join(err, q.Start(t.Context()), q.Acquire(t.Context(), queue.Owned{Lease: former})); err != nil {
		t.Fatal(err)
	}
	if err := engine.Leases().Release(t.Context(), former); err != nil { // as if it had ended
		t.Fatal(err)
	}
	job := queue.Job{Kind: queue.PurgeJob, Purge: queue.Selector{Instance: "a"}, At: time.Now(), Parts: []queue.Part{{Shard: 0}}}
	if _, err := engine.Queue().AddJob(t.Context(), job); err != nil {
		t.Fatal(err)
	}
	select {
	case l := <-lost:
		want(t, "lost", l, former)
	case <-time.After(20 * time.Second):
		t.Error("the shard is still held")
	}
}
