package eventlog

import (
	"context"

	"github.com/evosink/evosink/core/bus"
	"github.com/evosink/evosink/core/bus/tail"
	"github.com/evosink/evosink/core/event"
	"github.com/evosink/evosink/core/sink"
)

// A replay reads so much at once.
const (
	replayEntries = 64
	replayBytes   = 128 << 10
)

// An extent is what the log holds of an instance, or of all.
type extent struct {
	newest  int64 // position of the newest entry of all
	missing int64 // events up to here may have been removed
	born    int64 // of the instance: what is up to here is not its own
}

func (l *Log) extent(ctx context.Context, instance string) (x extent, err error) {
	if instance == "" {
		_, err = l.db.One(ctx, "SELECT @.log_newest(), max(value), 0::bigint FROM @.meta WHERE key IN ('log_floor', 'log_cut')", nil, &x.newest, &x.missing, &x.born)
		return x, err
	}
	_, err = l.db.One(ctx, `SELECT @.log_newest(), greatest((SELECT value FROM @.meta WHERE key = 'log_floor'),
			(SELECT position FROM @.log_erased WHERE instance = $1)), @.born($1)`, []any{[]byte(instance)}, &x.newest, &x.missing, &x.born)
	return x, err
}

// Replay implements [sink.Log].
func (l *Log) Replay(
	ctx context.Context, after int64, instance string, f func(position int64, e *event.Event) error,
) (end int64, err error) {
	end = after
	at, err := l.extent(ctx, instance)
	if err != nil {
		return end, err
	}
	if after < at.born || after < at.missing {
		return end, sink.ErrExpired
	}
	for {
		entries, next, err := l.replayPage(ctx, end, instance)
		if err != nil {
			return end, err
		}
		if end < next.missing {
			return end, sink.ErrExpired // retention was faster
		}
		for _, entry := range entries {
			e, err := bus.Event(entry.Message)
			if err != nil {
				continue // a message of another kind
			}
			if err := f(entry.Position, e); err != nil {
				return end, err
			}
		}
		if len(entries) == 0 {
			return max(end, at.newest), nil
		}
		end, at = entries[len(entries)-1].Position, next
	}
}

// replayPage returns the next entries of a replay, and the extent of the log behind that.
func (l *Log) replayPage(ctx context.Context, after int64, instance string) (entries []tail.Entry, x extent, err error) {
	if err := l.replays.Acquire(ctx, 1); err != nil {
		return nil, x, err
	}
	defer l.replays.Release(1)
	if instance == "" {
		entries, err = l.page(ctx, selectAll, after, replayEntries, replayBytes)
	} else {
		entries, err = l.page(ctx, selectInstance, after, replayEntries, replayBytes,
			bus.Shard(instance, l.db.Shards()), []byte(instance))
	}
	if err == nil {
		x, err = l.extent(ctx, instance)
	}
	return entries, x, err
}

// Find implements [sink.Log].
func (l *Log) Find(ctx context.Context, id, instance string) (position int64, err error) {
	query, args := "SELECT position FROM @.log WHERE id = $1", []any{[]byte(id)}
	if instance != "" {
		query, args = query+" AND instance = $2 AND position > @.born($2)", append(args, []byte(instance))
	}
	found, err := l.db.One(ctx, query+" ORDER BY position LIMIT 1", args, &position)
	if err == nil && !found {
		err = sink.ErrExpired
	}
	return position, err
}
