package remote

import (
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// A Limiter allows each bucket of clients so many actions per second, such as attempts with a wrong key or lines in the
// log. It remembers at most Buckets of them; while all of those are busy, further ones share one limit. Set the fields
// before the first use; any number of goroutines may call its methods at once.
type Limiter struct {
	Rate    rate.Limit // actions per second and bucket
	Burst   int        // actions at once and bucket
	Buckets int        // most buckets that are remembered; 0 means 10,000

	mu sync.Mutex
	// mu guards the fields below.
	limits map[netip.Prefix]*rate.Limiter
	rest   *rate.Limiter // of the buckets that are not remembered
}

// Allow reports whether the client may act once more now, and counts it if so.
func (l *Limiter) Allow(c Client) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.of(c.Bucket()).Allow()
}

// Exhausted reports whether the client has no action left now, without counting one.
func (l *Limiter) Exhausted(c Client) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	limit, ok := l.limits[c.Bucket()]
	if !ok {
		return l.rest != nil && len(l.limits) >= l.most() && l.rest.Tokens() < 1
	}
	return limit.Tokens() < 1
}

// of returns the limit of a bucket. When too many are remembered those that are as good as new are forgotten.
func (l *Limiter) of(bucket netip.Prefix) *rate.Limiter {
	if limit, ok := l.limits[bucket]; ok {
		return limit
	}
	if l.limits == nil {
		l.limits = map[netip.Prefix]*rate.Limiter{}
		l.rest = rate.NewLimiter(l.Rate, l.Burst)
	}
	if len(l.limits) >= l.most() && l.rest.Tokens() >= float64(l.Burst) { // at most one sweep per refill of the rest
		now := time.Now()
		for b, limit := range l.limits {
			if limit.TokensAt(now) >= float64(l.Burst) {
				delete(l.limits, b)
			}
		}
	}
	if len(l.limits) >= l.most() {
		return l.rest
	}
	limit := rate.NewLimiter(l.Rate, l.Burst)
	l.limits[bucket] = limit
	return limit
}

func (l *Limiter) most() int {
	if l.Buckets > 0 {
		return l.Buckets
	}
	return 10_000
}
