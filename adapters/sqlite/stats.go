package sqlite

import (
	"time"

	"github.com/evosink/evosink/adapters/sqlite/internal/file"
	"github.com/evosink/evosink/core/sink"
)

// CommitBounds are the upper bounds of the buckets of [Stats].CommitTimes; the last bucket has none.
var CommitBounds = file.CommitBounds

// Stats is what the engine counted since [Open], and what the log holds now.
type Stats struct {
	Commits       uint64                        // group commits, with and without success
	Writes        uint64                        // changes in them; Writes/Commits is the size of a batch
	Failures      uint64                        // commits that failed
	CommitTime    time.Duration                 // spent in all commits
	CommitRunning time.Duration                 // for how long the commit under way has been running; 0 if there is none
	CommitTimes   [len(CommitBounds) + 1]uint64 // commits by how long they took, see CommitBounds

	Published uint64    // events
	Events    int64     // entries in the log
	Bytes     int64     // of those entries
	Oldest    time.Time // when the oldest of them was stored; zero if there is none
	Position  int64     // of the newest entry ever
}

// Stats returns the counters. It is cheap and may be called at any time.
func (db *DB) Stats() Stats {
	c, l := db.file.Commits(), db.log.Stats()
	return Stats{
		Commits: c.Count, Writes: c.Writes, Failures: c.Failures,
		CommitTime: c.Time, CommitRunning: c.Running, CommitTimes: c.Times,
		Published: l.Published, Events: l.Events, Bytes: l.Bytes, Oldest: l.Oldest, Position: l.Position,
	}
}

var _ sink.Measurer = (*DB)(nil)

// Measures implements [sink.Measurer].
func (db *DB) Measures() []sink.Measure {
	now := db.Stats()
	times := sink.Measure{
		Name: "commit_seconds", Help: "How long group commits took, fsync included.", Kind: sink.Histogram,
		Value: now.CommitTime.Seconds(), Buckets: make(map[float64]uint64, len(CommitBounds)),
	}
	for i, bound := range CommitBounds {
		times.Count += now.CommitTimes[i]
		times.Buckets[bound.Seconds()] = times.Count
	}
	times.Count += now.CommitTimes[len(CommitBounds)]
	counter := func(name, help string, n uint64) sink.Measure {
		return sink.Measure{Name: name, Help: help, Kind: sink.Counter, Value: float64(n)}
	}
	gauge := func(name, help string, v float64) sink.Measure { return sink.Measure{Name: name, Help: help, Value: v} }
	out := []sink.Measure{
		times,
		counter("writes_total", "Changes in group commits.", now.Writes),
		counter("failed_commits_total", "Group commits that failed.", now.Failures),
		gauge("commit_running_seconds", "For how long the group commit under way has been running.",
			now.CommitRunning.Seconds()),
		gauge("log_events", "Events in the log.", float64(now.Events)),
		gauge("log_bytes", "Bytes of the events in the log.", float64(now.Bytes)),
	}
	if !now.Oldest.IsZero() {
		out = append(out, gauge("log_oldest_timestamp_seconds", "When the oldest event of the log was stored.",
			float64(now.Oldest.UnixMilli())/1000))
	}
	return out
}
