package deliveries

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/evosink/evosink/adapters/postgres/internal/database"
	"github.com/evosink/evosink/core/bus"
	"github.com/evosink/evosink/core/queue"
)

// follow looks how often pauses and jobs were changed, on all nodes, until the store is closed.
func (s *Store) follow() {
	for s.life.Err() == nil {
		rung := s.db.Bell.Rung(database.Queue)
		bus.Retry(s.life, func() bool {
			err := s.look(s.life)
			if err != nil && s.life.Err() == nil {
				s.logger.Error().Err(err).Msg("the pauses of other nodes cannot be read")
			}
			return err == nil
		})
		s.db.Bell.Wait(s.life, rung, nil)
	}
}

// look reads how often pauses and jobs were changed.
func (s *Store) look(ctx context.Context) error {
	var pauses, jobs int64
	_, err := s.db.One(ctx, `SELECT max(value) FILTER (WHERE key = 'pauses_revision'), max(value) FILTER (WHERE key = 'jobs_revision')
		FROM @.meta`, nil, &pauses, &jobs)
	if err == nil {
		s.know(pauses, jobs)
	}
	return err
}

// know takes over revisions, 0 if one is not known, and wakes what waits on Changed if they are new.
func (s *Store) know(pauses, jobs int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if pauses <= s.pauses.Load() && jobs <= s.jobs {
		return
	}
	s.pauses.Store(max(pauses, s.pauses.Load()))
	s.jobs = max(jobs, s.jobs)
	close(s.changed)
	s.changed = make(chan struct{})
}

// Know tells how often pauses were changed, as it was read together with events: those are held by what was paused before.
func (s *Store) Know(pauses int64) {
	if pauses > s.pauses.Load() {
		s.know(pauses, 0)
	}
}

// PausesRevision implements [queue.Steering].
func (s *Store) PausesRevision() int64 { return s.pauses.Load() }

// Changed implements [queue.Steering].
func (s *Store) Changed() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.changed
}

// pausesChanged and jobsChanged count a change in the statement that they are put before.
const (
	pausesChanged = "WITH changed AS (UPDATE @.meta SET value = value + 1 WHERE key = 'pauses_revision' RETURNING value), "
	jobsChanged   = "WITH changed AS (UPDATE @.meta SET value = value + 1 WHERE key = 'jobs_revision' RETURNING value), "
)

// Pauses implements [queue.Store].
func (s *Store) Pauses(ctx context.Context) (out []queue.Pause, err error) {
	err = s.db.Each(ctx, func(rows pgx.Rows) error {
		var l lane
		var reason []byte
		var at *time.Time
		err := rows.Scan(&l.sink, &l.target, &l.instance, &l.record, &reason, &at)
		key := l.key()
		out = append(out, queue.Pause{
			Selector:   queue.Selector{Sink: key.Sink, Target: key.Target, Instance: key.Instance},
			InstanceID: key.InstanceID, Reason: string(reason), At: utc(at),
		})
		return err
	}, "SELECT sink, target, instance, record, reason, at FROM @.queue_pauses")
	if err != nil {
		return nil, err
	}
	return out, nil
}

// changePauses runs a change of pauses, and tells all nodes.
func (s *Store) changePauses(ctx context.Context, change string, args ...any) error {
	var revision int64
	_, err := s.db.Write(ctx, pausesChanged+"done AS ("+change+") SELECT value FROM changed", args, &revision)
	if err != nil {
		return err
	}
	s.know(revision, 0)
	s.db.Bell.Ring(database.Queue)
	return nil
}

// PutPause implements [queue.Store].
func (s *Store) PutPause(ctx context.Context, p queue.Pause) error {
	return s.changePauses(ctx, `INSERT INTO @.queue_pauses AS p VALUES ($1, $2, $3, $4, $5, $6)
		ON CONFLICT (sink, target, instance, record) DO UPDATE SET reason = excluded.reason, at = excluded.at`,
		[]byte(p.Sink), []byte(p.Target), []byte(p.Instance), []byte(p.InstanceID), []byte(p.Reason), stamp(p.At))
}

