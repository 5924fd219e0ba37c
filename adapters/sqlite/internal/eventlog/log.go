// Package eventlog is the log of events in the sqlite engine's file, with the cursors of its groups: the bus of the
// engine, but for Check and Close.
//
//	Append        append.go     also: an event that the log holds is left out (bus.Once)
//	Replay, Find  read.go       turns.go: replays share the database page by page
//	groups        cursors.go    how acks get to the file
//	retention     retention.go  where the log is cut, and which groups are forgotten
package eventlog

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/rs/zerolog"
	"golang.org/x/sync/semaphore"

	"github.com/evosink/evosink/adapters/sqlite/internal/file"
	"github.com/evosink/evosink/core/bus"
	"github.com/evosink/evosink/core/bus/tail"
	"github.com/evosink/evosink/core/sink"
)

// Options configures a log.
type Options struct {
	Shards         int
	MaxEventBytes  int           // of the largest message, metadata included
	RetentionAge   time.Duration // how long an event stays; 0 for ever
	RetentionBytes int64         // how much the log holds; 0 without a bound
}

// A Log is the log of a file. Any number of goroutines may use it at once.
type Log struct {
	options Options
	file    *file.File
	logger  zerolog.Logger

	tail      *tail.Log // what is in memory, and where the groups are
	node      *tail.Node
	extent    extent
	cursors   *cursors
	retention *retention
	turns     *turns
}

var _ sink.Log = (*Log)(nil)

// Open returns the log of a file that is being opened with conn, and where it ends. Nothing runs until [Log.Start].
func Open(
	ctx context.Context, o Options, f *file.File, conn *sql.Conn, logger zerolog.Logger,
) (*Log, file.Head, error) {
	l := &Log{options: o, file: f, logger: logger, turns: &turns{room: semaphore.NewWeighted(ReplayTurns)}}
	err := conn.QueryRowContext(ctx, "SELECT position, time, start FROM log ORDER BY position LIMIT 1").
		Scan(&l.extent.oldest.position, &l.extent.oldest.time, &l.extent.oldest.start)
	if err == nil { // else nothing was ever stored: retention never takes the newest entry
		err = conn.QueryRowContext(ctx, `SELECT position,
			start + octet_length(id) + octet_length(metadata) + octet_length(payload)
			FROM log ORDER BY position DESC LIMIT 1`).Scan(&l.extent.head.Position, &l.extent.head.End)
	}
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return nil, file.Head{}, fmt.Errorf("read the extent of the log: %w", err)
	}
	cursors, stored, seen, err := openCursors(ctx, f, conn)
	if err != nil {
		return nil, file.Head{}, err
	}
	l.cursors = cursors
	l.tail = &tail.Log{
		Tail: tail.New(o.Shards, l.extent.head.Position), Readers: tail.NewReaders(stored...),
		Read: l.readEntries, Moved: l.cursors.moved,
		Missed: func(n int64) {
			logger.Error().Int64("events", n).Msg("a live sink was so far behind that retention has removed events before " +
				"it had read them; sqlite.retention must hold more")
		},
	}
	l.node = tail.NewNode(l.tail)
	l.retention = &retention{
		log: l, began: f.Clock.Now(), seen: seen, kicked: make(chan struct{}, 1), done: make(chan struct{}),
	}
	return l, l.extent.head, nil
}

// Start begins to store cursors and to remove what is old, until Close.
func (l *Log) Start() {
	go l.cursors.run()
	l.retention.start()
}

// Close ends subscriptions, and stores where the groups are. It returns when nothing is left running.
func (l *Log) Close() {
	l.node.Close()
	l.cursors.close(l.retention.close())
}

// Features implements [bus.Bus].
func (l *Log) Features() bus.Features {
	return bus.Features{
		Durable: true, Reopens: true, Backlog: true, AtomicBatches: true, Once: true, Positions: true, Replay: true,
		CursorWithQueue: true,
	}
}

// Shards implements [bus.Bus].
func (l *Log) Shards() int { return l.options.Shards }

// Broadcast implements [bus.Bus].
func (l *Log) Broadcast() message.Subscriber { return l.node.Broadcast() }

// Group implements [bus.Bus].
func (l *Log) Group(name string) message.Subscriber { return l.node.Group(name) }

// Batches implements [bus.Bus].
func (l *Log) Batches(group string) bus.BatchSubscriber { return l.node.Batches(group) }

// Reached implements [bus.Bus].
func (l *Log) Reached(ctx context.Context, c bus.Cursor) error { return l.node.Reached(ctx, c) }

// Stats is what the log counted since Open, and what it holds now.
type Stats struct {
	Published uint64    // events
	Events    int64     // entries in the log
	Bytes     int64     // of those entries
	Oldest    time.Time // when the oldest of them was stored; zero if there is none
	Position  int64     // of the newest entry ever
}

// Stats returns the counters. It is cheap and may be called at any time.
func (l *Log) Stats() Stats {
	e := &l.extent
	e.mu.Lock()
	defer e.mu.Unlock()
	s := Stats{Published: e.published, Position: e.head.Position}
	if e.oldest.position > 0 {
		s.Events = e.head.Position - e.oldest.position + 1
		s.Bytes = e.head.End - e.oldest.start
		s.Oldest = time.UnixMilli(e.oldest.time)
	}
	return s
}

// An extent is what the log holds.
type extent struct {
	mu sync.Mutex
	// mu guards the fields below.
	oldest    mark // zero if the log is empty
	head      file.Head
	published uint64
}

// A mark is where an entry is: its position, when it was stored in Unix milliseconds, and the bytes of all entries ever
// stored before it.
type mark struct {
	position, time, start int64
}

// grow adds committed entries, and returns how many bytes the log holds now.
func (e *extent) grow(first mark, events int, bytes int64) (held int64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.oldest.position == 0 {
		e.oldest = first
	}
	e.head = file.Head{Position: first.position + int64(events) - 1, End: first.start + bytes}
	e.published += uint64(events)
	return e.head.End - e.oldest.start
}

// shrink says that everything before an entry was removed.
func (e *extent) shrink(oldest mark) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if oldest.position > e.oldest.position {
		e.oldest = oldest
	}
}

func (e *extent) read() (oldest mark, at file.Head) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.oldest, e.head
}
