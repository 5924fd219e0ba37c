package eventlog

import (
	"context"
	"database/sql"
	"sync"
	"time"

	"github.com/evosink/evosink/core/bus"
	"github.com/evosink/evosink/core/bus/tail"
)

// cursorDelay is how long acks are gathered before the cursors are stored, and so, with what was acked out of order, how much a group may be
// given again after a crash.
const cursorDelay = 100 * time.Millisecond

// cursorPause is the delay after a failure.
const cursorPause = time.Second

// cursors stores where groups stand, some time after their acks. It owns one goroutine.
type cursors struct {
	writer *writer
	stop   chan struct{}
	done   chan struct{}
	some   chan struct{} // holds a token while dirty may hold something

	mu sync.Mutex
	// mu guards the field below.
	dirty map[*tail.Reader]struct{}
}

func newCursors(w *writer) *cursors {
	return &cursors{
		writer: w, stop: make(chan struct{}), done: make(chan struct{}), some: make(chan struct{}, 1),
		dirty: map[*tail.Reader]struct{}{},
	}
}

// moved implements Moved of [tail.Log].
func (c *cursors) moved(r *tail.Reader) {
	if r.Group == "" {
		return
	}
	c.mu.Lock()
	c.dirty[r] = struct{}{}
	c.mu.Unlock()
	select {
	case c.some <- struct{}{}:
	default:
	}
}

// run stores what is dirty until close. While nothing is, it waits without a timer.
func (c *cursors) run() {
	defer close(c.done)
	for delay := cursorDelay; ; {
		select {
		case <-c.some:
		case <-c.stop:
			return
		}
		if !c.sleep(delay) {
			return
		}
		delay = cursorDelay
		if c.store(c.take()) != nil {
			delay = cursorPause // the writer has told about the failure
		}
	}
}

func (c *cursors) sleep(d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-c.stop:
		return false
	}
}

func (c *cursors) take() []*tail.Reader {
	c.mu.Lock()
	defer c.mu.Unlock()
	var out []*tail.Reader
	for r := range c.dirty {
		out = append(out, r)
	}
	clear(c.dirty)
	return out
}

// store stores the readers' cursors, or marks them dirty again.
func (c *cursors) store(readers []*tail.Reader) error {
	if len(readers) == 0 {
		return nil
	}
	err := c.writer.do(context.Background(), &write{frees: true, apply: func(t *tx) error {
		for _, r := range readers {
			if err := saveCursor(t, r.Cursor()); err != nil {
				return err
			}
		}
		return nil
	}})
	if err != nil {
		for _, r := range readers {
			c.moved(r)
		}
	}
	return err
}

// close ends run, and stores what is dirty and when the groups were last in use.
func (c *cursors) close(seen map[string]time.Time) {
	close(c.stop)
	<-c.done
	_ = c.store(c.take()) // an error was logged by the writer; what is not stored is given to the group again
	_ = c.writer.do(context.Background(), &write{frees: true, apply: func(t *tx) error { return t.saveClock() }})
	if len(seen) > 0 {
		_ = c.writer.do(context.Background(), &write{frees: true, apply: func(t *tx) error {
			for group, at := range seen {
				if _, err := t.exec("UPDATE cursors SET seen = max(seen, ?) WHERE name = ?", at.UnixMilli(), group); err != nil {
					return err
				}
			}
			return nil
		}})
	}
}

// saveCursor moves a stored cursor forward, in whatever transaction it belongs to.
func saveCursor(t *tx, c bus.Cursor) error {
	_, err := t.exec(`INSERT INTO cursors (name, shard, position, seen) VALUES (?, ?, ?, ?)
		ON CONFLICT DO UPDATE SET position = max(position, excluded.position), seen = excluded.seen`,
		c.Group, c.Shard, c.Position, time.Now().UnixMilli())
	return err
}

// readCursors returns the stored cursors, and when each group was last known to be in use.
func readCursors(ctx context.Context, conn *sql.Conn) (all []bus.Cursor, seen map[string]time.Time, err error) {
	rows, err := conn.QueryContext(ctx, "SELECT name, shard, position, seen FROM cursors")
	if err != nil {
		return nil, nil, err
	}
	defer rows.Close()
	seen = map[string]time.Time{}
	for rows.Next() {
		var c bus.Cursor
		var at int64
		if err := rows.Scan(&c.Group, &c.Shard, &c.Position, &at); err != nil {
			return nil, nil, err
		}
		all = append(all, c)
		if t := time.UnixMilli(at); t.After(seen[c.Group]) {
			seen[c.Group] = t
		}
	}
	return all, seen, rows.Err()
}
