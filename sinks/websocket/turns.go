package websocket

import (
	"context"
	"sync"

	"golang.org/x/sync/semaphore"
)

// turns bounds how many replays read the log at once, in each namespace and in all. Those over a bound wait, in the
// order in which they came; one namespace's never take more than its share of all turns. Any number of goroutines may
// use it at once.
type turns struct {
	all  *semaphore.Weighted
	each int64

	mu sync.Mutex
	// mu guards the field below.
	busy map[string]*namespaceTurns // namespaces in which a replay reads or waits
}

type namespaceTurns struct {
	turns *semaphore.Weighted
	users int // replays that read or wait
}

func newTurns(all, each int) *turns {
	return &turns{all: semaphore.NewWeighted(int64(all)), each: int64(each), busy: map[string]*namespaceTurns{}}
}

// take waits for a turn in the namespace, until ctx ends. done ends the turn.
func (t *turns) take(ctx context.Context, namespace string) (done func(), err error) {
	n := t.enter(namespace)
	if err := n.turns.Acquire(ctx, 1); err != nil {
		t.leave(namespace, n)
		return nil, err
	}
	if err := t.all.Acquire(ctx, 1); err != nil {
		n.turns.Release(1)
		t.leave(namespace, n)
		return nil, err
	}
	return func() {
		t.all.Release(1)
		n.turns.Release(1)
		t.leave(namespace, n)
	}, nil
}

func (t *turns) enter(namespace string) *namespaceTurns {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := t.busy[namespace]
	if n == nil {
		n = &namespaceTurns{turns: semaphore.NewWeighted(t.each)}
		t.busy[namespace] = n
	}
	n.users++
	return n
}

func (t *turns) leave(namespace string, n *namespaceTurns) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if n.users--; n.users == 0 {
		delete(t.busy, namespace)
	}
}
