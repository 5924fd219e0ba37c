package deliveries

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/evosink/evosink/core/bus"
	"github.com/evosink/evosink/core/queue"
)

// results are the columns of results.
type results struct {
	sinks, targets, instances, records, errors, reasons [][]byte
	seqs                                                []int64
	kinds, attempts                                     []int32
	first, last, next                                   []*time.Time
	log                                                 attempts
}

// attempts are the columns of the log of attempts.
type attempts struct {
	events, sinks, targets, instances, records, errors, statuses, heads [][]byte
	numbers                                                             []int32
	at                                                                  []time.Time
	took                                                                []int64
}

func columnsOfResults(all []queue.Result) *results {
	c := &results{}
	for _, r := range all {
		l := laneOf(r.Lane)
		c.sinks, c.targets = append(c.sinks, l.sink), append(c.targets, l.target)
		c.instances, c.records = append(c.instances, l.instance), append(c.records, l.record)
		c.seqs, c.kinds = append(c.seqs, r.Seq), append(c.kinds, int32(r.Kind))
		c.attempts = append(c.attempts, int32(r.Progress.Attempts))
		c.first, c.last = append(c.first, stamp(r.Progress.First)), append(c.last, stamp(r.Progress.Last))
		c.next, c.errors = append(c.next, stamp(r.Progress.Next)), append(c.errors, []byte(r.Progress.Error))
		if c.reasons = append(c.reasons, []byte(r.Reason)); r.Attempt != nil {
			c.log.add(r.Attempt)
		}
	}
	return c
}

func (c *attempts) add(a *queue.Attempt) {
	l := laneOf(a.LaneKey)
	c.sinks, c.targets = append(c.sinks, l.sink), append(c.targets, l.target)
	c.instances, c.records = append(c.instances, l.instance), append(c.records, l.record)
	c.events, c.numbers = append(c.events, []byte(a.EventID)), append(c.numbers, int32(a.Number))
	c.at, c.took = append(c.at, a.At), append(c.took, int64(a.Took))
	c.errors, c.statuses = append(c.errors, []byte(a.Error)), append(c.statuses, []byte(a.Status))
	c.heads = append(c.heads, a.Head)
}

// Record implements [queue.Store].
func (s *Store) Record(ctx context.Context, by []bus.Lease, all []queue.Result) error {
	l, r := columnsOf(by...), columnsOfResults(all)
	a := r.log
	var stale []int32
	_, err := s.db.Write(ctx, `SELECT @.queue_record($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16,
			$17, $18, $19, $20, $21, $22, $23, $24, $25, $26)`,
		[]any{
			l.groups, l.shards, l.epochs, r.sinks, r.targets, r.instances, r.records, r.seqs, r.kinds, r.attempts,
			r.first, r.last, r.next, r.errors, r.reasons,
			a.events, a.sinks, a.targets, a.instances, a.records, a.numbers, a.at, a.took, a.errors, a.statuses, a.heads,
		}, &stale)
	if err != nil {
		return err
	}
	return l.refusal(stale)
}

// Attempts implements [queue.Store].
func (s *Store) Attempts(ctx context.Context, eventID string) (out []queue.Attempt, err error) {
	err = s.db.Each(ctx, func(rows pgx.Rows) error {
		a := queue.Attempt{EventID: eventID}
		var l lane
		var text, status []byte
		err := rows.Scan(&l.sink, &l.target, &l.instance, &l.record, &a.Number, &a.At, &a.Took, &text, &status, &a.Head)
		a.LaneKey, a.At, a.Error, a.Status = l.key(), a.At.UTC(), string(text), string(status)
		out = append(out, a)
		return err
	}, `SELECT sink, target, instance, record, number, at, took, error, status, head FROM @.queue_attempts
		WHERE event = $1 ORDER BY id`, []byte(eventID))
	if err != nil {
		return nil, err
	}
	return out, nil
}

// Purge implements [queue.Store]. The server overwrites what is gone when it needs its place.
func (s *Store) Purge(ctx context.Context, by bus.Lease, c queue.PurgeRequest) (out queue.Purged, err error) {
	l, of := columnsOf(by), laneOf(c.Lane)
	var stale []int32
	_, err = s.db.Write(ctx, `SELECT stale, count, bytes
			FROM @.queue_purge($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)`,
		[]any{
			l.groups, l.shards, l.epochs, of.sink, of.target, of.instance, of.record, c.After, c.Until, int64(c.Max),
			c.Droppable, []byte(c.Reason),
		}, &stale, &out.Count, &out.Bytes)
	if err == nil {
		err = l.refusal(stale)
	}
	if err != nil {
		return queue.Purged{}, err
	}
	return out, nil
}
