package queue

import (
	"context"
	"fmt"

	"github.com/evosink/evosink/core/bus"
)

// Erased is what an erasure has removed.
type Erased struct {
	Deliveries  int // that waited
	DeadLetters int
	Attempts    int
	Remembered  int // events that were kept to be absorbed when they come again
	Pauses      int // that named the instance
}

// Add adds what another step has removed.
func (n *Erased) Add(m Erased) {
	n.Deliveries += m.Deliveries
	n.DeadLetters += m.DeadLetters
	n.Attempts += m.Attempts
	n.Remembered += m.Remembered
	n.Pauses += m.Pauses
}

// Erase removes what waits for an instance, its dead letters, the attempts of its deliveries, and the pauses that name
// it, unless they may be the present instance's. left says that attempts are under way, or their results not written
// yet: it has to be called again. It may be called at any time, also after an error; n counts what this call removed.
//
// Where another node owns the instance's shard, it is asked to remove what waits, all that waits for the name; so if an
// instance has the name now, the error wraps [ErrNotHeld], and the owner is the node to ask.
func (a *Admin) Erase(ctx context.Context, e bus.Erasure) (n Erased, left bool, err error) {
	if err := a.queue.running(); err != nil {
		return n, false, err
	}
	if a.queue.holdings.get(a.queue.shardOf(e.Instance)) == nil { // another node delivers for it
		if e.Present != "" {
			return n, true, fmt.Errorf("erase what waits: %w: another node has the shard", ErrNotHeld)
		}
		if n.Deliveries, err = a.Purge(ctx, Selector{Instance: e.Instance}); err != nil {
			return n, true, fmt.Errorf("erase what waits: %w", err)
		}
	}
	var lanes []*lane
	a.queue.eachLane(Selector{Instance: e.Instance}, func(_ *scheduler, l *lane) {
		if e.Has(l.InstanceID) {
			lanes = append(lanes, l)
		}
	})
	for _, l := range lanes {
		for more := true; more; {
			purged, err := a.queue.scheduler(l.Sink).purge(ctx, l, PurgeRequest{Max: purgeAtOnce, Overwrite: true})
			if n.Deliveries += purged.Count; err != nil {
				return n, true, fmt.Errorf("erase what waits: %w", err)
			}
			more = purged.Count == purgeAtOnce
		}
	}
	a.queue.eachLane(Selector{Instance: e.Instance}, func(_ *scheduler, l *lane) {
		left = left || e.Has(l.InstanceID) && (l.waiting > 0 || l.attempting > 0 || l.pins > 0 || l.unstored > 0)
	})
	n.Attempts += a.queue.answers.erase(e)
	stored, err := a.store.Erase(ctx, e)
	if n.Add(stored); err != nil {
		return n, true, fmt.Errorf("erase what the queue keeps: %w", err)
	}
	for _, p := range a.Pauses() {
		if p.Instance != e.Instance || e.Present != "" {
			continue
		}
		if err := a.Resume(ctx, p.Selector); err != nil {
			return n, true, err
		}
		n.Pauses++
	}
	return n, left, nil
}

// EraseStored is [Admin.Erase] for a store that no [Queue] uses now.
func EraseStored(ctx context.Context, s Store, e bus.Erasure) (n Erased, err error) {
	lanes, err := s.Lanes(ctx)
	if err != nil {
		return n, fmt.Errorf("erase what waits: %w", err)
	}
	for _, l := range lanes {
		for more := l.Instance == e.Instance && e.Has(l.InstanceID); more; {
			only := bus.Lease{Shard: bus.Shard(l.Instance, s.Shards()), Epoch: 1} // that of the one node which needs no other
			purged, err := s.Purge(ctx, only, PurgeRequest{
				Lane: l.LaneKey, Until: l.Newest, Max: purgeAtOnce, Overwrite: true,
			})
			if n.Deliveries += purged.Count; err != nil {
				return n, fmt.Errorf("erase what waits: %w", err)
			}
			more = purged.Count == purgeAtOnce
		}
	}
	stored, err := s.Erase(ctx, e)
	if n.Add(stored); err != nil {
		return n, fmt.Errorf("erase what the queue keeps: %w", err)
	}
	pauses, err := s.Pauses(ctx)
	if err != nil {
		return n, err
	}
	for _, p := range pauses {
		if p.Instance != e.Instance || e.Present != "" {
			continue
		}
		if err := s.DeletePause(ctx, p.Selector); err != nil {
			return n, err
		}
		n.Pauses++
	}
	return n, nil
}
