package sink

import (
	"errors"
	"math"
	"time"
)

// A Policy says how a queued delivery that fails is tried again. Begin with [DefaultPolicy].
type Policy struct {
	// Attempts is how often a delivery is tried in all; 0 sets no limit but MaxAge. Default 10.
	Attempts int
	// Base is the wait after the first failure, and the shortest there is. Default 5 s.
	Base time.Duration
	// Max is the longest wait, before jitter. Default 300 s.
	Max time.Duration
	// Factor is what each wait is multiplied by to give the next; 1 keeps Base, and then there is no jitter. Default 2.
	Factor float64
	// Jitter is the share by which a wait varies, as much up as down: 0.2 is 80 % to 120 %. Default 0.2.
	Jitter float64
	// MaxAge is how long an event may have waited, counted from when it was queued, and still be tried again after a
	// failure. It is what ends a target that is unavailable for good; 0 sets no limit. Every event is tried at least
	// once. Default 72 h.
	MaxAge time.Duration
	// Timeout bounds one attempt. Default 30 s.
	Timeout time.Duration
	// OnExhausted says what becomes of a delivery that has used up Attempts or MaxAge. Default [Bury].
	OnExhausted Exhausted
}

// Exhausted says what becomes of an exhausted delivery.
type Exhausted uint8

// What becomes of an exhausted delivery.
const (
	Bury  Exhausted = iota // it becomes a dead letter, and the next one of its lane is tried
	Pause                  // its target is paused with everything that waits, until it is resumed
)

// String returns the word of configurations, "dead" or "pause".
func (e Exhausted) String() string {
	if e == Pause {
		return "pause"
	}
	return "dead"
}

// UnmarshalText reads the word of configurations.
func (e *Exhausted) UnmarshalText(text []byte) error {
	switch string(text) {
	case "dead":
		*e = Bury
	case "pause":
		*e = Pause
	default:
		return errors.New(`on_exhausted must be "dead" or "pause"`)
	}
	return nil
}

// DefaultPolicy returns Evolution API's arithmetic of webhooks, with a maximum age.
func DefaultPolicy() Policy {
	return Policy{
		Attempts: 10, Base: 5 * time.Second, Max: 300 * time.Second, Factor: 2, Jitter: 0.2,
		MaxAge: 72 * time.Hour, Timeout: 30 * time.Second,
	}
}

// Delay returns the wait after the n-th failure, n from 1: Base·Factor^(n-1), at most Max, varied by
// Jitter with random, which is from 0 up to 1, and never below Base.
func (p Policy) Delay(n int, random float64) time.Duration {
	if p.Factor <= 1 {
		return p.Base
	}
	d := math.Min(float64(p.Base)*math.Pow(p.Factor, float64(n-1)), float64(p.Max))
	d += d * p.Jitter * (2*random - 1)
	return max(p.Base, time.Duration(d))
}

// Longest returns the longest wait that [Policy.Delay] gives.
func (p Policy) Longest() time.Duration {
	return max(p.Base, time.Duration(float64(p.Max)*(1+p.Jitter)))
}
