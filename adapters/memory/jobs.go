package memory

import (
	"context"
	"slices"
	"time"

	"github.com/evosink/evosink/core/bus"
	"github.com/evosink/evosink/core/queue"
)

// PausesRevision implements [queue.Steering].
func (q *Queue) PausesRevision() int64 { return q.revision.Load() }

// Changed implements [queue.Steering].
func (q *Queue) Changed() <-chan struct{} {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.changed
}

// change wakes what waits on Changed. Held: mu.
func (q *Queue) change() {
	close(q.changed)
	q.changed = make(chan struct{})
}

// AddJob implements [queue.Steering].
func (q *Queue) AddJob(ctx context.Context, j queue.Job) (id int64, err error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.job++
	j.ID, j.Parts = q.job, slices.Clone(j.Parts)
	q.jobs = append(q.jobs, j)
	q.change()
	return j.ID, nil
}

// Jobs implements [queue.Steering].
func (q *Queue) Jobs(ctx context.Context) ([]queue.Job, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	out := slices.Clone(q.jobs)
	for i := range out {
		out[i].Parts = slices.Clone(out[i].Parts)
	}
	return out, nil
}

// AdvanceJob implements [queue.Steering].
func (q *Queue) AdvanceJob(ctx context.Context, l bus.Lease, id int64, count int, done bool) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if err := q.fence(l); err != nil {
		return err
	}
	at := slices.IndexFunc(q.jobs, func(j queue.Job) bool { return j.ID == id })
	if at < 0 {
		return queue.ErrNoJob
	}
	for i := range q.jobs[at].Parts {
		if p := &q.jobs[at].Parts[i]; p.Shard == l.Shard {
			p.Count += count
			p.Done = p.Done || done
		}
	}
	q.change()
	return nil
}

// DeleteJob implements [queue.Steering].
func (q *Queue) DeleteJob(ctx context.Context, id int64) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.jobs = slices.DeleteFunc(q.jobs, func(j queue.Job) bool { return j.ID == id })
	q.change()
	return nil
}

// sweepJobs removes old jobs that are done and that nothing waits for. Held: mu.
func (q *Queue) sweepJobs(r queue.Retention) {
	q.jobs = slices.DeleteFunc(q.jobs, func(j queue.Job) bool {
		return time.Since(j.At) > r.SeenAge && !slices.ContainsFunc(j.Parts, func(p queue.Part) bool { return !p.Done })
	})
}
