package queue

import (
	"context"
	"fmt"
	"time"

	"github.com/evosink/evosink/core/retry"
	"github.com/evosink/evosink/core/sink"
)

// restartPauses are those before a sink that panicked is restarted, as long as it does not hold out for steadyAfter:
// from 1 s to 1 min, and up to a fifth more by chance.
var restartPauses = retry.Backoff{First: 1200 * time.Millisecond, Longest: 72 * time.Second, Jitter: 1.0 / 6}

const steadyAfter = 5 * time.Minute

// restarts is what a scheduler knows of the restarts of its sink. The goroutine of a restart uses count alone.
type restarts struct {
	underWay bool
	count    int       // since it was steady
	lastAt   time.Time // when the last one was over
}

// beginRestart restarts the sink, which has panicked, in a goroutine of its own. Until that is done no attempt
// begins; its lanes wait.
func (s *scheduler) beginRestart() {
	if s.restarts.underWay || !s.runs {
		return
	}
	s.restarts.underWay = true
	s.running.Add(1)
	go func() {
		defer s.running.Done()
		s.restart()
	}()
}

func (s *scheduler) restart() {
	r := &s.restarts
	if time.Since(r.lastAt) > steadyAfter {
		r.count = 0
	}
	var fresh sink.Sink
	for fresh == nil {
		r.count++
		if !retry.Sleep(s.stopping, restartPauses.Pause(r.count)) {
			break
		}
		var err error
		if fresh, err = callRestart(s.ctx, s.Restart); err != nil {
			fresh = nil
			s.log.Error().Err(err).Msg("sink cannot be restarted; trying again")
		}
	}
	s.mu.Lock()
	defer s.unlock()
	if r.underWay, r.lastAt = false, time.Now(); fresh != nil {
		s.sink, s.broken = abilitiesOf(fresh), nil
		s.counts.Restarts++
		s.log.Warn().Msg("sink restarted after a panic")
	}
}

// callRestart calls f and turns a panic into an error.
func callRestart[S any](ctx context.Context, f func(context.Context) (S, error)) (s S, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the sink panicked: %v", p)
		}
	}()
	return f(ctx)
}
