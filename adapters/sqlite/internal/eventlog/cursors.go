package eventlog

import (
	"context"
	"database/sql"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/evosink/evosink/adapters/sqlite/internal/file"
	"github.com/evosink/evosink/core/bus"
	"github.com/evosink/evosink/core/bus/tail"
	"github.com/evosink/evosink/core/queue"
	"github.com/evosink/evosink/core/retry"
)

// cursorDelay is how long acks are gathered before the cursors are stored. So much, and what was acked out of order, a
// group may be given again after a crash.
const cursorDelay = 100 * time.Millisecond

// cursorPause is the delay after a failure.
const cursorPause = time.Second

// cursors stores where groups are, some time after their acks. It owns one goroutine.
type cursors struct {
	file *file.File
	stop chan struct{}
	done chan struct{}
	some chan struct{} // holds a token while dirty may hold something

	mu sync.Mutex
	// mu guards the field below.
	dirty map[*tail.Reader]struct{}
}

// openCursors reads the stored cursors, and when each group was last known to be in use.
func openCursors(
	ctx context.Context, f *file.File, conn *sql.Conn,
) (c *cursors, stored []bus.Cursor, seen map[string]time.Time, err error) {
	rows, err := conn.QueryContext(ctx, "SELECT name, shard, position, seen FROM cursors")
	if err != nil {
		return nil, nil, nil, fmt.Errorf("read the cursors: %w", err)
	}
	defer rows.Close()
	seen = map[string]time.Time{}
	for rows.Next() {
		var c bus.Cursor
		var at file.UnixMilli
		if err := rows.Scan(&c.Group, &c.Shard, &c.Position, &at); err != nil {
			return nil, nil, nil, fmt.Errorf("read the cursors: %w", err)
		}
		stored = append(stored, c)
		if t := time.Time(at); t.After(seen[c.Group]) {
			seen[c.Group] = t
		}
	}
	if err := rows.Err(); err != nil {
		return nil, nil, nil, fmt.Errorf("read the cursors: %w", err)
	}
	return &cursors{
		file: f, stop: make(chan struct{}), done: make(chan struct{}), some: make(chan struct{}, 1),
		dirty: map[*tail.Reader]struct{}{},
	}, stored, seen, nil
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
		if !retry.Sleep(c.stop, delay) {
			return
		}
		delay = cursorDelay
		if c.storeDirty() != nil {
			delay = cursorPause // the writer has logged the failure
		}
	}
}

// storeDirty stores the cursors that are dirty. After an error they are dirty again.
func (c *cursors) storeDirty() error {
	c.mu.Lock()
	readers := slices.Collect(maps.Keys(c.dirty))
	clear(c.dirty)
	c.mu.Unlock()
	if len(readers) == 0 {
		return nil
	}
	err := c.file.Write(context.Background(), &file.Write{Frees: true, Apply: func(t *file.Tx) error {
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
	// The writer logs errors. What is not stored is given to the group again.
	_ = c.storeDirty()
	if len(seen) == 0 {
		return
	}
	_ = c.file.Write(context.Background(), &file.Write{Frees: true, Apply: func(t *file.Tx) error {
		for group, at := range seen {
			if _, err := t.Exec("UPDATE cursors SET seen = max(seen, ?) WHERE name = ?", at.UnixMilli(), group); err != nil {
				return err
			}
		}
		return nil
	}})
}

// saveCursor moves a stored cursor forward.
func saveCursor(t *file.Tx, c bus.Cursor) error {
	_, err := t.Exec(`INSERT INTO cursors (name, shard, position, seen) VALUES (?, ?, ?, ?)
		ON CONFLICT DO UPDATE SET position = max(position, excluded.position), seen = excluded.seen`,
		c.Group, c.Shard, c.Position, time.Now().UnixMilli())
	return err
}

// SaveMarks moves the stored cursors of the queue's group forward, with what is done behind them, in any transaction;
// [Log.Move] is called for each after the commit. A mark that is behind its stored cursor changes nothing.
func SaveMarks(t *file.Tx, marks []queue.Mark) error {
	for _, m := range marks { // a statement each: for 16 shards all in one, by rows or by json_each, takes as long or longer
		done := m.Done
		if done == nil {
			done = []byte{} // NULL is for cursors that only acks have moved
		}
		_, err := t.Exec(`INSERT INTO cursors (name, shard, position, seen, done) VALUES (?, ?, ?, ?, ?)
			ON CONFLICT DO UPDATE SET position = excluded.position, seen = excluded.seen, done = excluded.done
			WHERE excluded.position >= position`,
			m.Cursor.Group, m.Cursor.Shard, m.Cursor.Position, time.Now().UnixMilli(), done)
		if err != nil {
			return err
		}
	}
	return nil
}

// Move says that a cursor is stored, so that the ack of what is before it costs nothing.
func (l *Log) Move(c bus.Cursor) { l.tail.Readers.Move(c) }
