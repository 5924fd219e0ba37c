package websocket

import (
	"context"

	"golang.org/x/sync/semaphore"

	"github.com/evosink/evosink/core/uses"
)

// turns bounds how many replays read the log at once, in each namespace and in all. Those over a bound wait, in the
// order in which they came; one namespace's never take more than its share of all turns. Any number of goroutines may
// use it at once.
type turns struct {
	all  *semaphore.Weighted
	each uses.Table[string, *semaphore.Weighted] // by namespace, of those in which a replay reads or waits
}

func newTurns(all, each int) *turns {
	t := &turns{all: semaphore.NewWeighted(int64(all))}
	t.each.New = func() *semaphore.Weighted { return semaphore.NewWeighted(int64(each)) }
	return t
}

// take waits for a turn in the namespace, until ctx ends. done ends the turn.
func (t *turns) take(ctx context.Context, namespace string) (done func(), err error) {
	own := t.each.Acquire(namespace)
	if err := own.Acquire(ctx, 1); err != nil {
		t.each.Release(namespace)
		return nil, err
	}
	if err := t.all.Acquire(ctx, 1); err != nil {
		own.Release(1)
		t.each.Release(namespace)
		return nil, err
	}
	return func() {
		t.all.Release(1)
		own.Release(1)
		t.each.Release(namespace)
	}, nil
}
