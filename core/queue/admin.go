package queue

import (
	"context"
	"fmt"
	"time"
)

// An Admin is what operators see and do of a [Queue]: pauses, purges, dead letters, the log of attempts, statistics.
// All methods may be called by any number of goroutines at once.
type Admin struct {
	queue *Queue
	store Store
}

// Pause keeps the lanes of a selector waiting until it is resumed, also after a restart. Attempts that run end as
// they would. Events go on to be put.
func (a *Admin) Pause(ctx context.Context, s Selector, reason string) error {
	p := Pause{Selector: s, Reason: reason, At: time.Now()}
	if err := a.store.PutPause(ctx, p); err != nil {
		return fmt.Errorf("store the pause: %w", err)
	}
	a.queue.pauses.put(p)
	return nil
}

// Resume ends the pause of exactly that selector; one that does not exist is no error. Its lanes are tried at once,
// with fresh attempts.
func (a *Admin) Resume(ctx context.Context, s Selector) error {
	if err := a.store.DeletePause(ctx, s); err != nil {
		return fmt.Errorf("remove the pause: %w", err)
	}
	a.queue.pauses.remove(s)
	a.queue.eachLane(s, func(s *scheduler, l *lane) {
		if l.state == suspended {
			l.progress.Attempts = 0
		}
		s.somethingChanged(l)
	})
	return nil
}

// Pauses returns what is paused, in any order.
func (a *Admin) Pauses() []Pause { return a.queue.pauses.all() }

// Purge removes what waits in the lanes of a selector, for good, and returns how many deliveries that were. Attempts
// that run end as they would.
func (a *Admin) Purge(ctx context.Context, f Selector) (n int, err error) {
	var lanes []*lane
	a.queue.eachLane(f, func(_ *scheduler, l *lane) {
		if l.waiting > 0 {
			lanes = append(lanes, l)
		}
	})
	for _, l := range lanes {
		purged, err := a.queue.scheduler(l.Sink).purgeAll(ctx, l)
		if n += purged; err != nil {
			return n, fmt.Errorf("purge: %w", err)
		}
	}
	return n, nil
}

// Waiting returns the first deliveries that wait in a lane, at most limit.
func (a *Admin) Waiting(ctx context.Context, l LaneKey, limit int) ([]Delivery, error) {
	return a.store.Window(ctx, l, 0, 1<<63-1, limit, windowBytes)
}
