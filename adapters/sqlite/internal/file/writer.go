package file

import (
	"context"
	"database/sql"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/sync/semaphore"

	"github.com/evosink/evosink/core/bus"
)

// One commit takes at most so many writes and about so many bytes, so that no write waits long behind others.
const (
	maxBatch      = 512
	maxBatchBytes = 8 << 20
)

// patience is how long patient writes wait for others at most.
const patience = 20 * time.Millisecond

// WriteOverhead is what a write counts in the queue beside its own bytes.
const WriteOverhead = 512

// A Write is a change to the file that joins a group commit.
type Write struct {
	Bytes int64 // about how much it stores
	// Apply makes the change. The writer calls it, and calls it again in another transaction when the first one failed
	// because of another write. Once a statement has failed the transaction is rolled back; an error of Apply's own (a
	// version that does not match) fails this write alone, and must come before anything was changed.
	Apply func(*Tx) error
	// After is called by the writer after the commit, in the order of the commits. It must not block. May be nil.
	After func()
	// Frees says that the write makes space, or is small and needed for that: it may use the reserve when the disk is
	// full.
	Frees bool
	// Patient says that the write is not worth a commit of its own: it waits for others that it can be committed with,
	// see [File.Patience].
	Patient bool

	state  atomic.Int32
	result chan error // receives the outcome once
}

// States of a write.
const (
	waiting int32 = iota
	taken         // by the writer: there will be a result
	givenUp       // by the caller: Apply will not be called
)

// A writer owns the one writing connection. Writes that wait at the same time are committed together. Patient ones wait
// in the batch that is filled next: they are committed with the first that is not patient, or when the patience of the
// oldest ends, or at the end. Without them there is no timer, and whatever comes is committed at once.
//
// When a statement or the commit fails, nothing of the batch has happened. If the cause is the file or the disk (full,
// damaged, not writable), every write of the batch fails with it: the next one would meet the same. Otherwise a single
// write is to blame, and each is tried again in a transaction of its own, so that only the culprit fails.
//
// When the disk is full the reserve is given free, and until there is space for it again only writes that free space
// are tried; the others fail with [ErrFull]. When the files are not in their places any more, nothing is tried.
type writer struct {
	path     string
	conn     *sql.Conn
	log      zerolog.Logger
	presence *presence
	reserve  *reserve
	clock    *Clock
	queue    chan *Write
	jobs     chan func()         // what uses the connection outside of the commits
	room     *semaphore.Weighted // bytes of the queue
	max      int64
	patience atomic.Int64  // how long patient writes wait for others at most, in nanoseconds
	done     chan struct{} // closed when run has ended

	closing sync.RWMutex // read-held while a write enters the queue
	closed  bool         // guarded by closing

	// used by run only
	prepared  map[string]*sql.Stmt
	head      Head
	saveClock time.Duration // since born: when the clock is stored next

	fault   atomic.Pointer[error]
	low     atomic.Bool // the disk is full and the reserve given free
	commits commitCounter

	born  time.Time
	since atomic.Int64 // when the commit under way began, in nanoseconds since born; 0 while there is none
}

// newWriter returns the writer of a file that is open, its queue bounded to so many bytes.
func newWriter(f *File, head Head) *writer {
	limit := f.options.MaxQueueBytes
	w := &writer{
		path: f.options.Path, conn: f.conn, log: f.logger, presence: f.presence, reserve: f.reserve, clock: f.Clock,
		head: head, max: limit, room: semaphore.NewWeighted(limit), born: time.Now(),
		prepared: map[string]*sql.Stmt{},
		queue:    make(chan *Write, maxBatch), jobs: make(chan func()), done: make(chan struct{}),
	}
	w.patience.Store(int64(patience))
	return w
}

// Write queues a write and waits for its outcome. While it waits for its turn ctx can end it: then nothing has
// happened, and the error is ctx's. Once the writer has taken it, Write waits for the commit, which takes as long as
// the disk needs. After Close the error is [bus.ErrClosed].
func (f *File) Write(ctx context.Context, x *Write) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	w := f.writer
	x.result = make(chan error, 1)
	cost := min(x.Bytes+WriteOverhead, w.max)
	if err := w.room.Acquire(ctx, cost); err != nil {
		return err
	}
	defer w.room.Release(cost)
	if err := w.enter(ctx, x); err != nil {
		return err
	}
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

// Patience sets how long patient writes wait for others. Default 20 ms.
func (f *File) Patience(d time.Duration) { f.writer.patience.Store(int64(d)) }

