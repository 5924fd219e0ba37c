// Package retry has what is done between attempts: pauses that grow, and the wait itself. It stands on the standard
// library alone, so that every room may import it. Deliveries are tried again by sink.Policy, which operators
// configure; this is for everything else.
package retry

import (
	"math/rand/v2"
	"time"
)

// A Backoff is how long to pause after failures in a row: First after the first one, twice as long after each further
// one, at most Longest. Both are above 0.
type Backoff struct {
	First, Longest time.Duration
	// Jitter is the share of a pause, from 0 to 1, that chance takes away at most, so that what failed together is not
	// tried again together.
	Jitter float64
}

// Pause returns the pause after the n-th failure in a row, n from 1.
func (b Backoff) Pause(n int) time.Duration {
	d, doublings := b.Longest, max(n, 1)-1
	if b.First <= b.Longest>>doublings {
		d = b.First << doublings
	}
	return d - time.Duration(rand.Float64()*b.Jitter*float64(d))
}

// Do calls try until it returns true, with pauses between the calls. It returns false if done is closed during a pause.
func (b Backoff) Do(done <-chan struct{}, try func() bool) bool {
	for n := 1; !try(); n++ {
		if !Sleep(done, b.Pause(n)) {
			return false
		}
	}
	return true
}

// Sleep waits for d, or until done is closed, such as that of a context. It reports whether d has passed first.
func Sleep(done <-chan struct{}, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-done:
		return false
	}
}
