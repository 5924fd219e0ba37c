// Package sink is the contract between evosink's core and whatever delivers events out of
// it. A sink is a folder with a [Spec] and one line in main's table; it knows this package
// and core/event, nothing else of the project. Package sinktest holds every sink to it.
package sink

import (
	"context"
	"encoding/json"
	"net/http"

	"github.com/evosink/evosink/core/event"
)

// A Sink delivers events to targets of one kind.
//
// The core calls Start once before the first Deliver, and Close once after the last one
// has returned. Deliver is called from many goroutines at once, but never twice at once for
// the same target and instance: the core keeps their order.
type Sink interface {
	// Start makes the sink ready to accept deliveries and returns promptly; a target that cannot be
	// reached is no error, connecting goes on inside. ctx ends with the sink's life.
	Start(ctx context.Context) error

	// Deliver hands one event to one target. A sink of mode [Queued] returns nil only when the
	// target has the event for good; otherwise an error, marked by [Permanent],
	// [RetryAfter] or [Unavailable] where it knows more than "try again".
	// A sink of mode [Live] never blocks.
	Deliver(ctx context.Context, d *Delivery) error

	// Close stops the sink: it lets go on what is under way until ctx ends, then ends it, and
	// returns when nothing of the sink is left running. Close without Start is safe.
	Close(ctx context.Context) error
}

// A Delivery is one event on its way to one target. It is shared and must not be changed.
type Delivery struct {
	Event    *event.Event
	Scope    Scope
	Target   Target
	Settings json.RawMessage // the instance's settings of this sink, as stored; nil if it has none
	Attempt  int             // counts from 1
	Key      string          // idempotency key, the same in every attempt; see the function Key
	Position int64           // where the engine's log has the event; 0 for a queued sink, and where there is no log
}

// Scope says why a target receives an event.
type Scope uint8

// The scopes: by the sink's global switch, or by the instance's own settings.
const (
	Global Scope = iota + 1
	Instance
)

// String returns "global" or "instance".
func (s Scope) String() string {
	switch s {
	case Global:
		return "global"
	case Instance:
		return "instance"
	}
	return "unknown scope"
}

// A Target is one address that a sink delivers to for an instance. It names the lane and the breaker,
// so it must be stable: what may change while deliveries wait (a URL, headers) is
// looked up in the settings when the delivery is made.
type Target string

// Mode says how the core hands events to a sink.
type Mode uint8

const (
	// Live sinks get every event of their node as it happens, at most once, and never
	// block: a client that is not connected misses it, unless the sink recovers it from the log.
	Live Mode = iota + 1
	// Queued sinks get every event at least once, in order per target and instance,
	// retried for as long as it takes.
	Queued
)

// String returns "live" or "queued".
func (m Mode) String() string {
	switch m {
	case Live:
		return "live"
	case Queued:
		return "queued"
	}
	return "unknown mode"
}

// Abilities that a sink may have beyond [Sink], found by assertion.
type (
	// A Mounter serves HTTP under Pattern, a pattern of [http.ServeMux] such as "/socket.io/".
	Mounter interface {
		Pattern() string
		http.Handler
	}

	// A Checker tells its health: nil when it could deliver now. The text is shown to operators.
	Checker interface {
		Check(ctx context.Context) error
	}

	// A Targeter chooses the targets of an event itself, for example one of several webhooks of
	// an instance. scopes is why the sink gets the event at all, settings the instance's, nil if none. Without
	// this ability an event has one target per scope, "global" or "instance".
	Targeter interface {
		Targets(e *event.Event, scopes []Scope, settings json.RawMessage) []Destination
	}

	// A Retrier has its own retry policy for a delivery; others have [DefaultPolicy]. It is asked after each failure and
	// before each attempt, so it must not take long.
	Retrier interface {
		Retry(d *Delivery) Policy
	}

	// A Batcher takes several deliveries to one address at once: consecutive events of a lane, and those of other lanes
	// beside them, in order per lane. The answer has an error or nil for each. Where one of a target and instance has
	// failed, those behind it are delivered again whatever their answers, because they were to come after it; so a
	// Batcher that can stop there should. If it cannot, the target must take again what it took too early: one that
	// drops what it has seen, by an id for deduplication, has to get it under another id. Deliver is then not called.
	Batcher interface {
		DeliverBatch(ctx context.Context, d []*Delivery) []error
	}

	// An Addresser names what stands behind a target, a host or a broker: lanes with the same address share a circuit
	// breaker and a limit of concurrency. Without this ability a global target is one address for all instances, and a
	// target of scope [Instance] is an address of its own for each.
	Addresser interface {
		Address(s Scope, t Target, instance string) string
	}

	// A Hoster names the host that a delivery goes to, such as scheme, name and port of its URL; "" if it does not know.
	// When a host is [Unavailable], its circuit breaker keeps all targets behind it, of all instances, and one attempt
	// in all probes it, until that has [Connected] or is over. What a host has answered with, as told by [Report],
	// concerns the one target only. It is asked before each attempt and must return promptly. Without this ability each
	// address is a host of its own.
	Hoster interface {
		Host(d *Delivery) string
	}
)

// A Destination is one target of an event together with the reason for it.
type Destination struct {
	Scope  Scope
	Target Target
}
