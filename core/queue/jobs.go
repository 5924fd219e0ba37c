package queue

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/evosink/evosink/core/bus"
	"github.com/evosink/evosink/core/retry"
)

// jobs has purges and requeues done in all shards: here in those that are held, by their owners, through the store, in
// the others; and it does this node's parts of what others have asked for.
type jobs struct {
	queue *Queue
	store Steering      // nil for a store of one node, which owns all shards
	found chan struct{} // shards were acquired, or a job is to be looked at again

	mu    sync.Mutex
	doing map[int64]bool // by id; guarded by mu
}

// begin makes the jobs of a queue.
func (j *jobs) begin(q *Queue) {
	j.queue, j.found, j.doing = q, make(chan struct{}, 1), map[int64]bool{}
	j.store, _ = q.store.(Steering)
}

// look has run look at the store's jobs.
func (j *jobs) look() { signal(j.found) }

// run does this node's parts of jobs until ctx ends. While the queue closes none begins.
func (j *jobs) run(ctx context.Context) {
	for ctx.Err() == nil && j.queue.running() == nil {
		changed := j.store.Changed()
		all, err := j.store.Jobs(ctx)
		if err != nil {
			if ctx.Err() == nil {
				j.queue.log.Error().Err(err).Msg("purges and requeues of other nodes are not seen; trying again")
			}
			retry.Sleep(ctx.Done(), time.Second)
			continue
		}
		for _, job := range all {
			if len(j.pending(job)) > 0 && j.claim(job.ID) {
				j.queue.keepers.Go(func() { j.do(ctx, job.ID) })
			}
		}
		select {
		case <-changed:
		case <-j.found:
		case <-j.queue.stopping:
		case <-ctx.Done():
		}
	}
}

// pending returns the shards held here in which a job is not done.
func (j *jobs) pending(job Job) (shards []int) {
	for _, p := range job.Parts {
		if !p.Done && j.queue.holdings.get(p.Shard) != nil {
			shards = append(shards, p.Shard)
		}
	}
	return shards
}

func (j *jobs) claim(id int64) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.doing[id] {
		return false
	}
	j.doing[id] = true
	return true
}

// do does what is left of a job in the shards held here. What fails is tried again after a pause, if the shard is still
// held then.
func (j *jobs) do(ctx context.Context, id int64) {
	err := j.doParts(ctx, id)
	failed := err != nil && !errors.Is(err, ErrNoJob) && !errors.Is(err, bus.ErrFenced)
	if failed && ctx.Err() == nil && j.queue.running() == nil {
		j.queue.log.Error().Err(err).Msg("a purge or requeue for another node failed; trying again")
		j.queue.waitRunning(ctx, time.Second)
	}
	j.mu.Lock()
	delete(j.doing, id)
	j.mu.Unlock()
	j.look()
}

// doParts reads the job, which is claimed by now: what was read before may be from a time when a part was not done yet.
func (j *jobs) doParts(ctx context.Context, id int64) error {
	job, err := j.get(ctx, id)
	if err != nil {
		return err
	}
	shards, leases := j.pending(job), map[int]bus.Lease{}
	lost, err := j.in(ctx, job, shards, func(done map[*holding]int) error {
		var errs []error
		for h, n := range done {
			leases[h.lease.Shard] = h.lease
			errs = append(errs, j.advance(context.WithoutCancel(ctx), h, id, n, false))
		}
		return errors.Join(errs...)
	})
	for _, shard := range shards {
		if h := j.queue.holdings.get(shard); err == nil && h != nil && !slices.Contains(lost, shard) {
			if of, counted := leases[shard]; !counted || of.Epoch == h.lease.Epoch {
				err = j.advance(ctx, h, id, 0, true)
			}
		}
	}
	return err
}

// advance notes what was done of a job in a shard. One that is another node's is dropped, else its part would be begun
// again and again.
func (j *jobs) advance(ctx context.Context, h *holding, id int64, count int, done bool) error {
	err := j.store.AdvanceJob(ctx, h.lease, id, count, done)
	j.queue.fenced(h, err)
	return err
}

