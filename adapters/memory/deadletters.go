package memory

import (
	"context"
	"slices"
	"time"

	"github.com/evosink/evosink/core/bus"
	"github.com/evosink/evosink/core/queue"
)

// addDeadLetter makes a dead letter of a delivery; the caller takes it out of its lane. Held: mu.
func (q *Queue) addDeadLetter(key queue.LaneKey, it item, why queue.Reason, p queue.Progress, at time.Time) {
	q.letter++
	q.letters = append(q.letters, queue.DeadLetter{
		ID: q.letter, LaneKey: key, Scope: it.scope, EventID: it.event.ID, EventName: it.event.Name,
		Reason: why, Progress: p, Died: at, Event: it.event.Event,
	})
}

// DeadLetters implements [queue.DeadLetters].
func (q *Queue) DeadLetters(_ context.Context, f queue.DeadLetterFilter, p queue.Page) ([]queue.DeadLetter, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	limit := p.Limit
	if limit <= 0 {
		limit = 100
	}
	var out []queue.DeadLetter
	for i := range q.letters {
		l := q.letters[i]
		if p.Newest {
			l = q.letters[len(q.letters)-1-i]
		}
		if len(out) == limit {
			break
		}
		if behind(l.ID, p) && matches(f, l) {
			l.Event = nil
			out = append(out, l)
		}
	}
	return out, nil
}

func behind(id int64, p queue.Page) bool {
	return p.After == 0 || p.Newest && id < p.After || !p.Newest && id > p.After
}

func matches(f queue.DeadLetterFilter, l queue.DeadLetter) bool {
	return f.Has(l.LaneKey) && (f.ID == 0 || f.ID == l.ID) && (f.EventID == "" || f.EventID == l.EventID) &&
		(f.Reason == "" || f.Reason == l.Reason) && contains(l.Error, f.Error)
}

// CountDeadLetters implements [queue.DeadLetters].
func (q *Queue) CountDeadLetters(_ context.Context, f queue.DeadLetterFilter) (n int, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, l := range q.letters {
		if matches(f, l) {
			n++
		}
	}
	return n, nil
}

// DeadLetter implements [queue.DeadLetters].
func (q *Queue) DeadLetter(_ context.Context, id int64) (queue.DeadLetter, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if i, ok := q.deadLetterAt(id); ok {
		return q.letters[i], nil
	}
	return queue.DeadLetter{}, queue.ErrNoDeadLetter
}

func (q *Queue) deadLetterAt(id int64) (int, bool) {
	return slices.BinarySearchFunc(q.letters, id, func(l queue.DeadLetter, id int64) int { return int(l.ID - id) })
}

// Requeue implements [queue.DeadLetters].
func (q *Queue) Requeue(ctx context.Context, lease bus.Lease, ids []int64, at time.Time) ([]queue.Requeued, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if err := q.fence(lease); err != nil {
		return nil, err
	}
	var out []queue.Requeued
	for _, id := range ids {
		i, ok := q.deadLetterAt(id)
		if !ok {
			continue
		}
		l := q.letters[i]
		q.letters = slices.Delete(q.letters, i, i+1)
		q.newest++
		q.add(l.LaneKey, item{seq: q.newest, scope: l.Scope, at: at, event: &stored{Event: l.Event, at: at}})
		out = append(out, queue.Requeued{ID: id, LaneKey: l.LaneKey, Scope: l.Scope, Seq: q.newest, Bytes: queue.Size(l.Event)})
	}
	return out, nil
}

// DeleteDeadLetters implements [queue.DeadLetters].
func (q *Queue) DeleteDeadLetters(ctx context.Context, f queue.DeadLetterFilter, limit int) (n int, err error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.letters = slices.DeleteFunc(q.letters, func(l queue.DeadLetter) bool {
		if n == limit || !matches(f, l) {
			return false
		}
		n++
		return true
	})
	return n, nil
}
