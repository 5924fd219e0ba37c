package eventlog

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/evosink/evosink/adapters/sqlite/internal/file"
	"github.com/evosink/evosink/core/queue"
)

// An extent is what the log holds, in all and of each instance. It follows the commits: the writer brings it up to date
// after each of them, so in a transaction it is as the one before has left the file.
type extent struct {
	mu sync.Mutex
	// mu guards the fields below.
	oldest    mark // zero if the log is empty
	head      file.Head
	published uint64
	shares    map[string]*share // by instance
	events    int64             // of all shares
	bytes     int64

	counted int64 // position up to which the table log_usage has the shares
	gone    int64 // all entries up to this position are removed, or being removed
	cut     int64 // position of the newest entry that is removed, or being removed, while older ones stay
}

// A mark is where an entry is: its position, when it was stored in Unix milliseconds, and the bytes of all entries ever
// stored before it.
type mark struct {
	position, time, start int64
}

// A share is what the log holds of one instance.
type share struct {
	events, bytes int64
	first         int64 // nothing of the instance is before this position
	last          int64 // of its newest entry, if that is behind extent.counted
	cut           int64 // as extent.cut, of the instance's entries
}

// size is the SQL of how many bytes an entry counts; the payload is not read for it.
const size = "octet_length(id) + octet_length(metadata) + octet_length(payload)"

// selectOldest gives the mark of the first entry.
const selectOldest = "SELECT position, time, start FROM log ORDER BY position LIMIT 1"

// openExtent reads what a file holds that is being opened with conn. The entries behind the position that the table of
// shares is of are counted: few, unless the file was written by an older program.
func openExtent(ctx context.Context, conn *sql.Conn) (*extent, error) {
	e := &extent{shares: map[string]*share{}}
	none := func(err error) error {
		if errors.Is(err, sql.ErrNoRows) {
			return nil
		}
		return err
	}
	err := none(conn.QueryRowContext(ctx, selectOldest).Scan(&e.oldest.position, &e.oldest.time, &e.oldest.start))
	if err == nil {
		err = none(conn.QueryRowContext(ctx, "SELECT position, start + "+size+" FROM log ORDER BY position DESC LIMIT 1").
			Scan(&e.head.Position, &e.head.End))
	}
	var erased file.Head // the end of the log when its newest entry was erased
	if err == nil {
		err = conn.QueryRowContext(ctx, `SELECT coalesce(max(iif(key = 'log_counted', value, 0)), 0),
			coalesce(max(iif(key = 'log_cut', value, 0)), 0), coalesce(max(iif(key = 'log_position', value, 0)), 0),
			coalesce(max(iif(key = 'log_end', value, 0)), 0) FROM meta WHERE key LIKE 'log_%'`).
			Scan(&e.counted, &e.cut, &erased.Position, &erased.End)
	}
	if err != nil {
		return nil, err
	}
	if erased.Position > e.head.Position {
		e.head = erased
	}
	if e.gone = e.head.Position; e.oldest.position > 0 {
		e.gone = e.oldest.position - 1
	}
	// The inner query keeps payloads out of what is sorted.
	rows, err := conn.QueryContext(ctx, `SELECT instance, events, bytes, first, 0, cut FROM log_usage UNION ALL
		SELECT instance, count(*), sum(bytes), min(position), max(position), 0 FROM
			(SELECT instance, position, `+size+` AS bytes FROM log WHERE position > ? LIMIT -1) GROUP BY instance`, e.counted)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var name string
		var s share
		if err := rows.Scan(&name, &s.events, &s.bytes, &s.first, &s.last, &s.cut); err != nil {
			return nil, err
		}
		had := e.share(name)
		if had.events == 0 || s.events > 0 && s.first < had.first {
			had.first = s.first
		}
		had.events, had.bytes = had.events+s.events, had.bytes+s.bytes
		had.last, had.cut = max(had.last, s.last), max(had.cut, s.cut)
		e.events, e.bytes = e.events+s.events, e.bytes+s.bytes
	}
	return e, rows.Err()
}

// share returns the share of an instance. Held: mu, or nothing yet while the file is opened.
func (e *extent) share(instance string) *share {
	s := e.shares[instance]
	if s == nil {
		s = &share{}
		e.shares[strings.Clone(instance)] = s // what it was a part of may be large
	}
	return s
}

// grow adds what was committed of additions; first is the mark of the first of them.
func (e *extent) grow(first mark, all []addition) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.oldest.position == 0 {
		e.oldest = first
	}
	for i := range all {
		a := &all[i]
		if !a.stored {
			continue
		}
		s := e.share(a.instance)
		if s.last = a.entry.Position; s.events == 0 {
			s.first = s.last
		}
		n := a.Size()
		s.events, s.bytes = s.events+1, s.bytes+n
		e.events, e.bytes = e.events+1, e.bytes+n
		e.head.Position, e.head.End = s.last, first.start+n
		first.start += n
		e.published++
	}
}