// in does a job in shards that are held here, and calls step after each piece of work with how many deliveries or dead
// letters it was in each. It returns the shards that were lost meanwhile, in which something may be left to do.
func (j *jobs) in(
	ctx context.Context, job Job, shards []int, step func(done map[*holding]int) error,
) (lost []int, err error) {
	q, of := j.queue, map[int]*holding{}
	if len(shards) == 0 {
		return nil, nil
	}
	for _, shard := range shards {
		of[shard] = q.holdings.get(shard)
	}
	if job.Kind == PurgeJob {
		err = j.purge(ctx, job.Purge, of, step)
	} else {
		err = j.requeue(ctx, job, of, step)
	}
	for _, shard := range shards {
		if h := of[shard]; h == nil || q.holdings.get(shard) != h {
			lost = append(lost, shard)
		}
	}
	return lost, err
}

// shards returns the shards that a job for an instance, or for all, concerns, by whether they are held here.
func (j *jobs) shards(instance string) (here, elsewhere []int) {
	for shard := range j.queue.shards {
		switch {
		case instance != "" && shard != j.queue.shardOf(instance):
		case j.store == nil || j.queue.holdings.get(shard) != nil:
			here = append(here, shard)
		default:
			elsewhere = append(elsewhere, shard)
		}
	}
	return here, elsewhere
}

// everywhere does a job in all shards that it concerns and returns the sum of what was done, also when ctx ends before
// all is; what others have not done by then they leave. progress is told of the sum now and then.
func (j *jobs) everywhere(ctx context.Context, job Job, instance string, progress func(sum int)) (sum int, err error) {
	here, elsewhere := j.shards(instance)
	for first := true; first || len(elsewhere) > 0; first = false {
		job.Parts, job.At = nil, time.Now()
		for _, shard := range elsewhere {
			job.Parts = append(job.Parts, Part{Shard: shard})
		}
		var id int64
		if len(elsewhere) > 0 {
			if id, err = j.store.AddJob(ctx, job); err != nil {
				return sum, err
			}
		}
		var lost []int
		lost, err = j.in(ctx, job, here, func(done map[*holding]int) error {
			for _, n := range done {
				sum += n
			}
			progress(sum)
			return nil
		})
		if id != 0 {
			var n int
			n, err = j.await(ctx, id, err, func(n int) { progress(sum + n) })
			sum += n
		}
		if err == nil && len(lost) > 0 && j.store == nil {
			err = ErrNotHeld
		}
		if err != nil {
			return sum, err
		}
		here, elsewhere = nil, lost // their next owners go on
	}
	return sum, nil
}

// await waits until all parts of a job are done, or ends it if the rest of the work has failed, with that error, or ctx
// ends. It returns how much was done.
func (j *jobs) await(ctx context.Context, id int64, failed error, progress func(n int)) (n int, err error) {
	for err = failed; err == nil; {
		changed := j.store.Changed()
		now, done := 0, false
		if now, done, err = j.count(ctx, id); err != nil {
			break
		}
		if now > n {
			n = now
			progress(n)
		}
		if done {
			return n, j.store.DeleteJob(ctx, id)
		}
		select {
		case <-changed:
		case <-ctx.Done():
			err = ctx.Err()
		case <-j.queue.stopping:
			return n, ErrClosed // the owners go on
		}
	}
	brief, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	if now, _, failed := j.count(brief, id); failed == nil {
		n = now
	}
	if end := j.store.DeleteJob(brief, id); end != nil {
		err = errors.Join(err, end)
	}
	return n, err
}

// count returns how much of a job is done, and whether all is.
func (j *jobs) count(ctx context.Context, id int64) (n int, done bool, err error) {
	job, err := j.get(ctx, id)
	if err != nil {
		return 0, false, err
	}
	done = true
	for _, p := range job.Parts {
		n += p.Count
		done = done && p.Done
	}
	return n, done, nil
}

func (j *jobs) get(ctx context.Context, id int64) (Job, error) {
	all, err := j.store.Jobs(ctx)
	if err != nil {
		return Job{}, err
	}
	at := slices.IndexFunc(all, func(job Job) bool { return job.ID == id })
	if at < 0 {
		return Job{}, ErrNoJob
	}
	return all[at], nil
}

