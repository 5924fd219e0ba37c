package queue

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"
)

// Counts are a sink's figures since the start.
type Counts struct {
	Put       int64 // deliveries put
	Absorbed  int64 // that were there before
	Refused   int64 // that found no room and became dead letters
	Dropped   int64 // that were dropped to make room
	Delivered int64
	Failed    int64 // attempts
	Retried   int64 // failed attempts after which the delivery stayed in its lane
	Buried    int64 // deliveries that became dead letters after waiting
	Panics    int64
	Restarts  int64
}

// Stats are a sink's figures for metrics.
type Stats struct {
	Sink string
	Counts
	Waiting int // deliveries
	Lanes   int
	Parked  int           // lanes that wait for a pause to end, for settings, or for their sink
	Open    int           // addresses whose circuit breaker is not closed
	Busy    int           // attempts that run
	Oldest  time.Time     // when the oldest delivery that waits was put, about; zero if none waits
	Lag     time.Duration // its age

	LastError string    // of the last attempt that failed since the start, whatever has gone well since
	FailedAt  time.Time // when that was; zero if none failed
}

// Stats returns the figures of every sink that runs or has deliveries waiting, by name.
func (q *Queue) Stats() []Stats {
	q.mu.Lock()
	defer q.mu.Unlock()
	sinks := map[string]*Stats{}
	for name, o := range q.outlets {
		s := &Stats{Sink: name, Counts: o.count, Busy: o.busy, LastError: o.failure, FailedAt: o.failedAt}
		for _, g := range o.gates {
			if g.breaker != closed {
				s.Open++
			}
		}
		sinks[name] = s
	}
	now := time.Now()
	for key, l := range q.lanes {
		s := sinks[key.Sink]
		if s == nil {
			s = &Stats{Sink: key.Sink}
			sinks[key.Sink] = s
		}
		s.add(l, now)
	}
	out := make([]Stats, 0, len(sinks))
	for _, s := range sinks {
		out = append(out, *s)
	}
	slices.SortFunc(out, func(a, b Stats) int { return cmp.Compare(a.Sink, b.Sink) })
	return out
}

func (s *Stats) add(l *lane, now time.Time) {
	if l.waiting == 0 {
		return
	}
	s.Lanes++
	s.Waiting += l.waiting
	if l.state == parked {
		s.Parked++
	}
	if s.Oldest.IsZero() || l.oldest.Before(s.Oldest) {
		s.Oldest, s.Lag = l.oldest, max(0, now.Sub(l.oldest))
	}
}

// Health returns why deliveries of a sink stand still although nobody paused them: it has panicked and is being restarted. nil
// means that they go on.
func (q *Queue) Health(sink string) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if o := q.outlets[sink]; o != nil {
		return o.broken
	}
	return nil
}

// Reachable returns an error with what went wrong last if the circuit breaker of every address that a sink has deliveries for is open because
// attempts failed; one that has asked for a pause is there.
func (q *Queue) Reachable(sink string) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	o := q.outlets[sink]
	if o == nil || len(o.gates) == 0 {
		return nil
	}
	for _, g := range o.gates {
		if g.breaker == closed || g.trips == 0 {
			return nil
		}
	}
	return fmt.Errorf("no target can be reached: %s", o.failure)
}

// A Line is what waits in one lane, and where the lane stands.
type Line struct {
	Backlog
	State   string // "ready", "running", "waiting" (until Head.Next), "parked"
	Breaker string // of its address: "closed", "open", "half-open"; "" if the sink does not run
	Paused  *Pause // nil if it is not
}

// Backlog returns the lanes of a selector in which deliveries wait, sorted. Oldest is exact for a lane whose first delivery was tried
// or that has not fallen behind, and otherwise a little too old.
func (q *Queue) Backlog(f Selector) []Line {
	out := q.waitingLines(f)
	slices.SortFunc(out, func(a, b Line) int {
		return cmp.Or(cmp.Compare(a.Sink, b.Sink), cmp.Compare(a.Target, b.Target), cmp.Compare(a.Instance, b.Instance))
	})
	return out
}

func (q *Queue) waitingLines(f Selector) (out []Line) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for key, l := range q.lanes {
		if l.waiting > 0 && f.Has(key) {
			out = append(out, q.describe(l))
		}
	}
	return out
}

func (q *Queue) describe(l *lane) Line {
	out := Line{
		Backlog: Backlog{Lane: l.Lane, Scope: l.scope, Waiting: l.waiting, Newest: l.tail, Oldest: l.oldest, Head: l.head},
		State:   l.state.String(),
	}
	if l.gate != nil {
		out.Breaker = l.gate.breaker.String()
	}
	if p, ok := q.pauseOf(l.Lane); ok {
		out.Paused = &p
	}
	return out
}

// Waiting returns the first deliveries that wait in a lane, at most limit.
func (q *Queue) Waiting(ctx context.Context, l Lane, limit int) ([]Item, error) {
	return q.store.Window(ctx, l, 0, 1<<63-1, limit, windowBytes)
}
