package httpapi

import (
	"fmt"
	"net/http"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// maxRates is how many instances' rates are remembered. While all of those are busy, further ones share one.
const maxRates = 10_000

// rates bounds the events per second of each instance. Any number of goroutines may use it at once.
type rates struct {
	each  rate.Limit // 0 sets no limit
	burst int

	mu sync.Mutex
	// mu guards the fields below.
	limits map[string]*rate.Limiter
	rest   *rate.Limiter // of the instances that are not remembered
}

func newRates(e Events) *rates {
	burst := max(e.MaxBatch, int(2*e.RateEach)) // a request that is allowed at all passes some time
	return &rates{
		each: rate.Limit(e.RateEach), burst: burst,
		limits: map[string]*rate.Limiter{}, rest: rate.NewLimiter(rate.Limit(e.RateEach), burst),
	}
}

// take counts n events of an instance, or none and returns the 429 that says when there will be room for them.
func (r *rates) take(instance string, n int) error {
	if r.each == 0 {
		return nil
	}
	now := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	reserved := r.of(instance, now).ReserveN(now, n)
	wait := reserved.DelayFrom(now)
	if reserved.OK() && wait == 0 {
		return nil
	}
	reserved.CancelAt(now)
	return &problem{
		status: http.StatusTooManyRequests, retryAfter: max(time.Second, (wait + time.Second - 1).Truncate(time.Second)),
		message: []string{fmt.Sprintf("Instance %.80q may emit %g events per second (events.rate_each); none of this request were taken",
			instance, float64(r.each))},
	}
}

// of returns the limiter of an instance. When too many are remembered, those that are as good as new are forgotten. Held: mu.
func (r *rates) of(instance string, now time.Time) *rate.Limiter {
	if limit, ok := r.limits[instance]; ok {
		return limit
	}
	if len(r.limits) >= maxRates && r.rest.TokensAt(now) >= float64(r.burst) { // at most one sweep per refill of the rest
		for name, limit := range r.limits {
			if limit.TokensAt(now) >= float64(r.burst) {
				delete(r.limits, name)
			}
		}
	}
	if len(r.limits) >= maxRates {
		return r.rest
	}
	limit := rate.NewLimiter(r.each, r.burst)
	r.limits[instance] = limit
	return limit
}