// purge removes what waits in the lanes of a selector in some shards, and calls step after each transaction.
func (j *jobs) purge(
	ctx context.Context, f Selector, of map[int]*holding, step func(removed map[*holding]int) error,
) error {
	waiting := map[*lane]int{} // what comes from now on stays
	j.queue.eachLane(f, func(_ *scheduler, l *lane) {
		if l.waiting > 0 && of[l.holding.lease.Shard] == l.holding {
			waiting[l] = l.waiting
		}
	})
	for l, left := range waiting {
		s := j.queue.scheduler(l.Sink)
		for more := true; more; {
			h, err := j.queue.holdings.use(l.holding.lease.Shard) // until what was removed is counted
			if err != nil {
				break // its next owner goes on
			}
			var removed Purged
			most := min(left, purgeAtOnce)
			removed, err = s.purge(ctx, l, PurgeRequest{Max: most})
			left -= removed.Count
			more = removed.Count == most && left > 0
			if err == nil && removed.Count > 0 {
				err = step(map[*holding]int{l.holding: removed.Count})
			}
			h.work.Done()
			if err != nil && !errors.Is(err, bus.ErrFenced) {
				return err
			}
		}
	}
	return nil
}

// requeue moves the dead letters of a job back into their lanes, those of some shards, a page at a time, and calls step
// after each with how many it has moved in each shard, also when the page has failed.
func (j *jobs) requeue(
	ctx context.Context, job Job, of map[int]*holding, step func(moved map[*holding]int) error,
) error {
	for after := int64(0); after < job.Last; {
		began := time.Now()
		page, err := j.queue.store.DeadLetters(ctx, job.Filter, Page{After: after, Limit: min(job.Rate, requeueAtOnce)})
		if err != nil || len(page) == 0 {
			return err
		}
		after = page[len(page)-1].ID
		var instances []string
		ids := map[string][]int64{}
		for _, l := range page {
			if l.ID > job.Last || of[j.queue.shardOf(l.Instance)] == nil {
				continue
			}
			if ids[l.Instance] == nil {
				instances = append(instances, l.Instance)
			}
			ids[l.Instance] = append(ids[l.Instance], l.ID)
		}
		moved, by := 0, map[*holding]int{}
		var using []*holding // until what was moved is counted
		for _, instance := range instances {
			if h, err := j.queue.holdings.use(j.queue.shardOf(instance)); err == nil {
				using = append(using, h)
			}
			var n int
			n, err = j.requeueFor(ctx, instance, ids[instance])
			if n > 0 {
				moved += n
				by[of[j.queue.shardOf(instance)]] += n
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
		for _, h := range using {
			h.work.Done()
		}
		if err != nil {
			return err
		}
		pace := time.Second * time.Duration(moved) / time.Duration(job.Rate)
		if after < job.Last && !j.queue.waitRunning(ctx, pace-time.Since(began)) {
			return errors.Join(ctx.Err(), j.queue.running())
		}
	}
	return nil
}

// requeueFor moves dead letters of one instance back into their lanes.
func (j *jobs) requeueFor(ctx context.Context, instance string, ids []int64) (int, error) {
	h, err := j.queue.holdings.use(j.queue.shardOf(instance))
	if err != nil {
		return 0, err
	}
	defer h.work.Done()
	defer j.queue.inOrder(instance)()
	var lanes []*lane // of which nothing may be stored behind what comes back
	j.queue.eachLane(Selector{Instance: instance}, func(_ *scheduler, l *lane) { lanes = append(lanes, l) })
	for _, l := range lanes {
		if err := j.queue.scheduler(l.Sink).settle(ctx, l); err != nil {
			return 0, err
		}
	}
	at := time.Now()
	requeued, err := j.queue.store.Requeue(ctx, h.lease, ids, at)
	if err != nil {
		j.queue.fenced(h, err)
		return 0, err
	}
	for _, r := range requeued {
		s := j.queue.scheduler(r.Sink)
		s.mu.Lock()
		if !h.gone() {
			s.append(s.lane(h, r.LaneKey, r.Scope), Delivery{Seq: r.Seq, Scope: r.Scope, At: at}, r.Bytes)
		}
		s.unlock()
	}
	return len(requeued), nil
}
