package queue

import (
	"time"

	"github.com/evosink/evosink/core/retry"
	"github.com/evosink/evosink/core/sink"
)

// A breaker is a circuit breaker. Open, it lets no attempt through until its timer fires; half open, one attempt
// probes, and its success closes it for all.
type breaker struct {
	state breakerState
	trips int      // without a success between them
	probe *attempt // the one that probes
	timer timer    // set while it is open
}

type breakerState uint8

const (
	closed   breakerState = iota // everything goes through
	open                         // nothing does, until the timer
	halfOpen                     // one attempt does, to probe
)

var breakerStates = [...]string{"closed", "open", "half-open"}

func (s breakerState) String() string { return breakerStates[s] }

func (b *breaker) admits() bool { return b.state == closed || b.state == halfOpen && b.probe == nil }

// start has an attempt be the probe if one is due.
func (b *breaker) start(a *attempt) {
	if b.state == halfOpen {
		b.probe = a
	}
}

// end says that an attempt is over, whatever came of it.
func (b *breaker) end(a *attempt) {
	if b.probe == a {
		b.probe = nil
	}
}

// succeeded closes a breaker that was half open.
func (b *breaker) succeeded() {
	if b.state == halfOpen {
		b.state = closed
	}
	if b.state == closed {
		b.trips = 0
	}
}

// nextWait returns how long the breaker stays open now: longer each time until there is a success. What fell together
// is not probed together.
func (b *breaker) nextWait(c *Config) time.Duration {
	b.trips++
	return retry.Backoff{First: c.BreakerWait, Longest: c.BreakerMax, Jitter: 0.2}.Pause(b.trips)
}

// A host is what endpoints connect to, see [sink.Hoster]; an endpoint of a sink that does not tell has one of its own.
// Its breaker is for unavailability only: a host that cannot be reached cannot be reached by any tenant, so one
// attempt in all probes it.
type host struct {
	key       string // "" if it is one endpoint's own
	breaker   breaker
	endpoints int // that connect to it
	attempts  int // in the air
	waiting   turns[*endpoint]
	answered  bool // an attempt has reached it; until then few are made at once
}

// An endpoint is one target: the instance's own, or one that all instances share. It limits how many attempts are in
// the air for it, and has the breaker for failures that it has answered with.
type endpoint struct {
	key    string
	owner  string // the instance, if it is its own; "" for a target of the operator's
	tenant *tenant
	host   *host
	own    host // the one that it uses as long as its sink names none
	lanes  int  // that lead to it

	ready    turns[*lane] // by instance
	attempts int          // in the air
	breaker  breaker
	fails    int                 // in a row
	failed   map[string]struct{} // the instances with events that have failed since the last success, for a shared target
	downAt   time.Time           // when it went down; zero if it did not since the last success
	toldAt   time.Time           // when the log was told last that it is down
	failing  bool                // an attempt has failed since the last success
	place    place
	scope    sink.Scope
}

// place says which list an endpoint stands in.
type place uint8

const (
	nowhere  place = iota
	inLine         // it can start an attempt
	atHost         // its host's breaker is open, or the host has not answered yet
	atTenant       // its instance has as many attempts in the air as it may
)

// A tenant is an instance as far as targets of its own are concerned.
type tenant struct {
	attempts  int // in the air
	endpoints int
	waiting   fifo[*endpoint]
}

// hasFailed counts a failure that the endpoint has answered with, and reports whether its breaker should open. Events
// of a single instance that a shared target refuses do not close it to the others: it takes failures of several
// instances, with no success between them.
func (e *endpoint) hasFailed(instance string, limit int) bool {
	e.fails++
	if e.scope == sink.Instance {
		return e.breaker.state == halfOpen || e.fails >= limit
	}
	if e.failed == nil {
		e.failed = map[string]struct{}{}
	}
	if len(e.failed) < limit {
		e.failed[instance] = struct{}{}
	}
	return e.breaker.state == halfOpen || len(e.failed) >= limit
}

// hasAnswered closes the breaker of a host that was half open: it has answered, or at least taken a connection.
func (h *host) hasAnswered() {
	h.answered = true
	h.breaker.succeeded() // what waits is let in when the attempt ends
}

// down reports whether attempts at the endpoint keep failing: a breaker has opened because of that, or would have if
// more than one instance had events for it. An endpoint that has asked for a pause is there.
func (e *endpoint) down(limit int) bool {
	return e.host.breaker.state != closed || e.breaker.state != closed && e.breaker.trips > 0 || e.fails >= limit
}

// breakerState returns the state of the breaker that keeps the endpoint.
func (e *endpoint) breakerState() breakerState {
	if e.host.breaker.state != closed {
		return e.host.breaker.state
	}
	return e.breaker.state
}
