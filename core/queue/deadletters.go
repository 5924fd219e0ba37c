package queue

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// DeadLetters returns dead letters without their events' data.
func (a *Admin) DeadLetters(ctx context.Context, f DeadLetterFilter, p Page) ([]DeadLetter, error) {
	return a.store.DeadLetters(ctx, f, p)
}

// CountDeadLetters returns how many dead letters there are.
func (a *Admin) CountDeadLetters(ctx context.Context, f DeadLetterFilter) (int, error) {
	return a.store.CountDeadLetters(ctx, f)
}

// DeadLetter returns a dead letter with its event. Error: [ErrNoDeadLetter].
func (a *Admin) DeadLetter(ctx context.Context, id int64) (DeadLetter, error) {
	return a.store.DeadLetter(ctx, id)
}

// Attempts returns what is known of the attempts to deliver an event, in order of time: those that failed, and those
// whose answer the sink reported.
func (a *Admin) Attempts(ctx context.Context, eventID string) ([]Attempt, error) {
	return a.store.Attempts(ctx, eventID)
}

// PurgeDeadLetters removes dead letters for good and returns how many.
func (a *Admin) PurgeDeadLetters(ctx context.Context, f DeadLetterFilter) (n int, err error) {
	for {
		deleted, err := a.store.DeleteDeadLetters(ctx, f, purgeAtOnce)
		if n += deleted; err != nil {
			return n, fmt.Errorf("purge dead letters: %w", err)
		}
		if deleted < purgeAtOnce {
			return n, nil
		}
	}
}

// requeueAtOnce is how many letters a requeue moves in one transaction at most.
const requeueAtOnce = 50

// Requeue is [Admin.RequeueAt] with Config.ReplayRate.
func (a *Admin) Requeue(ctx context.Context, f DeadLetterFilter, progress func(done, total int)) (done int, err error) {
	return a.RequeueAt(ctx, f, a.queue.config.ReplayRate, progress)
}

// RequeueAt puts dead letters back at the ends of their lanes, oldest first, with their old event ids and fresh
// attempts. It takes those that are there when it begins, rate of them per second (0 means Config.ReplayRate), so that
// live events go on beside it, in steps of what a second takes, 50 at most; progress, if not nil, is called after each
// step. What was requeued when ctx ends stays so, and is counted.
func (a *Admin) RequeueAt(ctx context.Context, f DeadLetterFilter, rate int, progress func(done, total int)) (done int, err error) {
	if err := a.queue.running(); err != nil {
		return 0, err
	}
	if rate <= 0 {
		rate = a.queue.config.ReplayRate
	}
	newest, err := a.store.DeadLetters(ctx, f, Page{Newest: true, Limit: 1})
	if err != nil || len(newest) == 0 {
		return 0, err
	}
	total, err := a.store.CountDeadLetters(ctx, f)
	if err != nil {
		return 0, err
	}
	for after := int64(0); after < newest[0].ID; {
		began := time.Now()
		page, err := a.store.DeadLetters(ctx, f, Page{After: after, Limit: min(rate, requeueAtOnce)})
		if err != nil || len(page) == 0 {
			return done, err
		}
		after = page[len(page)-1].ID
		n, err := a.requeue(ctx, page, newest[0].ID)
		if done += n; err != nil {
			return done, err
		}
		if progress != nil {
			progress(done, max(total, done))
		}
		pace := time.Second * time.Duration(n) / time.Duration(rate)
		if after < newest[0].ID && !a.queue.waitRunning(ctx, pace-time.Since(began)) {
			return done, errors.Join(ctx.Err(), a.queue.running())
		}
	}
	return done, nil
}

// RequeueOne puts one dead letter back. Error: [ErrNoDeadLetter].
func (a *Admin) RequeueOne(ctx context.Context, id int64) error {
	letter, err := a.store.DeadLetter(ctx, id)
	if err != nil {
		return err
	}
	if err := a.queue.running(); err != nil {
		return err
	}
	n, err := a.requeue(ctx, []DeadLetter{letter}, id)
	if err == nil && n == 0 {
		return ErrNoDeadLetter
	}
	return err
}

// requeue moves dead letters with ids up to last back into their lanes, those of each instance in one step.
func (a *Admin) requeue(ctx context.Context, letters []DeadLetter, last int64) (done int, err error) {
	var instances []string
	ids := map[string][]int64{}
	for _, l := range letters {
		if l.ID > last {
			break
		}
		if ids[l.Instance] == nil {
			instances = append(instances, l.Instance)
		}
		ids[l.Instance] = append(ids[l.Instance], l.ID)
	}
	for _, instance := range instances {
		n, err := a.queue.requeueFor(ctx, instance, ids[instance])
		if done += n; err != nil {
			return done, fmt.Errorf("requeue for %s: %w", instance, err)
		}
	}
	return done, nil
}

// requeueFor moves dead letters of one instance back into their lanes.
func (q *Queue) requeueFor(ctx context.Context, instance string, ids []int64) (int, error) {
	defer q.inOrder(instance)()
	at := time.Now()
	requeued, err := q.store.Requeue(ctx, ids, at)
	if err != nil {
		return 0, err
	}
	for _, r := range requeued {
		s := q.scheduler(r.Sink)
		s.mu.Lock()
		s.append(s.lane(r.LaneKey, r.Scope), Delivery{Seq: r.Seq, Scope: r.Scope, At: at})
		s.unlock()
	}
	return len(requeued), nil
}
