package memory

import (
	"context"
	"slices"

	"github.com/evosink/evosink/core/bus"
	"github.com/evosink/evosink/core/queue"
)

// Erase implements [queue.Store].
func (q *Queue) Erase(ctx context.Context, e bus.Erasure) (n queue.Erased, err error) {
	if err := ctx.Err(); err != nil {
		return n, err
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.letters = slices.DeleteFunc(q.letters, func(l queue.DeadLetter) bool {
		gone := l.Instance == e.Instance && e.Has(l.InstanceID)
		if gone {
			n.DeadLetters++
		}
		return gone
	})
	q.attempts = slices.DeleteFunc(q.attempts, func(a queue.Attempt) bool {
		gone := a.Instance == e.Instance && e.Has(a.InstanceID)
		if gone {
			n.Attempts++
		}
		return gone
	})
	q.seen = slices.DeleteFunc(q.seen, func(s *stored) bool {
		gone := s.Instance == e.Instance && e.Has(s.InstanceID) && s.waiting == 0
		if gone {
			n.Remembered++
			q.bytes -= len(s.Data) + len(s.Extras)
			delete(q.events, identity{s.Instance, s.InstanceID, s.ID})
		}
		return gone
	})
	return n, nil
}
