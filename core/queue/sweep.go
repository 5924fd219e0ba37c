package queue

import (
	"context"
	"time"

	"github.com/evosink/evosink/core/retry"
)

// Sweeping follows activity, at most every sweepPause, and comes by every sweepAge for what has only grown old.
const (
	sweepPause = time.Second
	sweepAge   = 10 * time.Minute
)

// sweep has the store remove what retention does not hold any more, until ctx ends.
func (q *Queue) sweep(ctx context.Context) {
	timer := time.NewTimer(sweepAge)
	defer timer.Stop()
	for {
		select {
		case <-q.dirty:
		case <-timer.C:
		case <-ctx.Done():
			return
		}
		if err := q.store.Sweep(ctx, q.config.retention()); err != nil && ctx.Err() == nil {
			q.log.Warn().Err(err).Msg("old entries of the queue could not be removed; trying again later")
		}
		timer.Reset(sweepAge)
		if !retry.Sleep(ctx.Done(), sweepPause) {
			return
		}
	}
}