// beyond reports whether the log holds so much more than its bound that retention has a batch to do, or so much that is
// not counted in the file that opening it after a crash would take long. A bound of 0 is none.
func (e *extent) beyond(bound int64) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return bound > 0 && e.bytes > bound+bound/32 || e.head.Position-e.counted >= uncounted
}

func (e *extent) read() (oldest mark, at file.Head) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.oldest, e.head
}

// lacks reports whether entries behind a position are removed, or being removed, of an instance, "" for all.
func (e *extent) lacks(instance string, after int64) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	cut := e.cut
	if instance != "" {
		cut = 0
		if s := e.shares[instance]; s != nil {
			cut = s.cut
		}
	}
	return after < max(cut, e.gone)
}

// excess returns how many bytes of which instances are beyond a bound, and the position of the first entry that may be
// one of theirs.
func (e *extent) excess(bound int64) (excess map[string]int64, first int64) {
	e.mu.Lock()
	over := bound > 0 && e.bytes > bound
	var held map[string]int64
	if over {
		held = make(map[string]int64, len(e.shares))
		for instance, s := range e.shares {
			if s.bytes > 0 {
				held[instance] = s.bytes
			}
		}
	}
	e.mu.Unlock()
	if excess = queue.Excess(held, bound); len(excess) == 0 {
		return nil, 0
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	first = e.head.Position
	for instance := range excess {
		first = min(first, e.share(instance).first)
	}
	return excess, first
}

// A removal is an entry that is to go.
type removal struct {
	position int64
	instance string
	bytes    int64
}

// removing notes what is about to be removed, in order of position: a replay that reads the file from now on must not
// take what it finds there for all there was. front says that nothing older stays.
func (e *extent) removing(batch []removal, front bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	last := batch[len(batch)-1].position
	if front {
		e.gone = max(e.gone, last)
		return
	}
	e.cut = max(e.cut, last)
	for _, r := range batch {
		s := e.share(r.instance)
		s.cut = max(s.cut, r.position)
	}
}

// removed takes off what was removed; oldest is the first entry left, zero if there is none.
func (e *extent) removed(sums map[string]*share, oldest mark) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for instance, n := range sums {
		s := e.share(instance)
		s.events, s.bytes, s.first = s.events-n.events, s.bytes-n.bytes, max(s.first, n.first)
		e.events, e.bytes = e.events-n.events, e.bytes-n.bytes
	}
	if e.oldest = oldest; oldest.position > 0 {
		e.gone = max(e.gone, oldest.position-1)
	} else {
		e.gone = max(e.gone, e.head.Position)
	}
}

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
	e := l.extent
	e.mu.Lock()
	defer e.mu.Unlock()
	s := Stats{Published: e.published, Position: e.head.Position, Events: e.events, Bytes: e.bytes}
	if e.oldest.position > 0 {
		s.Oldest = time.UnixMilli(e.oldest.time)
	}
	return s
}

// uncounted is how many entries are behind the position that the table of shares is of before it is brought up to date:
// so many are counted at most, and a little more, when the file is opened after a crash.
const uncounted = 16384

// saveShares brings the table of shares up to date, and forgets instances of which nothing is left to know. Held:
// removing, so that no other write of the batch changes the table.
func (l *Log) saveShares(ctx context.Context) error {
	e := l.extent
	var at int64
	var forgotten []string
	err := l.file.Write(ctx, &file.Write{
		Frees: true,
		Apply: func(t *file.Tx) error {
			changed := map[string]share{}
			forgotten = forgotten[:0]
			e.mu.Lock()
			at = e.head.Position
			for instance, s := range e.shares {
				if s.events == 0 && s.cut <= e.gone {
					forgotten = append(forgotten, instance)
				} else if s.last > e.counted {
					changed[instance] = *s
				}
			}
			e.mu.Unlock()
			for instance, s := range changed {
				_, err := t.Exec(`INSERT INTO log_usage (instance, events, bytes, first, cut) VALUES (?, ?, ?, ?, ?)
					ON CONFLICT DO UPDATE SET events = excluded.events, bytes = excluded.bytes, first = excluded.first,
						cut = excluded.cut`, instance, s.events, s.bytes, s.first, s.cut)
				if err != nil {
					return err
				}
			}
			for _, instance := range forgotten {
				if _, err := t.Exec("DELETE FROM log_usage WHERE instance = ?", instance); err != nil {
					return err
				}
			}
			_, err := t.Exec("UPDATE meta SET value = ? WHERE key = 'log_counted'", at)
			return err
		},
		After: func() {
			e.mu.Lock()
			defer e.mu.Unlock()
			e.counted = at
			for _, instance := range forgotten {
				if s := e.shares[instance]; s.events == 0 {
					delete(e.shares, instance)
				}
			}
		},
	})
	if err != nil {
		return fmt.Errorf("store what the log holds of each instance: %w", err)
	}
	return nil
}
