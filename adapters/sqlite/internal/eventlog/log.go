// Package eventlog is the log of events in the sqlite engine's file, with the cursors of its groups: the bus of the
// engine, but for Check and Close.
//
//	Append        append.go     also: an event that the log holds is left out (bus.Once)
//	Replay, Find  read.go       turns.go: replays share the database page by page
//	groups        cursors.go    how acks, and marks of the queue, get to the file
//	retention     retention.go  which entries go, and which groups are forgotten
//	shares        extent.go     what the log holds of each instance
//	shards        blocks.go     where the log has entries of a shard
package eventlog

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
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
	extent    *extent
	cursors   *cursors
	retention *retention
	turns     *turns
	blocks    []int64    // the last one noted of each shard, -1 at first; used by the file's writer only
	removing  sync.Mutex // held while entries are removed, or the table of shares is brought up to date
}

var _ sink.Log = (*Log)(nil)

// Open returns the log of a file that is being opened with conn, and where it ends. Nothing runs until [Log.Start].
func Open(
	ctx context.Context, o Options, f *file.File, conn *sql.Conn, logger zerolog.Logger,
) (*Log, file.Head, error) {
	l := &Log{options: o, file: f, logger: logger, turns: &turns{room: semaphore.NewWeighted(ReplayTurns)},
		blocks: slices.Repeat([]int64{-1}, o.Shards)}
	var err error
	if l.extent, err = openExtent(ctx, conn); err != nil {
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
			logger.Error().Int64("events", n).Msg("a live sink was so far behind that events were removed before it had read " +
				"them, by retention or with their instance; sqlite.retention must hold more")
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
	l.removing.Lock()
	defer l.removing.Unlock()
	if _, at := l.extent.read(); at.Position != l.extent.counted {
		_ = l.saveShares(context.Background()) // the writer logs errors; the next start counts what this does not store
	}
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
