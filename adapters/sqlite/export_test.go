package sqlite

import (
	"context"
	"fmt"
	"time"

	"github.com/evosink/evosink/adapters/sqlite/internal/eventlog"
	"github.com/evosink/evosink/adapters/sqlite/internal/file"
)

// Retain removes what retention lets go at a time.
func (db *DB) Retain(ctx context.Context, now time.Time) error { return db.log.Retain(ctx, now) }

// RetainNow removes what retention lets go by the database's own clock.
func (db *DB) RetainNow(ctx context.Context) error { return db.log.Retain(ctx, db.file.Clock.Now()) }

// TurnClock sets the wall clock ahead of the right time.
func (db *DB) TurnClock(ahead time.Duration) {
	db.file.Clock.Turn(func() time.Time { return time.Now().Add(ahead) })
}

// StallAfter sets for how long a commit may be under way.
func (db *DB) StallAfter(d time.Duration) { db.file.StallAfter(d) }

// ReplayTurns is how many replays read at once at most.
const ReplayTurns = eventlog.ReplayTurns

// ReplayedAtOnce returns how many replays have read at once at most.
func (db *DB) ReplayedAtOnce() int { return db.log.ReplayedAtOnce() }

// Patience sets how long checkpoints of the queue wait for a commit of others.
func (db *DB) Patience(d time.Duration) { db.file.Patience(d) }

// LimitPages makes SQLite take the disk for full when the file has so many pages; 0 lifts the limit.
func (db *DB) LimitPages(n int) error {
	if n == 0 {
		n = 1 << 30
	}
	return db.file.Write(context.Background(), &file.Write{Frees: true, Apply: func(t *file.Tx) error {
		_, err := t.Exec(fmt.Sprintf("PRAGMA max_page_count = %d", n))
		return err
	}})
}

// Hold keeps the writer busy until release is called.
func (db *DB) Hold() (release func()) {
	held, end, result := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	go func() {
		result <- db.file.Write(context.Background(), &file.Write{Apply: func(*file.Tx) error { close(held); <-end; return nil }})
	}()
	<-held
	return func() { close(end); <-result }
}

// Waiting returns how many writes are in the queue.
func (db *DB) Waiting() int { return db.file.Waiting() }

// Look is what the watch does once a second.
func (db *DB) Look() { db.file.Look() }