// enter puts a write into the queue, unless the writer is being closed.
func (w *writer) enter(ctx context.Context, x *Write) error {
	w.closing.RLock()
	defer w.closing.RUnlock()
	if w.closed {
		return bus.ErrClosed
	}
	select {
	case w.queue <- x:
		return nil
	case <-ctx.Done():
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
	b := batch{writes: make([]*Write, 0, maxBatch)}
	for open := true; open; {
		open = w.fill(&b)
		w.commit(b.take())
		b.reset()
	}
	for _, s := range w.prepared {
		s.Close()
	}
}

// fill adds to an empty batch what waits in the queue. While all of that is patient it waits for more, as long as the
// patience of the first lasts. open is false when there is nothing to come any more.
func (w *writer) fill(b *batch) (open bool) {
	for !b.full() {
		if b.urgent && len(w.queue) == 0 {
			return true
		}
		select {
		case x, ok := <-w.queue:
			if !ok {
				return false
			}
			b.add(x, time.Duration(w.patience.Load()))
		case <-b.due:
			return true
		case job := <-w.jobs:
			w.timed(job)
		}
	}
	return true
}

// A batch is the writes of one commit, in the order in which they came.
type batch struct {
	writes []*Write
	bytes  int64
	urgent bool             // one of them is not patient
	due    <-chan time.Time // receives when the patience of the first ends; nil if that is not patient
}

func (b *batch) add(x *Write, patience time.Duration) {
	if !x.Patient {
		b.urgent = true
	} else if len(b.writes) == 0 {
		b.due = time.After(patience)
	}
	b.writes = append(b.writes, x)
	b.bytes += x.Bytes
}

func (b *batch) full() bool { return len(b.writes) >= maxBatch || b.bytes >= maxBatchBytes }

// take returns the writes, but for those that were given up.
func (b *batch) take() []*Write {
	taking := b.writes[:0]
	for _, x := range b.writes {
		if x.state.CompareAndSwap(waiting, taken) {
			taking = append(taking, x)
		}
	}
	return taking
}

// reset empties the batch, and lets go of its writes.
func (b *batch) reset() {
	clear(b.writes)
	*b = batch{writes: b.writes[:0]}
}

// commit gives every write of a batch its outcome.
func (w *writer) commit(batch []*Write) {
	if fault := w.fault.Load(); fault != nil && errors.Is(*fault, ErrMoved) {
		if err := w.presence.check(committed); err != nil {
			refuse(batch, err)
			return
		}
	}
	if w.low.Load() {
		if freeing, others := partFreeing(batch); len(others) > 0 {
			if err := w.refill(); err != nil {
				refuse(others, err)
				batch = freeing
			}
		}
	}
	if len(batch) == 0 {
		return
	}
	err := w.try(batch)
	switch {
	case err == nil:
	case errors.Is(err, ErrFull) && w.reserve.release():
		w.low.Store(true)
		w.log.Warn().Msg("the disk is full: its reserve is given free for what frees space, and no events are taken")
		freeing, others := partFreeing(batch)
		refuse(others, err)
		if len(freeing) > 0 {
			refuse(freeing, w.try(freeing))
		}
	case len(batch) > 1 && !environmental(err) && !errors.Is(err, ErrFull):
		for i := range batch {
			refuse(batch[i:i+1], w.try(batch[i:i+1]))
		}
	default:
		refuse(batch, err)
	}
}

// refill fills the reserve, if there is so much more free than it takes that what the WAL may hold can be moved into the
// database: events are taken again.
func (w *writer) refill() error {
	if err := w.reserve.fill(w.reserve.walPages * pageSize); err != nil {
		return err
	}
	w.low.Store(false)
	return nil
}

func partFreeing(batch []*Write) (freeing, others []*Write) {
	for _, x := range batch {
		if x.Frees {
			freeing = append(freeing, x)
		} else {
			others = append(others, x)
		}
	}
	return freeing, others
}

// refuse gives writes their error; nil means that they have their results.
func refuse(batch []*Write, err error) {
	if err == nil {
		return
	}
	for _, x := range batch {
		x.result <- err
	}
}

// try runs the writes in one transaction, and gives them their results unless it returns an error. A commit to files
// that were not in their places when it was over has happened, but must not be relied on: the memory follows it, and
// the writes fail.
func (w *writer) try(batch []*Write) error {
	begin := time.Now()
	results := make([]error, len(batch))
	var err, moved error
	w.timed(func() {
		if err = w.transact(batch, results); err == nil {
			moved = w.presence.check(committed)
		}
	})
	w.commits.add(len(batch), time.Since(begin), errors.Join(err, moved))
	if err != nil {
		if err = explain(w.path, err); errors.Is(err, ErrDamaged) { // perhaps by another program, just now
			w.presence.look()
			if cut := w.presence.check(committed); cut != nil {
				err = cut
			}
		}
		w.setFault(err)
		return err
	}
	w.setFault(moved)
	for i, x := range batch {
		if x.After != nil && results[i] == nil {
			x.After()
		}
		if results[i] == nil {
			results[i] = moved
		}
		x.result <- results[i]
	}
	return nil
}

// transact runs the writes and the commit, and fills in what each Apply returned. After an error nothing has happened.
func (w *writer) transact(batch []*Write, results []error) error {
	t := &Tx{writer: w, Head: w.head}
	_, _ = t.Exec("BEGIN IMMEDIATE") // t.err has the error
	for i, x := range batch {
		if t.err != nil {
			break
		}
		results[i] = x.Apply(t)
	}
	if at := time.Since(w.born); at > w.saveClock {
		w.saveClock = at + clockSaves
		_ = t.saveClock()
	}
	if t.err == nil {
		_, _ = t.Exec("COMMIT")
	}
	if t.err != nil {
		// SQLite may have rolled back by itself, then this fails, and that is fine.
		_, _ = w.conn.ExecContext(context.Background(), "ROLLBACK")
		return t.err
	}
	w.head = t.Head
	return nil
}

// timed runs what uses the disk, during which busy returns for how long.
func (w *writer) timed(f func()) {
	w.since.Store(int64(time.Since(w.born)) | 1)
	defer w.since.Store(0)
	f()
}

// busy returns for how long the commit under way has been running; 0 while there is none.
func (w *writer) busy() time.Duration {
	since := w.since.Load()
	if since == 0 {
		return 0
	}
	return time.Since(w.born) - time.Duration(since)
}

// setFault keeps why writing fails for Check, and logs when that begins and ends.
func (w *writer) setFault(err error) {
	if err != nil && !environmental(err) && !errors.Is(err, ErrFull) {
		return
	}
	was := w.fault.Load()
	switch {
	case err == nil && (was == nil || w.low.Load()): // only refill ends a full disk
	case err == nil:
		w.fault.Store(nil)
		w.log.Info().Msg("writing to the file works again")
	case err != nil:
		w.fault.Store(&err)
		if was == nil {
			w.log.Error().Err(err).Msg("writing to the file fails")
		}
	}
}
