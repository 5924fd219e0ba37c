package sink

import (
	"errors"
	"time"
)

// Permanent marks an error that no further attempt can cure: the delivery
// becomes a dead letter at once. Permanent(nil) is nil.
func Permanent(err error) error { return mark(err, outcome{permanent: true}) }

// RetryAfter marks an error after which the target wants to be left alone for at least d, as
// an HTTP answer with Retry-After does. RetryAfter(nil, d) is nil.
func RetryAfter(err error, d time.Duration) error {
	return mark(err, outcome{after: max(d, 0), hasAfter: true})
}

// Unavailable marks an error that says nothing about the event: the target is
// down. It uses up no attempt and opens the target's circuit breaker, until its pause is over or the
// sink calls [Host].Available. Unavailable(nil) is nil.
func Unavailable(err error) error { return mark(err, outcome{unavailable: true}) }

// IsPermanent reports whether err, or an error it wraps, was marked by [Permanent].
func IsPermanent(err error) bool { return find(err).permanent }

// IsUnavailable reports whether err, or an error it wraps, was marked by [Unavailable].
func IsUnavailable(err error) bool { return find(err).unavailable }

// AfterOf returns the wait that [RetryAfter] attached to err or an error it wraps.
func AfterOf(err error) (d time.Duration, ok bool) {
	o := find(err)
	return o.after, o.hasAfter
}

type outcome struct {
	permanent, unavailable, hasAfter bool
	after                            time.Duration
}

type marked struct {
	error
	outcome
}

func (m *marked) Unwrap() error { return m.error }

func mark(err error, o outcome) error {
	if err == nil {
		return nil
	}
	return &marked{err, o}
}

// find returns the outermost mark: the last one that was set knew most.
func find(err error) outcome {
	var m *marked
	if errors.As(err, &m) {
		return m.outcome
	}
	return outcome{}
}
