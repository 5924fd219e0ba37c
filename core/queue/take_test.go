package queue_test

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/evosink/evosink/core/bus"
	"github.com/evosink/evosink/core/queue"
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
