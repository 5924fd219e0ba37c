package queue

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/evosink/evosink/core/retry"
)

// How long Close goes on after its context has ended: for attempts to notice that they were cancelled, and for
// their results to be written down.
const (
	graceAttempts = time.Second
	graceResults  = 500 * time.Millisecond
)

var errNotWritten = errors.New("the store does not write: what was delivered last will be delivered again")

// A CutOff tells which attempts [Queue.Close] had to cancel. Their deliveries are tried again at the next start, so
// nothing is lost.
type CutOff struct {
	Attempts int       // how many were under way when the time was over
	Lanes    []LaneKey // what they were for, at most 5
}

// String names them for a log line.
func (c CutOff) String() string {
	names := make([]string, len(c.Lanes))
	for i, l := range c.Lanes {
		names[i] = fmt.Sprintf("sink %s, target %s, instance %s", l.Sink, l.Target, l.Instance)
	}
	if more := c.Attempts - len(c.Lanes); more > 0 {
		names = append(names, fmt.Sprintf("and %d more", more))
	}
	return fmt.Sprintf("deliveries that were cut off and will be tried again: %d (%s)",
		c.Attempts, strings.Join(names, "; "))
}

// CutOff returns what Close had to cancel, once it has returned.
func (q *Queue) CutOff() CutOff {
	q.mu.RLock()
	defer q.mu.RUnlock()
	return q.cutOff
}

// Close begins no attempt any more, waits for those under way until ctx ends, cancels them then ([Queue.CutOff] tells
// which), and writes down their results. What waits goes on when the queue is started again. Close returns when
// nothing is left running, a moment after ctx has ended at the latest; an error tells what had to be left: a sink that
// does not return, or a store that does not write.
func (q *Queue) Close(ctx context.Context) error {
	q.mu.Lock()
	was := q.stage
	switch was {
	case made:
		q.stage = ended
	case runs:
		q.stage = stops
		close(q.stopping)
	}
	q.mu.Unlock()
	if was != runs {
		return nil
	}
	q.door.capacity.freed() // what waits for room waits no more

	var sinks sync.WaitGroup
	for _, s := range q.sinks {
		s.stop()
		sinks.Go(func() {
			s.running.Wait()
			if s.Idle != nil {
				s.Idle()
			}
		})
	}
	err := q.waitForAttempts(ctx, &sinks)
	q.ledger.end()
	if !closedInTime(ctx, graceResults, q.ledger.done) {
		q.retire()
		<-q.ledger.done
		err = errors.Join(err, errNotWritten)
	}
	q.results.end()
	if !closedInTime(ctx, graceResults, q.results.done) {
		q.retire()
		<-q.results.done
		err = errors.Join(err, errNotWritten)
	}
	q.retire()
	q.keepers.Wait()
	q.mu.Lock()
	q.stage = ended
	q.mu.Unlock()
	return err
}

// waitForAttempts waits until no sink is used any more.
func (q *Queue) waitForAttempts(ctx context.Context, sinks *sync.WaitGroup) error {
	defer q.abort()
	done := make(chan struct{})
	go func() { // ends with the attempts
		defer close(done)
		sinks.Wait()
	}()
	if closedInTime(ctx, 0, done) {
		return nil
	}
	var cut CutOff
	q.eachLane(Selector{}, func(_ *scheduler, l *lane) {
		if l.state != attempting {
			return
		}
		if cut.Attempts++; len(cut.Lanes) < 5 {
			cut.Lanes = append(cut.Lanes, l.LaneKey)
		}
	})
	q.mu.Lock()
	q.cutOff = cut
	q.mu.Unlock()
	q.abort()
	if !closedInTime(ctx, graceAttempts, done) {
		return errors.New("a sink goes on delivering although its attempt was cancelled")
	}
	return nil
}

// closedInTime waits for done and reports whether it was closed before ctx ended, or so long afterwards.
func closedInTime(ctx context.Context, grace time.Duration, done <-chan struct{}) bool {
	select {
	case <-done:
		return true
	case <-ctx.Done():
	}
	return !retry.Sleep(done, grace)
}
