package core

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/evosink/evosink/core/sink"
)

// A sinkSet is a hub's enabled sinks, and what delivers to those of mode Queued.
type sinkSet struct {
	sinks  []*sinkRunner
	queued *dispatcher   // nil without queued sinks
	limit  time.Duration // of closing all of them
}

// startSinks starts the sinks, and then what delivers to queued ones. After an error closeSinks closes what has
// started.
func (s *sinkSet) startSinks(ctx context.Context) error {
	for _, r := range s.sinks {
		if err := r.get().Start(ctx); err != nil {
			return fmt.Errorf("start sink %s: %w", r.name, err)
		}
		r.log.Info().Stringer("mode", r.mode).Msg("sink started")
	}
	if s.queued != nil {
		return s.queued.queue.Start(ctx)
	}
	return nil
}

// graceSinks is how long a sink may take to notice that its time is over.
const graceSinks = 2 * time.Second

// closeSinks closes the queue and all sinks at the same time, a queued sink as soon as its own deliveries have ended:
// none takes the time of another. When ctx ends, or their time is over, they cut off what they still do; one that does
// not return even so is left behind. It returns what has not ended well.
func (s *sinkSet) closeSinks(ctx context.Context) (what []error) {
	ctx, cancel := context.WithTimeout(ctx, s.limit)
	defer cancel()
	late, giveUp := context.WithCancel(context.WithoutCancel(ctx))
	defer giveUp()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(graceSinks, giveUp) })()

	drained := make(chan struct{})
	var undelivered error
	go func() {
		defer close(drained)
		if s.queued != nil {
			undelivered = s.queued.queue.Close(ctx)
		}
	}()
	closed := make([]chan error, len(s.sinks))
	for i, r := range s.sinks {
		closed[i] = make(chan error, 1)
		go func() {
			if r.mode == sink.Queued {
				select {
				case <-r.idle:
				case <-drained:
				case <-late.Done():
				}
			}
			closed[i] <- r.close(ctx)
		}()
	}
	select {
	case <-drained:
		if undelivered != nil {
			what = append(what, undelivered)
		}
	case <-late.Done():
		what = append(what, errors.New("the queue does not return"))
	}
	if s.queued != nil {
		if cut := s.queued.queue.CutOff(); cut.Attempts > 0 {
			what = append(what, errors.New(cut.String()))
		}
	}
	for i, r := range s.sinks {
		select {
		case err := <-closed[i]:
			closed[i] <- err
		case <-late.Done():
		}
		select {
		case err := <-closed[i]:
			if err != nil {
				what = append(what, fmt.Errorf("sink %s: %w", r.name, err))
			}
		default:
			what = append(what, fmt.Errorf("sink %s does not return from Close", r.name))
		}
	}
	return what
}
