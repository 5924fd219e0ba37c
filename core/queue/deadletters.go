package queue

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// deadLetter makes the first delivery of a lane a dead letter.
func (s *scheduler) deadLetter(l *lane, d *item, why Reason, entry *Attempt) {
	l.progress.Next = time.Time{}
	s.spillFirst(l)
	s.recordOf(d, Result{Kind: DeadLettered, Progress: l.progress, Reason: why, Attempt: entry})
	s.counts.DeadLettered++
	s.notices.dead(l.keyOf(noticeDead), why, 1, l.progress.Error)
	s.lanes.removeFirst(l)
}

// deadLetterAll makes dead letters of all that waits in a lane.
func (s *scheduler) deadLetterAll(ctx context.Context, l *lane, why Reason) {
	for ctx.Err() == nil {
		gone, err := s.purge(ctx, l, PurgeRequest{Max: purgeAtOnce, Reason: why})
		s.mu.Lock()
		s.counts.DeadLettered += int64(gone.Count)
		s.mu.Unlock()
		s.notices.dead(l.keyOf(noticeDead), why, gone.Count, "")
		if err != nil {
			s.log.Error().Err(err).Msg("deliveries for a deleted instance could not be moved to the dead letters")
			return
		}
		if gone.Count < purgeAtOnce {
			return
		}
	}
}

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
// with an answer that the sink reported. Those of deliveries that were made at the first attempt are known on the node
// that made them, for as long as its memory holds them.
func (a *Admin) Attempts(ctx context.Context, eventID string) ([]Attempt, error) {
	all, err := a.store.Attempts(ctx, eventID)
	if err != nil {
		return nil, err
	}
	all = append(all, a.queue.answers.of(eventID)...)
	slices.SortStableFunc(all, func(a, b Attempt) int { return a.At.Compare(b.At) })
	return all, nil
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
// Config.ReplayRate), so that live events go on beside it, in steps of what a second takes, 50 at most; progress, if
// not nil, is called after each step. What was requeued when ctx ends stays so, and is counted.
func (a *Admin) RequeueAt(
	ctx context.Context, f DeadLetterFilter, rate int, progress func(done, total int),
) (done int, err error) {
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
