package queue

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Letters returns dead letters without their events' data.
func (q *Queue) Letters(ctx context.Context, f LetterFilter, p Page) ([]Letter, error) {
	return q.store.Letters(ctx, f, p)
}

// CountLetters returns how many dead letters there are.
func (q *Queue) CountLetters(ctx context.Context, f LetterFilter) (int, error) {
	return q.store.CountLetters(ctx, f)
}

// Letter returns a dead letter with its event. Error: [ErrNoLetter].
func (q *Queue) Letter(ctx context.Context, id int64) (Letter, error) { return q.store.Letter(ctx, id) }

// Attempts returns what is known of the attempts to deliver an event, in order of time: those that failed, and those whose answer
// the sink reported.
func (q *Queue) Attempts(ctx context.Context, eventID string) ([]Attempt, error) {
	return q.store.Attempts(ctx, eventID)
}

// PurgeLetters removes dead letters for good and returns how many.
func (q *Queue) PurgeLetters(ctx context.Context, f LetterFilter) (n int, err error) {
	for {
		erased, err := q.store.EraseLetters(ctx, f, clearAtOnce)
		if n += erased; err != nil {
			return n, fmt.Errorf("purge dead letters: %w", err)
		}
		if erased < clearAtOnce {
			return n, nil
		}
	}
}

// replayAtOnce is how many letters a replay moves in one transaction at most.
const replayAtOnce = 50

// Replay is [Queue.ReplayAt] with Config.ReplayRate.
func (q *Queue) Replay(ctx context.Context, f LetterFilter, progress func(done, total int)) (done int, err error) {
	return q.ReplayAt(ctx, f, q.config.ReplayRate, progress)
}

// ReplayAt puts dead letters back at the ends of their lanes, oldest first, with their old event ids and fresh
// attempts. It takes those that are there when it begins, rate of them per second (0 means Config.ReplayRate), so that
// live events go on beside it, in steps of what a second takes, 50 at most; progress, if not nil, is called after each
// step. What was replayed when ctx ends stays replayed, and is counted.
func (q *Queue) ReplayAt(ctx context.Context, f LetterFilter, rate int, progress func(done, total int)) (done int, err error) {
	if err := q.running(); err != nil {
		return 0, err
	}
	if rate <= 0 {
		rate = q.config.ReplayRate
	}
	newest, err := q.store.Letters(ctx, f, Page{Newest: true, Limit: 1})
	if err != nil || len(newest) == 0 {
		return 0, err
	}
	total, err := q.store.CountLetters(ctx, f)
	if err != nil {
		return 0, err
	}
	for after := int64(0); after < newest[0].ID; {
		began := time.Now()
		page, err := q.store.Letters(ctx, f, Page{After: after, Limit: min(rate, replayAtOnce)})
		if err != nil || len(page) == 0 {
			return done, err
		}
		after = page[len(page)-1].ID
		n, err := q.revive(ctx, page, newest[0].ID)
		if done += n; err != nil {
			return done, err
		}
		if progress != nil {
			progress(done, max(total, done))
		}
		pace := time.Second * time.Duration(n) / time.Duration(rate)
		if after < newest[0].ID && !q.waitRunning(ctx, pace-time.Since(began)) {
			return done, errors.Join(ctx.Err(), q.running())
		}
	}
	return done, nil
}

// ReplayOne puts one dead letter back. Error: [ErrNoLetter].
func (q *Queue) ReplayOne(ctx context.Context, id int64) error {
	letter, err := q.store.Letter(ctx, id)
	if err != nil {
		return err
	}
	if err := q.running(); err != nil {
		return err
	}
	n, err := q.revive(ctx, []Letter{letter}, id)
	if err == nil && n == 0 {
		return ErrNoLetter
	}
	return err
}

// revive moves letters with ids up to last back into their lanes, those of each instance in one step.
func (q *Queue) revive(ctx context.Context, letters []Letter, last int64) (done int, err error) {
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
		n, err := q.reviveFor(ctx, instance, ids[instance])
		if done += n; err != nil {
			return done, fmt.Errorf("replay for %s: %w", instance, err)
		}
	}
	return done, nil
}

func (q *Queue) reviveFor(ctx context.Context, instance string, ids []int64) (int, error) {
	defer q.inOrder(instance)()
	at := time.Now()
	revived, err := q.store.Revive(ctx, ids, at)
	if err != nil {
		return 0, err
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, r := range revived {
		q.append(q.lane(r.Lane, r.Scope), Item{Seq: r.Seq, Scope: r.Scope, At: at})
	}
	return len(revived), nil
}
