package queue

import (
	"context"
	"fmt"
	"time"
)

// An Admin is what operators see and do of a [Queue]: pauses, purges, dead letters, the log of attempts, statistics.
// What it does holds on all nodes that share the store. All methods may be called by any number of goroutines at once.
type Admin struct {
	queue *Queue
	store Store
}

// Pause keeps the lanes of a selector waiting until it is resumed, on all nodes, also after a restart. Attempts that
// run end as they would. Events go on to be put. A pause of an instance ends with it, see [Queue.Forget].
func (a *Admin) Pause(ctx context.Context, s Selector, reason string) error {
	pause := Pause{Selector: s, Reason: reason, At: time.Now()}
	if s.Instance != "" && a.queue.instanceID != nil {
		pause.InstanceID = a.queue.instanceID(s.Instance)
	}
	if err := a.queue.pauses.set(ctx, pause); err != nil {
		return fmt.Errorf("store the pause: %w", err)
	}
	return nil
}

// Resume ends the pause of exactly that selector; one that does not exist is no error. Its lanes are tried at once,
// with fresh attempts.
func (a *Admin) Resume(ctx context.Context, s Selector) error {
	if err := a.queue.pauses.end(ctx, s); err != nil {
		return fmt.Errorf("remove the pause: %w", err)
	}
	a.queue.resume(s)
	return nil
}

// resume lets the lanes of a pause that has ended be tried.
func (q *Queue) resume(s Selector) {
	q.eachLane(s, func(s *scheduler, l *lane) {
		if l.state == suspended {
			l.progress.Attempts = 0
		}
		s.somethingChanged(l)
	})
}

// Pauses returns what is paused, in any order.
func (a *Admin) Pauses() []Pause { return a.queue.pauses.all() }

// Purge removes what waits in the lanes of a selector, for good, and returns how many deliveries that were. Attempts
// that run end as they would. In shards that other nodes own, these remove what waits when they come to it.
func (a *Admin) Purge(ctx context.Context, f Selector) (n int, err error) {
	n, err = a.queue.jobs.everywhere(ctx, Job{Kind: PurgeJob, Purge: f}, f.Instance, func(int) {})
	if err != nil {
		return n, fmt.Errorf("purge: %w", err)
	}
	return n, nil
}

// Waiting returns the first deliveries that wait in a lane, at most limit. Of those that are not stored, because the
// log answers for them, the node that delivers them knows; their Seq is 0.
func (a *Admin) Waiting(ctx context.Context, key LaneKey, limit int) ([]Delivery, error) {
	out, err := a.store.Window(ctx, key, 0, 1<<63-1, limit, windowBytes)
	if err != nil || len(out) == limit {
		return out, err
	}
	s := a.queue.scheduler(key.Sink)
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.lanes.byKey[key]
	if l == nil {
		return out, nil
	}
	last := int64(0)
	if len(out) > 0 {
		last = out[len(out)-1].Seq
	}
	for _, items := range [][]*item{l.window, l.behind} {
		for _, it := range items {
			if it.Seq > last || it.Seq == 0 && len(out) < limit { // not of those that were read
				out = append(out, it.Delivery)
			}
		}
	}
	return out[:min(limit, len(out))], nil
}
