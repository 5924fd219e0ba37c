// Package eventlog is the log of events in the postgres engine's database, with the cursors of its groups: the bus of the
// engine, but for Check and Close.
//
//	Append        append.go     one commit at a time on each node; the server's function log_append gives the positions
//	live          follow.go     a reader per node takes what all nodes have appended into package tail
//	groups        cursors.go    whose turn a shard is, and how acks get to the database
//	Replay, Find  read.go
//	retention     retention.go  which chunks go, and which groups are forgotten
//	EraseEvents   erase.go
package eventlog

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/rs/zerolog"
	"golang.org/x/sync/semaphore"

	"github.com/evosink/evosink/adapters/postgres/internal/database"
	"github.com/evosink/evosink/adapters/postgres/internal/lease"
	"github.com/evosink/evosink/core/bus"
	"github.com/evosink/evosink/core/bus/tail"
	"github.com/evosink/evosink/core/retry"
	"github.com/evosink/evosink/core/sink"
)

// Options configures a log.
type Options struct {
	Self           string        // a name that no other process has
	MaxEventBytes  int           // of the largest message, metadata included
	MaxQueueBytes  int64         // of what waits for a commit
	RetentionAge   time.Duration // how long an event stays; 0 for ever
	RetentionBytes int64         // how much the log holds; 0 without a bound
	// Paused is told how often the queue's pauses were changed, as of the time when events were read or appended, before
	// the events are handed to subscriptions.
	Paused func(revision int64)
}

// A Log is the log as one node has it. Any number of goroutines may use it at once.
type Log struct {
	options Options
	db      *database.DB
	leases  *lease.Leases
	logger  zerolog.Logger

	tail    *tail.Log // what is in memory, and where the groups are
	node    *tail.Node
	feeding sync.Mutex    // held while entries are added to the tail
	kicked  chan struct{} // holds a token when there are entries that the tail does not have
	writer  *writer
	cursors *cursors
	replays *semaphore.Weighted

	life context.Context // of what runs
	end  context.CancelFunc
	done sync.WaitGroup
}

var (
	_ sink.Log   = (*Log)(nil)
	_ bus.Eraser = (*Log)(nil)
)

// replaysAtOnce bounds the replays that read at once, so that connections are left for everything else.
const replaysAtOnce = 2

// Open returns the log of a database. Nothing runs until [Log.Start].
func Open(ctx context.Context, o Options, db *database.DB, leases *lease.Leases, logger zerolog.Logger) (*Log, error) {
	l := &Log{
		options: o, db: db, leases: leases, logger: logger, kicked: make(chan struct{}, 1),
		replays: semaphore.NewWeighted(replaysAtOnce),
	}
	l.life, l.end = context.WithCancel(context.Background())
	head, err := l.head(ctx)
	if err != nil {
		return nil, fmt.Errorf("read where the log ends: %w", err)
	}
	l.writer, l.cursors = newWriter(l), newCursors(l)
	l.tail = &tail.Log{
		Tail: tail.New(db.Shards(), head), Readers: tail.NewReaders(),
		Read: l.load, Moved: l.cursors.moved, Head: l.head, Enter: l.cursors.enter,
		Missed: func(int64) {
			logger.Error().Msg("a live sink was so far behind that events were removed before it had read them, by retention " +
				"or with their instance; postgres.retention must hold more")
		},
	}
	l.node = tail.NewNode(l.tail)
	return l, nil
}

// Start begins to write, to follow, to store cursors and to remove what is old, until Close.
func (l *Log) Start() {
	l.done.Go(l.follow)
	l.done.Go(l.retain)
	l.writer.start()
	l.cursors.start()
}

// Close ends subscriptions, lets running Append calls end and stores where the groups are. It returns when nothing is
// left running.
func (l *Log) Close() {
	l.node.Close()
	l.writer.close()
	l.cursors.close()
	l.end()
	l.done.Wait()
}

// head returns the position of the newest entry.
func (l *Log) head(ctx context.Context) (position int64, err error) {
	_, err = l.db.One(ctx, "SELECT @.log_newest()", nil, &position)
	return position, err
}

// Features implements [bus.Bus].
func (l *Log) Features() bus.Features {
	return bus.Features{
		Durable: true, Reopens: true, Backlog: true, AtomicBatches: true, Once: true, Positions: true, Replay: true,
		CursorWithQueue: true, Nodes: true,
	}
}

// Broadcast implements [bus.Bus].
func (l *Log) Broadcast() message.Subscriber { return l.node.Broadcast() }

// Group implements [bus.Bus].
func (l *Log) Group(name string) message.Subscriber { return l.node.Group(name) }

// Batches implements [bus.Bus].
func (l *Log) Batches(group string) bus.BatchSubscriber { return l.node.Batches(group) }

// flowing is how long the newest entry may take to reach the tail before the node is taken for one that gets nothing.
const flowing = 2 * time.Second

// Check implements [bus.Bus]. It asks the server where the log ends, and waits until this node has got everything up to
// there: connections may work while nothing flows. After a commit that failed it has the server write, so that the engine
// is found well again also when nothing is appended because it was not. Error: [database.ErrStalled].
func (l *Log) Check(ctx context.Context) error {
	l.writer.mu.Lock()
	failure := l.writer.failure
	l.writer.mu.Unlock()
	if failure != nil {
		if _, err := l.db.Write(ctx, "UPDATE @.meta SET value = value WHERE key = 'log_cut'", nil); err != nil {
			return err
		}
		l.writer.mu.Lock()
		if errors.Is(l.writer.failure, failure) {
			l.writer.failure = nil
		}
		l.writer.mu.Unlock()
	}
	var newest int64
	if _, err := l.db.One(ctx, "SELECT coalesce(max(position), 0) FROM @.log", nil, &newest); err != nil {
		return err
	}
	for begun := time.Now(); l.tail.Newest() < newest; {
		if time.Since(begun) > flowing {
			return fmt.Errorf("%w: it is at position %d, the log at %d", database.ErrStalled, l.tail.Newest(), newest)
		}
		l.kick()
		if !retry.Sleep(ctx.Done(), 10*time.Millisecond) {
			return ctx.Err()
		}
	}
	return nil
}
