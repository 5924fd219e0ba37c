package sink

import (
	"context"

	"github.com/evosink/evosink/core/event"
)

// A Log gives back events that were emitted earlier, as long as retention holds them.
type Log interface {
	// Replay calls f, in order of publication, for every event after the one with the id given, up to the newest at
	// the time of the call or later. It returns the position in the log, of all instances, up to which it has read; see [Host].Reached.
	// It stops at f's first error and returns it. An id that the log does not hold is [ErrExpired].
	//
	// If instance is not empty, only its events count, for f and for after, and of those only the ones since it was created: a
	// name may have belonged to somebody else before. An instance that was never created has all events of its name.
	Replay(ctx context.Context, after, instance string, f func(*event.Event) error) (end int64, err error)
}
