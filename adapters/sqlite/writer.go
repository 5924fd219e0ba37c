package sqlite

import (
	"context"
	"database/sql"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/sync/semaphore"

	"github.com/evosink/evosink/core/bus"
)

// One commit takes at most so many writes and about so many bytes, so that nobody waits long behind others.
const (
	maxBatch      = 512
	maxBatchBytes = 8 << 20
)

// writeOverhead is what a write counts in the queue beside its own bytes.
const writeOverhead = 512

// A write is a change to the file that joins a group commit.
type write struct {
	bytes int64
	// apply makes the change. It is called by the writer and may be called again, in another transaction, when the first one
	// failed because of somebody else. Once a statement has failed the transaction is rolled back; an error of
	// apply's own (a version that does not match) fails this write alone, and must come before anything was changed.
	apply func(*tx) error
	// after is called by the writer after the commit, in the order of the commits. It must not block. May be nil.
	after func()

	state  atomic.Int32
	result chan error // receives the outcome once
}

// States of a write.
const (
	waiting int32 = iota
	taken         // by the writer: there will be a result
	givenUp       // by whoever waited: apply will not be called
)

// A writer owns the one writing connection. Writes that wait at the same time are committed together.
//
// When a statement or the commit fails, nothing of the batch has happened. If the cause is the file or the disk (full,
// damaged, not writable), every member fails with it: the next one would meet the same. Otherwise a single member is to blame, and
// each is tried again in a transaction of its own, so that only the culprit fails.
type writer struct {
	path  string
	conn  *sql.Conn
	log   zerolog.Logger
	queue chan *write
	room  *semaphore.Weighted // bytes of the queue
	max   int64
	done  chan struct{} // closed when run has ended

	closing sync.RWMutex // read-held while a write enters the queue
	closed  bool         // guarded by closing

	// used by run only
	prepared map[string]*sql.Stmt
	head     head

	fault atomic.Pointer[error]
	stats commitStats
}

func newWriter(c Config, conn *sql.Conn, at head, log zerolog.Logger) *writer {
	return &writer{
		path: c.Path, conn: conn, head: at, log: log, max: c.MaxQueueBytes, room: semaphore.NewWeighted(c.MaxQueueBytes),
		queue: make(chan *write, maxBatch), done: make(chan struct{}), prepared: map[string]*sql.Stmt{},
	}
}

// do queues a write and waits for its outcome. While it waits for its turn ctx can end it: then nothing has happened, and
// the error is ctx's. Once the writer has taken it, do waits for the commit, which is the disk's time.
func (w *writer) do(ctx context.Context, x *write) error {
	x.result = make(chan error, 1)
	cost := min(x.bytes+writeOverhead, w.max)
	if err := w.enter(ctx, x, cost); err != nil {
		return err
	}
	defer w.room.Release(cost)
	select {
	case err := <-x.result:
		return err
	case <-ctx.Done():
	}
	if x.state.CompareAndSwap(waiting, givenUp) {
		return ctx.Err()
	}
	return <-x.result
}

func (w *writer) enter(ctx context.Context, x *write, cost int64) error {
	if err := w.room.Acquire(ctx, cost); err != nil {
		return err
	}
	w.closing.RLock()
	defer w.closing.RUnlock()
	if w.closed {
		w.room.Release(cost)
		return bus.ErrClosed
	}
	select {
	case w.queue <- x:
		return nil
	case <-ctx.Done():
		w.room.Release(cost)
		return ctx.Err()
	}
}

// close refuses further writes, and returns when those in the queue have their outcome.
func (w *writer) close() {
	w.closing.Lock()
	if !w.closed {
		w.closed = true
		close(w.queue)
	}
	w.closing.Unlock()
	<-w.done
}

// run commits until close.
func (w *writer) run() {
	defer close(w.done)
	batch := make([]*write, 0, maxBatch)
	for first := range w.queue {
		batch = w.gather(append(batch[:0], first))
		w.commit(batch)
		clear(batch)
	}
	for _, s := range w.prepared {
		s.Close()
	}
}

// gather adds what waits to a batch, and drops from it what was given up.
func (w *writer) gather(batch []*write) []*write {
	bytes := batch[0].bytes
	for len(batch) < maxBatch && bytes < maxBatchBytes {
		select {
		case x, ok := <-w.queue:
			if !ok {
				return claim(batch)
			}
			batch = append(batch, x)
			bytes += x.bytes
		default:
			return claim(batch)
		}
	}
	return claim(batch)
}

func claim(batch []*write) []*write {
	kept := batch[:0]
	for _, x := range batch {
		if x.state.CompareAndSwap(waiting, taken) {
			kept = append(kept, x)
		}
	}
	return kept
}

func (w *writer) commit(batch []*write) {
	if len(batch) == 0 {
		return
	}
	err := w.try(batch)
	switch {
	case err == nil:
	case len(batch) > 1 && !environmental(err):
		for i := range batch {
			if err := w.try(batch[i : i+1]); err != nil {
				batch[i].result <- err
			}
		}
	default:
		for _, x := range batch {
			x.result <- err
		}
	}
}

// try runs the writes in one transaction, and gives them their results unless it returns an error.
func (w *writer) try(batch []*write) error {
	begin := time.Now()
	results := make([]error, len(batch))
	err := w.transact(batch, results)
	w.stats.add(len(batch), time.Since(begin), err)
	if err != nil {
		err = explain(w.path, err)
		w.setFault(err)
		return err
	}
	w.setFault(nil)
	for i, x := range batch {
		if x.after != nil && results[i] == nil {
			x.after()
		}
		x.result <- results[i]
	}
	return nil
}

func (w *writer) transact(batch []*write, results []error) error {
	t := &tx{writer: w, head: w.head}
	_, _ = t.exec("BEGIN IMMEDIATE") // t.err tells
	for i, x := range batch {
		if t.err != nil {
			break
		}
		results[i] = x.apply(t)
	}
	if t.err == nil {
		_, _ = t.exec("COMMIT")
	}
	if t.err != nil {
		// SQLite may have rolled back by itself, then this fails, and that is fine.
		_, _ = w.conn.ExecContext(context.Background(), "ROLLBACK")
		return t.err
	}
	w.head = t.head
	return nil
}

// setFault keeps why writing fails for Check, and logs when that begins and ends.
func (w *writer) setFault(err error) {
	if err != nil && !environmental(err) {
		return
	}
	was := w.fault.Load()
	switch {
	case err == nil && was != nil:
		w.fault.Store(nil)
		w.log.Info().Msg("writing to the file works again")
	case err != nil:
		w.fault.Store(&err)
		if was == nil {
			w.log.Error().Err(err).Msg("writing to the file fails")
		}
	}
}
