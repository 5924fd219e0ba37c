package core

import (
	"context"

	"github.com/evosink/evosink/core/bus"
)

// A shard that is held ends here in one of two ways. It is handed over in order, when other nodes join or this one
// stops. Or its lease is lost, and it is dropped: a renewal is told that the lease has ended, the time of the lease is
// over, or the queue's store refuses a write of its epoch.

// handOver gives a shard to its next owner so that nothing comes twice and nothing is overtaken: nothing more is taken
// from the log, what was taken comes into the queue, deliveries under way end and their results are written, and the
// lease is given back. What takes too long is cut off, and comes again from the next owner.
func (o *ownership) handOver(ctx context.Context, h *heldShard) {
	h.stop()
	h.subscriptions.Close()
	putting, cancel := o.patience(ctx, 8)
	defer cancel()
	defer context.AfterFunc(h.life, cancel)()
	if h.subscriptions.Wait(putting) != nil {
		h.cut()
	}
	delivering, cancel := o.patience(ctx, 4)
	defer cancel()
	if err := o.queue.Release(delivering, h.lease.Shard); err != nil {
		o.log.Warn().Err(err).Msg("deliveries come again from the shard's next owner")
	}
	o.drop(ctx, h)
	o.giveBack(ctx, h)
}

// lost is told by the queue that the store says that a shard is another node's. Work on it ends at once; the next
// renewal, which follows now, drops it.
func (o *ownership) lost(l bus.Lease) {
	if h := o.held.get(l.Shard); h != nil && h.lease.Epoch == l.Epoch {
		h.life.end()
		select {
		case o.fenced <- struct{}{}:
		default:
		}
	}
}

// drop cuts off the work on a shard that is not, or not any more, this node's, and waits until it has ended. Nothing is
// written of what was under way.
func (o *ownership) drop(ctx context.Context, h *heldShard) {
	h.life.finish()
	h.subscriptions.Close()
	o.queue.Drop(h.lease.Shard)
	o.held.update(func(by map[int]*heldShard) { delete(by, h.lease.Shard) })
	ending, cancel := o.patience(ctx, 8)
	defer cancel()
	_ = h.subscriptions.Wait(ending) // one that does not end in time has no effect any more
}

// giveBack has another node acquire a shard without waiting for the end of its lease, also when ctx has ended; the
// engine may take a moment for that.
func (o *ownership) giveBack(ctx context.Context, h *heldShard) {
	ctx, cancel := o.patience(context.WithoutCancel(ctx), 8)
	defer cancel()
	if err := o.leases.Release(ctx, h.lease); err != nil {
		o.log.Warn().Err(err).Int("shard", h.lease.Shard).Msg("a shard could not be given back; its lease ends by itself")
	}
}
