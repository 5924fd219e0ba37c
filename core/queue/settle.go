package queue

import (
	"context"
	"sync"
	"time"
)

// A ledger holds outcomes that the store has not written down yet. Delivering goes on meanwhile: what is lost of it in a crash is
// delivered twice, never not at all. While the store writes some down, the next ones gather. Queue.mu guards it.
type ledger struct {
	changed *sync.Cond // there are more of them, or the queue ends
	entries []entry
	writing int // how many the store has in hand
}

type entry struct {
	Outcome
	lane *lane
}

const (
	ledgerLength = 4096 // outcomes at most; then nothing is tried until the store has caught up
	settleAtOnce = 1024 // of them go into one transaction
)

func (q *Queue) record(l *lane, o Outcome) {
	o.Lane = l.Lane
	l.unsettled++
	q.ledger.entries = append(q.ledger.entries, entry{o, l})
	if len(q.ledger.entries) == 1 {
		q.ledger.changed.Signal()
	}
}

// overdue reports whether the store is so far behind that nothing more may be tried.
func (q *Queue) overdue() bool { return len(q.ledger.entries)+q.ledger.writing >= ledgerLength }

// settle writes the ledger down until ctx ends, or until it is empty and the queue has ended.
func (q *Queue) settle(ctx context.Context) {
	for q.await() {
		batch := q.page()
		outcomes := make([]Outcome, len(batch))
		for i, e := range batch {
			outcomes[i] = e.Outcome
		}
		if !q.write(ctx, outcomes) {
			return
		}
		q.settled(batch)
	}
}

// await waits for outcomes; it is false when there are none and the queue has ended.
func (q *Queue) await() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.ledger.entries) == 0 {
		if q.stage == ended {
			return false
		}
		q.ledger.changed.Wait()
	}
	return true
}

// page takes the oldest outcomes.
func (q *Queue) page() []entry {
	q.mu.Lock()
	defer q.mu.Unlock()
	n := min(len(q.ledger.entries), settleAtOnce)
	batch := q.ledger.entries[:n:n]
	q.ledger.entries = q.ledger.entries[n:]
	q.ledger.writing = n
	return batch
}

// write has the store settle outcomes, as often as it takes. It is false when ctx ended first.
func (q *Queue) write(ctx context.Context, outcomes []Outcome) bool {
	for pause := 50 * time.Millisecond; ; pause = min(2*pause, 5*time.Second) {
		err := q.store.Settle(ctx, outcomes)
		if err == nil {
			return true
		}
		if ctx.Err() == nil {
			q.log.Error().Err(err).Int("outcomes", len(outcomes)).Msg("deliveries made could not be written down; trying again")
		}
		if !wait(ctx, pause) {
			return false
		}
	}
}

func (q *Queue) settled(batch []entry) {
	q.mu.Lock()
	defer q.mu.Unlock()
	overdue := q.overdue()
	q.ledger.writing = 0
	for _, e := range batch {
		e.lane.unsettled--
		q.forget(e.lane)
	}
	if overdue {
		q.wakeWorkers()
	}
	select {
	case q.dirty <- struct{}{}:
	default:
	}
}

// wait reports whether d has passed before ctx ended.
func wait(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
