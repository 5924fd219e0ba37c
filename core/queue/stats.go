package queue

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// Counts are a sink's figures since the start.
type Counts struct {
	Put          int64 // deliveries put
	Deduplicated int64 // that were there before
	Refused      int64 // that found no room and became dead letters
	Dropped      int64 // that were dropped to make room
	Delivered    int64
	Failed       int64 // attempts
	Retried      int64 // failed attempts after which the delivery stayed in its lane
	DeadLettered int64 // deliveries that became dead letters after waiting
	Panics       int64
	Restarts     int64
}

// Stats are a sink's figures for metrics.
type Stats struct {
	Sink string
	Counts
	Waiting int // deliveries
	Lanes   int
	Parked  int           // lanes that wait for a pause to end, for settings, or for their sink
	Open    int           // addresses with a circuit breaker that is not closed
	Busy    int           // attempts that run
	Oldest  time.Time     // when the oldest delivery that waits was put, about; zero if none waits
	Lag     time.Duration // its age

	LastError string    // of the last attempt that failed since the start, whatever has gone well since
	FailedAt  time.Time // when that was; zero if none failed
}

// Stats returns the figures of every sink that runs or has deliveries waiting, by name; those of the shards held here,
// so that the sum over all nodes is right.
func (a *Admin) Stats() (out []Stats) {
	now := time.Now()
	for _, s := range a.queue.schedulers() {
		if stats := s.stats(now); s.Sink.Sink != nil || stats.Lanes > 0 {
			out = append(out, stats)
		}
	}
	slices.SortFunc(out, func(a, b Stats) int { return cmp.Compare(a.Sink, b.Sink) })
	return out
}

func (s *scheduler) stats(now time.Time) Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := Stats{Sink: s.Name, Counts: s.counts, Busy: s.attempts, LastError: s.failure, FailedAt: s.failedAt}
	seen := map[*host]bool{}
	for _, e := range s.endpoints.byKey {
		if h := e.host; h.breaker.state != closed && !seen[h] {
			seen[h] = true
			out.Open++
		}
		if e.breaker.state != closed {
			out.Open++
		}
	}
	for _, l := range s.lanes.byKey {
		out.add(l, now)
	}
	return out
}

func (s *Stats) add(l *lane, now time.Time) {
	if l.waiting == 0 {
		return
	}
	s.Lanes++
	s.Waiting += l.waiting
	if l.state == suspended {
		s.Parked++
	}
	if s.Oldest.IsZero() || l.oldest.Before(s.Oldest) {
		s.Oldest, s.Lag = l.oldest, max(0, now.Sub(l.oldest))
	}
}

// Health returns why deliveries of a sink stand still although they are not paused: it has panicked and is being
// restarted. nil means that they go on.
func (a *Admin) Health(sink string) error {
	s := a.queue.sinks[sink]
	if s == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.broken
}

// Reachable returns an error with what went wrong last if attempts fail at every target that a sink has deliveries
// for, so that their circuit breakers are open; one that has asked for a pause is there.
func (a *Admin) Reachable(sink string) error {
	s := a.queue.sinks[sink]
	if s == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range s.endpoints.byKey {
		if !e.down(s.config.BreakerFailures) {
			return nil
		}
	}
	if len(s.endpoints.byKey) == 0 {
		return nil
	}
	return fmt.Errorf("no target can be reached: %s", s.failure)
}

// A LaneStatus is what waits in one lane, and where the lane stands.
type LaneStatus struct {
	Backlog
	State   string // "ready", "running", "waiting" (until Head.Next), "parked"
	Breaker string // of its address: "closed", "open", "half-open"; "" if the sink does not run
	Paused  *Pause // nil if it is not
}

// Backlog returns the lanes of a selector in which deliveries wait, of the shards held here, sorted. Oldest is exact
// if the first delivery was tried or the lane has not fallen behind, and otherwise a little too old.
func (a *Admin) Backlog(f Selector) (out []LaneStatus) {
	a.queue.eachLane(f, func(_ *scheduler, l *lane) {
		if l.waiting == 0 {
			return
		}
		status := LaneStatus{
			Backlog: Backlog{
				LaneKey: l.LaneKey, Scope: l.scope, Waiting: l.waiting, Bytes: l.bytes, Drops: l.droppable,
				Newest: l.newest, Oldest: l.oldest, Head: l.progress,
			},
			State: l.state.String(),
		}
		if l.endpoint != nil {
			status.Breaker = l.endpoint.breakerState().String()
		}
		if p, ok := a.queue.pauses.of(l.LaneKey); ok {
			status.Paused = &p
		}
		out = append(out, status)
	})
	slices.SortFunc(out, func(a, b LaneStatus) int {
		return cmp.Or(cmp.Compare(a.Sink, b.Sink), cmp.Compare(a.Target, b.Target), cmp.Compare(a.Instance, b.Instance),
			cmp.Compare(a.InstanceID, b.InstanceID))
	})
	return out
}