// DeletePause implements [queue.Store].
func (s *Store) DeletePause(ctx context.Context, of queue.Selector) error {
	return s.changePauses(ctx, "DELETE FROM @.queue_pauses WHERE sink = $1 AND target = $2 AND instance = $3",
		[]byte(of.Sink), []byte(of.Target), []byte(of.Instance))
}

// DeletePausesOf implements [queue.Store].
func (s *Store) DeletePausesOf(ctx context.Context, instance, id string) error {
	return s.changePauses(ctx, "DELETE FROM @.queue_pauses WHERE instance = $1 AND record IN ('', $2)",
		[]byte(instance), []byte(id))
}

// changedJobs tells all nodes of a change of jobs.
func (s *Store) changedJobs(revision int64) {
	s.know(0, revision)
	s.db.Bell.Ring(database.Queue)
}

// AddJob implements [queue.Steering].
func (s *Store) AddJob(ctx context.Context, j queue.Job) (id int64, err error) {
	var shards []int32
	var counts []int64
	var done []bool
	for _, p := range j.Parts {
		shards, counts, done = append(shards, int32(p.Shard)), append(counts, int64(p.Count)), append(done, p.Done)
	}
	j.Parts = nil
	job, err := json.Marshal(j)
	if err != nil {
		return 0, fmt.Errorf("encode a job: %w", err)
	}
	var revision int64
	_, err = s.db.Write(ctx, jobsChanged+`job AS (INSERT INTO @.queue_jobs (job, at) VALUES ($1, $2) RETURNING id),
		parts AS (INSERT INTO @.queue_parts SELECT job.id, u.* FROM job, unnest($3::integer[], $4::bigint[], $5::boolean[]) AS u)
		SELECT changed.value, job.id FROM changed, job`, []any{job, j.At, shards, counts, done}, &revision, &id)
	if err != nil {
		return 0, err
	}
	s.changedJobs(revision)
	return id, nil
}

// Jobs implements [queue.Steering].
func (s *Store) Jobs(ctx context.Context) (all []queue.Job, err error) {
	err = s.db.Each(ctx, func(rows pgx.Rows) error {
		var id int64
		var job []byte
		var shard *int
		var p queue.Part
		if err := rows.Scan(&id, &job, &shard, &p.Count, &p.Done); err != nil {
			return err
		}
		if len(all) == 0 || all[len(all)-1].ID != id {
			var j queue.Job
			if err := json.Unmarshal(job, &j); err != nil {
				return fmt.Errorf("decode a job: %w", err)
			}
			j.ID = id
			all = append(all, j)
		}
		if shard != nil {
			p.Shard = *shard
			j := &all[len(all)-1]
			j.Parts = append(j.Parts, p)
		}
		return nil
	}, `SELECT j.id, j.job, p.shard, coalesce(p.count, 0), coalesce(p.done, false)
		FROM @.queue_jobs j LEFT JOIN @.queue_parts p ON p.job = j.id ORDER BY j.id, p.shard`)
	if err != nil {
		return nil, err
	}
	return all, nil
}

// AdvanceJob implements [queue.Steering].
func (s *Store) AdvanceJob(ctx context.Context, by bus.Lease, id int64, count int, done bool) error {
	l := columnsOf(by)
	var stale []int32
	var revision int64
	_, err := s.db.Write(ctx, "SELECT stale, revision FROM @.queue_advance_job($1, $2, $3, $4, $5, $6)",
		[]any{l.groups, l.shards, l.epochs, id, count, done}, &stale, &revision)
	if err != nil {
		return err
	}
	if err := l.refusal(stale); err != nil {
		return err
	}
	if revision == 0 {
		return queue.ErrNoJob
	}
	s.changedJobs(revision)
	return nil
}

// DeleteJob implements [queue.Steering].
func (s *Store) DeleteJob(ctx context.Context, id int64) error {
	var revision int64
	_, err := s.db.Write(ctx, jobsChanged+"done AS (DELETE FROM @.queue_jobs WHERE id = $1) SELECT value FROM changed",
		[]any{id}, &revision)
	if err != nil {
		return err
	}
	s.changedJobs(revision)
	return nil
}
