package queue

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/evosink/evosink/core/bus"
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
// attempts. It takes those that are there when it begins, rate of them per second on each node (0 means
// Config.ReplayRate), so that live events go on beside it, in steps of what a second takes, 50 at most; progress, if not
// nil, is called after each step. What was requeued when ctx ends stays so, and is counted.
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
	job := Job{Kind: RequeueJob, Filter: f, Last: newest[0].ID, Rate: rate}
	return a.queue.jobs.everywhere(ctx, job, f.Instance, func(done int) {
		if progress != nil {
			progress(done, max(total, done))
		}
	})
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
	job := Job{Kind: RequeueJob, Filter: DeadLetterFilter{ID: id}, Last: id, Rate: a.queue.config.ReplayRate}
	n, err := a.queue.jobs.everywhere(ctx, job, letter.Instance, func(int) {})
	if err == nil && n == 0 {
		return ErrNoDeadLetter
	}
	return err
}

// requeueIn moves the dead letters of a job back into their lanes, those of some shards, a page at a time, and calls step
// after each with how many it has moved in each shard, also when the page has failed.
func (q *Queue) requeueIn(ctx context.Context, job Job, of map[int]*holding, step func(moved map[*holding]int) error) error {
	for after := int64(0); after < job.Last; {
		began := time.Now()
		page, err := q.store.DeadLetters(ctx, job.Filter, Page{After: after, Limit: min(job.Rate, requeueAtOnce)})
		if err != nil || len(page) == 0 {
			return err
		}
		after = page[len(page)-1].ID
		var instances []string
		ids := map[string][]int64{}
		for _, l := range page {
			if l.ID > job.Last || of[q.shardOf(l.Instance)] == nil {
				continue
			}
			if ids[l.Instance] == nil {
				instances = append(instances, l.Instance)
			}
			ids[l.Instance] = append(ids[l.Instance], l.ID)
		}
		moved, by := 0, map[*holding]int{}
		for _, instance := range instances {
			var n int
			n, err = q.requeueFor(ctx, instance, ids[instance])
			if n > 0 {
				moved += n
				by[of[q.shardOf(instance)]] += n
			}
			if errors.Is(err, ErrNotHeld) || errors.Is(err, bus.ErrFenced) {
				err = nil // its next owner goes on
			}
			if err != nil {
				err = fmt.Errorf("requeue for %s: %w", instance, err)
				break
			}
		}
		if moved > 0 {
			err = errors.Join(err, step(by))
		}
		if err != nil {
			return err
		}
		pace := time.Second * time.Duration(moved) / time.Duration(job.Rate)
		if after < job.Last && !q.waitRunning(ctx, pace-time.Since(began)) {
			return errors.Join(ctx.Err(), q.running())
		}
	}
	return nil
}

// requeueFor moves dead letters of one instance back into their lanes.
func (q *Queue) requeueFor(ctx context.Context, instance string, ids []int64) (int, error) {
	h, err := q.holdings.use(q.shardOf(instance))
	if err != nil {
		return 0, err
	}
	defer h.work.Done()
	defer q.inOrder(instance)()
	at := time.Now()
	requeued, err := q.store.Requeue(ctx, h.lease, ids, at)
	if err != nil {
		q.fenced(h, err)
		return 0, err
	}
	for _, r := range requeued {
		s := q.scheduler(r.Sink)
		s.mu.Lock()
		if !h.gone() {
			s.append(s.lane(h, r.LaneKey, r.Scope), Delivery{Seq: r.Seq, Scope: r.Scope, At: at}, r.Bytes)
		}
		s.unlock()
	}
	return len(requeued), nil
}
