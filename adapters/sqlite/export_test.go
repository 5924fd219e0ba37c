package sqlite

import (
	"context"
	"fmt"
	"time"
)

// Retain removes what retention lets go at a time.
func (db *DB) Retain(ctx context.Context, now time.Time) error { return db.retention.pass(ctx, now) }

// RetainNow removes what retention lets go by the database's own clock.
func (db *DB) RetainNow(ctx context.Context) error { return db.retention.pass(ctx, db.clock.now()) }

// TurnClock sets the wall clock ahead of the right time.
func (db *DB) TurnClock(ahead time.Duration) {
	db.clock.mu.Lock()
	defer db.clock.mu.Unlock()
	db.clock.wall = func() time.Time { return time.Now().Add(ahead) }
}

// StallAfter sets for how long a commit may be under way.
func (db *DB) StallAfter(d time.Duration) { db.stallAfter.Store(int64(d)) }

// ReplayTurns is how many replays read at once at most.
const ReplayTurns = replayTurns

// ReplayedAtOnce returns how many replays have read at once at most.
func (db *DB) ReplayedAtOnce() int { return int(db.turns.most.Load()) }

// LimitPages makes SQLite take the disk for full when the file has so many pages; 0 lifts the limit.
func (db *DB) LimitPages(n int) error {
	if n == 0 {
		n = 1 << 30
	}
	return db.writer.do(context.Background(), &write{frees: true, apply: func(t *tx) error {
		_, err := t.exec(fmt.Sprintf("PRAGMA max_page_count = %d", n))
		return err
	}})
}

// Hold keeps the writer busy until release is called.
func (db *DB) Hold() (release func()) {
	held, end, result := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	go func() {
		result <- db.writer.do(context.Background(), &write{apply: func(*tx) error { close(held); <-end; return nil }})
	}()
	<-held
	return func() { close(end); <-result }
}

// Waiting returns how many writes are in the queue.
func (db *DB) Waiting() int { return len(db.writer.queue) }

// Look is what the watch does once a second.
func (db *DB) Look() { db.presence.look() }
