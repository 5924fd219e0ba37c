package sink

import (
	"context"

	"github.com/evosink/evosink/core/event"
)

// A Log gives back events that were emitted earlier, as long as retention holds them. Each has a position, above 0;
// positions grow, from instance to instance too, and are those of [Delivery] and [Host].Reached.
//
// If instance is not empty, only its events count, and of those only the ones since it was created: a name may have
// belonged to another owner before. An instance that was never created has all events of its name.
type Log interface {
	// Find returns the position of the event with that id, or [ErrExpired] if the log does not hold it. Ids are unique
	// within an instance; if several events have the id, it is the first.
	Find(ctx context.Context, id, instance string) (position int64, err error)
	// Replay calls f, in order, for every event behind a position, up to the newest at the time of the call or later.
	// It returns the position up to which it has read, also if the last events there were not the instance's. It stops
	// at f's first error and returns it. [ErrExpired] says that events behind the position, or behind those that f has
	// got, were removed (of all instances, if instance is empty), or that the position is from before the instance was
	// created. An engine may remove events of one instance and keep older ones of others; of one instance it removes
	// the oldest first.
	Replay(ctx context.Context, after int64, instance string, f func(position int64, e *event.Event) error) (end int64, err error)
}
