package queuetest

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/evosink/evosink/core/bus"
	"github.com/evosink/evosink/core/queue"
)

// A gate is between a node and its store. It can be frozen, so that calls wait, or cut, so that they fail.
type gate struct {
	queue.Store
	queue.Steering
	cut  atomic.Bool
	slow atomic.Bool // results take a moment to be written

	mu     sync.Mutex
	thawed chan struct{} // closed while the node is not frozen; guarded by mu
}

var errCut = errors.New("the node is dead")

func (g *gate) freeze() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.thawed = make(chan struct{})
}

func (g *gate) thaw() {
	g.mu.Lock()
	defer g.mu.Unlock()
	select {
	case <-g.thawed:
	default:
		close(g.thawed)
	}
}

// through waits while the node is frozen.
func (g *gate) through() error {
	g.mu.Lock()
	thawed := g.thawed
	g.mu.Unlock()
	<-thawed
	if g.cut.Load() {
		return errCut
	}
	return nil
}

func (g *gate) Put(
	ctx context.Context, leases []bus.Lease, marks []queue.Mark, entries ...queue.Entry,
) ([]queue.PutResult, error) {
	if err := g.through(); err != nil {
		return nil, err
	}
	return g.Store.Put(ctx, leases, marks, entries...)
}

func (g *gate) Checkpoint(ctx context.Context, leases []bus.Lease, marks ...queue.Mark) error {
	if err := g.through(); err != nil {
		return err
	}
	return g.Store.Checkpoint(ctx, leases, marks...)
}

func (g *gate) Window(ctx context.Context, l queue.LaneKey, after, until int64, limit, bytes int) ([]queue.Delivery, error) {
	if err := g.through(); err != nil {
		return nil, err
	}
	return g.Store.Window(ctx, l, after, until, limit, bytes)
}

func (g *gate) Record(ctx context.Context, l []bus.Lease, r []queue.Result) error {
	if err := g.through(); err != nil {
		return err
	}
	if g.slow.Load() {
		time.Sleep(5 * time.Millisecond)
	}
	return g.Store.Record(ctx, l, r)
}

func (g *gate) Purge(ctx context.Context, l bus.Lease, r queue.PurgeRequest) (queue.Purged, error) {
	if err := g.through(); err != nil {
		return queue.Purged{}, err
	}
	return g.Store.Purge(ctx, l, r)
}

func (g *gate) Requeue(ctx context.Context, l bus.Lease, ids []int64, at time.Time) ([]queue.Requeued, error) {
	if err := g.through(); err != nil {
		return nil, err
	}
	return g.Store.Requeue(ctx, l, ids, at)
}

func (g *gate) Jobs(ctx context.Context) ([]queue.Job, error) {
	if err := g.through(); err != nil {
		return nil, err
	}
	return g.Steering.Jobs(ctx)
}

func (g *gate) AdvanceJob(ctx context.Context, l bus.Lease, id int64, count int, done bool) error {
	if err := g.through(); err != nil {
		return err
	}
	return g.Steering.AdvanceJob(ctx, l, id, count, done)
}
