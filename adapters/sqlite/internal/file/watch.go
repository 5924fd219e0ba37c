package file

import (
	"context"
	"errors"
	"strconv"
	"time"
)

// watchPeriod is the time from one look at files, disk and clock to the next.
const watchPeriod = time.Second

// A watch looks once a second at what no call may come across: that the files are in their places, that the commit
// under way comes to an end, that a full disk has space again, and that the clock goes on as it should. Nothing is
// read or written for that while all is well. It owns one goroutine.
type watch struct {
	file    *File
	relieve func(context.Context) error // removes what can be done without, while the disk is full
	cancel  context.CancelFunc
	done    chan struct{}

	moved, stalled bool // used by run only: what was logged
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
		case <-ctx.Done():
			return
		}
		f := w.file
		f.Clock.Now()
		stalled := f.stalled()
		if w.log(&w.stalled, stalled); stalled != nil {
			continue // what asks the disk would wait
		}
		f.Look()
		w.log(&w.moved, f.presence.check(len(f.presence.files)))
		if f.writer.low.Load() {
			if err := w.freeSpace(ctx); err != nil && !errors.Is(err, ErrFull) && ctx.Err() == nil {
				f.logger.Error().Err(err).Msg("space could not be freed on a full disk")
			}
		}
	}
}

// Look finds files that were cut or written over while they are open; Check then fails with [ErrMoved]. The file does
// this by itself once a second.
func (f *File) Look() { f.presence.look() }

// log logs when something begins and when it ends; logged is whether it has begun.
func (w *watch) log(logged *bool, err error) {
	switch {
	case err != nil && !*logged:
		w.file.logger.Error().Err(err).Msg("the database is not well")
	case err == nil && *logged:
		w.file.logger.Info().Msg("the database is well again")
	}
	*logged = err != nil
}

// freeSpace has what can go removed and gives the pages that become free back to a full disk, until the reserve can be
// filled again.
func (w *watch) freeSpace(ctx context.Context) error {
	if err := w.relieve(ctx); err != nil {
		return err
	}
	writer := w.file.writer
	for more := true; more && ctx.Err() == nil; {
		result := make(chan error)
		select {
		case writer.jobs <- func() {
			var err error
			more, err = writer.giveBack()
			result <- err
		}:
			if err := <-result; err != nil {
				return err
			}
		case <-writer.done:
			return nil
		}
	}
	if writer.low.Load() {
		return ErrFull
	}
	return w.file.Check(ctx) // writes to see whether that works, and clears the fault
}

// reliefPages is how many free pages are given back in one go; it must fit into a small reserve.
const reliefPages = 32

// giveBack empties the WAL and gives a few free pages of the database back to the disk, then tries to fill the
// reserve. more is true while there are further free pages and the disk is full.
func (w *writer) giveBack() (more bool, err error) {
	ctx := context.Background()
	w.presence.emptied.Store(true)
	if _, err := w.conn.ExecContext(ctx, "PRAGMA wal_checkpoint(TRUNCATE)"); err != nil {
		return false, explain(w.path, err)
	}
	if w.refill() == nil {
		return false, nil
	}
	var free int64
	if err := pragma(ctx, w.conn, "freelist_count", &free); err != nil {
		return false, explain(w.path, err)
	}
	if free == 0 {
		return false, nil
	}
	if _, err := w.conn.ExecContext(ctx, "PRAGMA incremental_vacuum("+strconv.Itoa(reliefPages)+")"); err != nil {
		return false, explain(w.path, err)
	}
	return true, nil
}
