package file

import (
	"context"
	"errors"
	"strconv"
	"time"
)

// watchPeriod is the time from one look at files, disk and clock to the next.
const watchPeriod = time.Second

// A watch looks once a second at what no caller may ask for: that the files are in their places, that the commit
// under way comes to an end, that a full disk has space again, and that the clock goes on as it should. Nothing is
// read or written for that while all is well. It owns one goroutine.
type watch struct {
	db     *DB
	cancel context.CancelFunc
	done   chan struct{}

	moved, stalled bool // used by run only: what was logged
}

// watchOver begins to watch, until close.
func watchOver(db *DB) *watch {
	ctx, cancel := context.WithCancel(context.Background())
	w := &watch{db: db, cancel: cancel, done: make(chan struct{})}
	go w.run(ctx)
	return w
}

func (w *watch) close() {
	w.cancel()
	<-w.done
}

func (w *watch) run(ctx context.Context) {
	defer close(w.done)
	ticker := time.NewTicker(watchPeriod)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			w.look(ctx)
		case <-ctx.Done():
			return
		}
	}
}

func (w *watch) look(ctx context.Context) {
	db := w.db
	db.clock.now()
	stalled := db.stalled()
	if w.tell(&w.stalled, stalled); stalled != nil {
		return // what asks the disk would wait
	}
	db.presence.look()
	w.tell(&w.moved, db.presence.check(len(db.presence.files)))
	if db.writer.low.Load() {
		if err := db.relieve(ctx); err != nil && !errors.Is(err, ErrFull) && ctx.Err() == nil {
			db.logger.Error().Err(err).Msg("space could not be freed on a full disk")
		}
	}
}

// tell logs when something begins and when it ends.
func (w *watch) tell(told *bool, err error) {
	switch {
	case err != nil && !*told:
		w.db.logger.Error().Err(err).Msg("the database is not well")
	case err == nil && *told:
		w.db.logger.Info().Msg("the database is well again")
	}
	*told = err != nil
}

// relieve gives pages that have become free back to a full disk, until the reserve can be filled again.
func (db *DB) relieve(ctx context.Context) error {
	if _, err := db.queue.sweepEvents(ctx, db.queue.past.newest()); err != nil {
		return err
	}
	for more := true; more && ctx.Err() == nil; {
		var err error
		db.writer.between(func() { more, err = db.writer.giveBack() })
		if err != nil {
			return err
		}
	}
	if db.writer.low.Load() {
		return ErrFull
	}
	return db.Check(ctx) // writes to see whether that works, and clears the fault
}

// reliefPages is how many free pages are given back in one go; it must fit into a small reserve.
const reliefPages = 32

// giveBack empties the WAL and gives a few free pages of the database back to the disk, then tries to fill the
// reserve. more is true while there are further free pages and the disk is full.
func (w *writer) giveBack() (more bool, err error) {
	ctx := context.Background()
	exec := func(query string) error {
		_, err := w.conn.ExecContext(ctx, query)
		return err
	}
	w.presence.emptied.Store(true)
	if err := exec("PRAGMA wal_checkpoint(TRUNCATE)"); err != nil {
		return false, explain(w.path, err)
	}
	if w.refill() == nil {
		return false, nil
	}
	var free int64
	if err := w.conn.QueryRowContext(ctx, "SELECT freelist_count FROM pragma_freelist_count").Scan(&free); err != nil {
		return false, explain(w.path, err)
	}
	if free == 0 {
		return false, nil
	}
	if err := exec("PRAGMA incremental_vacuum(" + strconv.Itoa(reliefPages) + ")"); err != nil {
		return false, explain(w.path, err)
	}
	return true, nil
}
