package core

import (
	"context"
	"time"

	"github.com/rs/zerolog"

	"github.com/evosink/evosink/core/bus"
	"github.com/evosink/evosink/core/instances"
	"github.com/evosink/evosink/core/queue"
)

// An ownership decides which shards this node holds, by their leases: it joins the cluster, acquires free shards up to
// the node's fair share, renews their leases, and hands over what is above the share when nodes join. What a shard does
// here while it is held is a [heldShard]'s; handover.go has how it ends.
type ownership struct {
	leases   bus.Leases
	queue    *queue.Queue
	registry *instances.Registry
	node     string
	shards   int
	held     *heldShards
	log      zerolog.Logger
	first    chan error    // why the queue could not take over the first shards, once that was tried
	fenced   chan struct{} // a shard has turned out to be another node's
}

// newOwnership returns an ownership without its queue, which is set before run.
func newOwnership(o Options) *ownership {
	return &ownership{
		leases: o.Leases, registry: o.Instances, node: o.Node, shards: o.Bus.Shards(),
		held:  &heldShards{by: map[int]*heldShard{}, changed: make(chan struct{})},
		log:   o.Logger.With().Str("component", "ownership").Str("node", o.Node).Logger(),
		first: make(chan error, 1), fenced: make(chan struct{}, 1),
	}
}

const (
	// handoverPause is the least time between two handovers of a node, so that a cluster is not all handovers when
	// nodes join.
	handoverPause = time.Second
	// lookPause is how often a node looks where leases do not end.
	lookPause = 10 * time.Second
)

// run holds shards until ctx ends, then gives back those that it has. Their subscriptions have ended by then.
func (o *ownership) run(ctx context.Context) {
	ttl, pause := o.leases.TTL(), lookPause
	if ttl > 0 {
		pause = ttl / 4 // a look that fails leaves time for two more
	}
	for first := true; first || ctx.Err() == nil; first = false {
		changed := o.leases.Changed()
		next := pause
		more, err := o.look(ctx)
		if more || err != nil { // what the look itself has changed does not count
			changed, next = nil, min(pause, handoverPause)
		}
		if first {
			o.first <- err
		}
		timer := time.NewTimer(next)
		select {
		case <-changed:
		case <-o.fenced:
		case <-timer.C:
		case <-ctx.Done():
		}
		timer.Stop()
	}
	leaving := context.WithoutCancel(ctx)
	if ttl > 0 {
		var cancel context.CancelFunc
		leaving, cancel = context.WithTimeout(leaving, ttl)
		defer cancel()
	}
	for _, h := range o.held.list() {
		if leaving.Err() == nil {
			o.handOver(leaving, h)
		} else {
			o.drop(leaving, h) // the engine does not answer: the lease ends by itself
		}
	}
	if err := o.leases.Leave(leaving, o.node); err != nil {
		o.log.Warn().Err(err).Msg("the node could not leave; it is taken for dead when its time is over")
	}
}

// look says that this node is alive, renews what it holds, and acquires or hands over what its fair share asks for. It
// reports whether more is to be handed over. Its error tells that the queue could not take over what was acquired.
func (o *ownership) look(ctx context.Context) (more bool, err error) {
	alive, err := o.leases.Join(ctx, o.node)
	if err == nil {
		err = o.renew(ctx)
	}
	if err != nil {
		if ctx.Err() == nil {
			o.log.Warn().Err(err).Msg("leases of shards could not be renewed; shards are dropped when their leases end")
		}
		return false, nil
	}
	share := (o.shards + len(alive) - 1) / len(alive)
	mine := o.held.list()
	switch {
	case len(mine) < share:
		return false, o.acquire(ctx, share-len(mine))
	case len(mine) > share:
		o.handOver(ctx, mine[len(mine)-1])
		return len(mine)-1 > share, nil
	}
	return false, nil
}

// renew extends the leases held, and drops the shards of those that have ended.
func (o *ownership) renew(ctx context.Context) error {
	ended := map[int]*heldShard{} // until the answer says that they have not
	var leases []bus.Lease
	for _, h := range o.held.list() {
		ended[h.lease.Shard] = h
		leases = append(leases, h.lease)
	}
	if len(leases) == 0 {
		return nil
	}
	renewed, err := o.leases.Renew(ctx, leases...)
	if err != nil {
		return err
	}
	for _, l := range renewed {
		h := ended[l.Shard]
		delete(ended, l.Shard)
		h.life.extend(l, o.leases.TTL())
		if h.life.Err() != nil { // work on it had ended before the answer came
			o.log.Warn().Int("shard", l.Shard).Msg("the lease of a shard was renewed too late; it is given back")
			o.handOver(ctx, h)
		}
	}
	for shard, h := range ended {
		o.log.Warn().Int("shard", shard).Int64("epoch", h.lease.Epoch).Msg("the lease of a shard has ended")
		o.drop(ctx, h)
	}
	return nil
}

// acquire takes at most n free shards: first their leases, then what other nodes have changed of the instances until
// now, then their lanes, those of all at once, and then each shard's subscription begins by itself ([shardSubscriber]).
// After an error it has none of them.
func (o *ownership) acquire(ctx context.Context, n int) error {
	var acquired []*heldShard
	var owned []queue.Owned
	taken := map[int]bool{}
	all, err := o.leases.Held(ctx, dispatchGroup)
	for _, l := range all {
		taken[l.Shard] = true
	}
	for shard := 0; shard < o.shards && len(acquired) < n && err == nil; shard++ {
		if taken[shard] {
			continue
		}
		var l bus.Lease
		var ok bool
		if l, ok, err = o.leases.Acquire(ctx, dispatchGroup, shard, o.node); ok {
			h := newHeldShard(l, o.leases.TTL())
			acquired, owned = append(acquired, h), append(owned, queue.Owned{Lease: l, Life: h.life})
		}
	}
	if err != nil && ctx.Err() == nil {
		o.log.Warn().Err(err).Msg("free shards could not be acquired")
	}
	if len(acquired) == 0 {
		return nil
	}
	reading, cancel := o.patience(ctx, 2)
	defer cancel()
	// What waits is delivered by the instances as they are now: one that the registry does not show yet was not deleted.
	if err = o.registry.Refresh(reading); err == nil {
		err = o.queue.Acquire(reading, owned...)
	}
	if err != nil {
		if ctx.Err() == nil {
			o.log.Warn().Err(err).Msg("the queue could not take over shards")
		}
		for _, h := range acquired {
			h.life.finish()
			o.giveBack(ctx, h)
		}
		return err
	}
	o.held.update(func(by map[int]*heldShard) {
		for _, h := range acquired {
			o.log.Debug().Int("shard", h.lease.Shard).Int64("epoch", h.lease.Epoch).Msg("a shard is held")
			by[h.lease.Shard] = h
		}
	})
	return nil
}

// patience bounds how long work on one shard may keep the renewal of the others, to a part of the lease time.
func (o *ownership) patience(ctx context.Context, part time.Duration) (context.Context, context.CancelFunc) {
	if ttl := o.leases.TTL(); ttl > 0 {
		return context.WithTimeout(ctx, ttl/part)
	}
	return context.WithTimeout(ctx, lookPause)
}
