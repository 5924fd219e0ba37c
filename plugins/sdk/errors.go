package sdk

import (
	"errors"
	"time"
)

// Permanent marks an error that no further attempt can cure: the event becomes a dead letter. Permanent(nil) is nil.
func Permanent(err error) error { return mark(err, marked{permanent: true}) }

// RetryAfter marks an error after which the target wants to be left alone for d. RetryAfter(nil, d) is nil.
func RetryAfter(err error, d time.Duration) error { return mark(err, marked{after: &d}) }

// Unavailable marks an error that says nothing about the event: the target is down. It uses up no attempt. Unavailable(nil) is nil.
func Unavailable(err error) error { return mark(err, marked{unavailable: true}) }

type marked struct {
	error
	permanent, unavailable bool
	after                  *time.Duration
}

func (m *marked) Unwrap() error { return m.error }

func mark(err error, m marked) error {
	if err == nil {
		return nil
	}
	m.error = err
	return &m
}

// maxError bounds the text of an error, in bytes; evosink keeps no more.
const maxError = 4 << 10

// nack is the answer that an error makes.
func nack(id string, err error) reply {
	text := err.Error()
	r := reply{Type: "nack", ID: id, Error: text[:min(len(text), maxError)]}
	var m *marked
	if errors.As(err, &m) {
		r.Permanent, r.Unavailable = m.permanent, m.unavailable
		if m.after != nil {
			ms := m.after.Milliseconds()
			r.RetryAfter = &ms
		}
	}
	return r
}
