package queue

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"
)

// The pause before a sink that panicked is restarted: it doubles from the first to the longest, as long as the sink
// does not hold out for steadyAfter.
const (
	firstMend   = time.Second
	longestMend = time.Minute
	steadyAfter = 5 * time.Minute
)

// mend replaces a sink that has panicked. No other worker uses it meanwhile; its lanes wait.
func (q *Queue) mend(ctx context.Context, o *outlet) {
	defer q.mended(o)
	if time.Since(o.mendedAt) > steadyAfter { // mends and mendedAt are only used by who mends
		o.mends = 0
	}
	for q.pauseBeforeMend(ctx, o) {
		s, err := restart(ctx, o.Restart)
		if err == nil {
			q.mu.Lock()
			o.use(s)
			o.broken = nil
			o.count.Restarts++
			q.mu.Unlock()
			o.log.Warn().Msg("sink restarted after a panic")
			return
		}
		o.log.Error().Err(err).Msg("sink cannot be restarted; trying again")
	}
}

func (q *Queue) pauseBeforeMend(ctx context.Context, o *outlet) bool {
	d := min(firstMend<<min(o.mends, 10), longestMend)
	o.mends++
	return q.waitRunning(ctx, d+time.Duration(rand.Float64()*0.2*float64(d)))
}

// waitRunning reports whether d has passed before the queue stopped.
func (q *Queue) waitRunning(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return q.running() == nil
	case <-q.stopping:
		return false
	case <-ctx.Done():
		return false
	}
}

func (q *Queue) mended(o *outlet) {
	q.mu.Lock()
	defer q.mu.Unlock()
	o.mending, o.mendedAt = false, time.Now()
	o.wait.Broadcast()
}

// restart calls f and turns a panic into an error.
func restart[S any](ctx context.Context, f func(context.Context) (S, error)) (s S, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the sink panicked: %v", p)
		}
	}()
	return f(ctx)
}
