package webhook

import (
	"errors"
	"slices"
	"time"

	"github.com/evosink/evosink/core/sink"
)

// Retry is what Evolution API's WEBHOOK_RETRY_* variables say, and what it has no variable for. The delivery
// queue does the retrying. As there, 0 means the default, except for Jitter, which 0 switches off, and MaxAge.
type Retry struct {
	MaxAttempts  int           `koanf:"max_attempts" env:"WEBHOOK_RETRY_MAX_ATTEMPTS" help:"attempts in all before a delivery becomes a dead letter"`
	InitialDelay time.Duration `koanf:"initial_delay" env:"WEBHOOK_RETRY_INITIAL_DELAY_SECONDS" help:"wait after the first failure"`
	Exponential  bool          `koanf:"use_exponential_backoff" env:"WEBHOOK_RETRY_USE_EXPONENTIAL_BACKOFF" help:"double the wait with every failure; off: no jitter either"`
	MaxDelay     time.Duration `koanf:"max_delay" env:"WEBHOOK_RETRY_MAX_DELAY_SECONDS" help:"longest wait, before jitter"`
	Jitter       float64       `koanf:"jitter_factor" env:"WEBHOOK_RETRY_JITTER_FACTOR" help:"share of a wait that chance adds or takes away, 0 to 1"`
	NonRetryable []int         `koanf:"non_retryable_status_codes" env:"WEBHOOK_RETRY_NON_RETRYABLE_STATUS_CODES" help:"answers that no further attempt can cure, beside 405, 410, 411, 413, 414, 415, 431, 501 and 505, which are never tried again"`
	MaxAge       time.Duration `koanf:"max_age" env:"WEBHOOK_RETRY_MAX_AGE" help:"how long an event for a receiver that is down is kept; 0 is for ever"`
	OnExhausted  string        `koanf:"on_exhausted" env:"WEBHOOK_RETRY_ON_EXHAUSTED" help:"then: dead (a dead letter, and on with the next) or pause (the webhook waits until it is resumed)"`
}

func defaultRetry() Retry {
	p := sink.DefaultPolicy()
	return Retry{
		MaxAttempts: p.Attempts, InitialDelay: p.Base, Exponential: true, MaxDelay: p.Max, Jitter: p.Jitter,
		NonRetryable: []int{400, 401, 403, 404, 422}, MaxAge: p.MaxAge, OnExhausted: p.OnExhausted.String(),
	}
}

func (r Retry) validate() error {
	var errs []error
	if r.MaxAttempts < 0 {
		errs = append(errs, errors.New("retry.max_attempts must not be negative (0 means 10)"))
	}
	if r.InitialDelay < 0 || r.MaxDelay < 0 {
		errs = append(errs, errors.New("retry.initial_delay and retry.max_delay must not be negative (0 means 5s and 300s)"))
	}
	if !(r.Jitter >= 0 && r.Jitter <= 1) { // NaN is neither
		errs = append(errs, errors.New("retry.jitter_factor must be between 0 and 1"))
	}
	if slices.ContainsFunc(r.NonRetryable, func(code int) bool { return code != 0 && (code < 300 || code > 599) }) {
		errs = append(errs, errors.New("retry.non_retryable_status_codes must be HTTP status codes from 300 to 599"))
	}
	if r.MaxAge < 0 {
		errs = append(errs, errors.New("retry.max_age must not be negative (0 is for ever)"))
	}
	if err := new(sink.Exhausted).UnmarshalText([]byte(r.OnExhausted)); err != nil {
		errs = append(errs, errors.New("retry."+err.Error()))
	}
	return errors.Join(errs...)
}

// policy is r in the queue's terms. timeout is the sink's own of an attempt.
func (r Retry) policy(timeout time.Duration) sink.Policy {
	p := sink.DefaultPolicy()
	p.Jitter, p.MaxAge = r.Jitter, r.MaxAge
	p.Timeout = timeout + sink.AnswerPatience + time.Second // the sink's own words about a timeout say more than the queue's
	if r.MaxAttempts > 0 {
		p.Attempts = r.MaxAttempts
	}
	if r.InitialDelay > 0 {
		p.Base = r.InitialDelay
	}
	if r.MaxDelay > 0 {
		p.Max = r.MaxDelay
	}
	if !r.Exponential {
		p.Factor = 1
	}
	_ = p.OnExhausted.UnmarshalText([]byte(r.OnExhausted)) // checked by validate
	return p
}

// Retry implements [sink.Retrier].
func (s *Sink) Retry(*sink.Delivery) sink.Policy { return s.policy }
