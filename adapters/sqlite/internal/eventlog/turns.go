package eventlog

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/semaphore"
)

const (
	// ReplayTurns is how many replays read, or hand over what they have read, at once; the others wait in line. The
	// rest of the read pool is left to subscriptions that are behind.
	ReplayTurns = 1
	// replayBytes is about how much a replay reads in its turn, and so holds in memory.
	replayBytes = 128 << 10
	// replayTurn is how long handing over may take before the turn passes on: the reader is slow then, and waits
	// without one. A turn that was shorter passes on after twice its time, so that replays leave half of one
	// processor to everything else.
	replayTurn = 50 * time.Millisecond
)

// turns shares the database between replays: each gets a page, then all others that wait get one. So however many
// clients come back at once, they delay publishing no more than a few would, and a client that reads slowly holds up
// no other. Any number of goroutines may use it at once.
type turns struct {
	room          *semaphore.Weighted // first come, first served
	reading, most atomic.Int64        // how many read now, and did at most
}

// take waits for a turn, or for the end of ctx, and runs read in it, and then use, during which the turn may pass on.
func (t *turns) take(ctx context.Context, read, use func() error) error {
	if err := t.room.Acquire(ctx, 1); err != nil {
		return err
	}
	pass := sync.OnceFunc(func() { t.room.Release(1) })
	begin := time.Now()
	defer func() { time.AfterFunc(min(time.Since(begin), replayTurn), pass) }()
	n := t.reading.Add(1)
	for most := t.most.Load(); n > most && !t.most.CompareAndSwap(most, n); most = t.most.Load() {
	}
	err := read()
	t.reading.Add(-1)
	if err != nil {
		return err
	}
	defer time.AfterFunc(replayTurn, pass).Stop()
	return use()
}

// ReplayedAtOnce returns how many replays have read at once at most; never more than [ReplayTurns].
func (l *Log) ReplayedAtOnce() int { return int(l.turns.most.Load()) }
