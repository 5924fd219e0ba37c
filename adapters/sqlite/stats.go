package sqlite

import (
	"sync"
	"time"
)

// CommitBounds are the upper bounds of the buckets of [Stats].CommitTimes; the last bucket has none.
var CommitBounds = [...]time.Duration{
	250 * time.Microsecond, 500 * time.Microsecond, time.Millisecond, 2500 * time.Microsecond, 5 * time.Millisecond,
	10 * time.Millisecond, 25 * time.Millisecond, 100 * time.Millisecond, 500 * time.Millisecond, 2500 * time.Millisecond,
}

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

// commitStats is the part of Stats that the writer counts.
type commitStats struct {
	mu sync.Mutex
	// mu guards the field below.
	s Stats
}

func (c *commitStats) add(writes int, took time.Duration, err error) {
	bucket := 0
	for bucket < len(CommitBounds) && took > CommitBounds[bucket] {
		bucket++
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.s.Commits++
	c.s.Writes += uint64(writes)
	c.s.CommitTime += took
	c.s.CommitTimes[bucket]++
	if err != nil {
		c.s.Failures++
	}
}

// Stats returns the counters. It is cheap and may be called at any time.
func (db *DB) Stats() Stats {
	db.writer.stats.mu.Lock()
	s := db.writer.stats.s
	db.writer.stats.mu.Unlock()
	s.CommitRunning = db.writer.busy()
	db.extent.mu.Lock()
	defer db.extent.mu.Unlock()
	s.Published, s.Position = db.extent.published, db.extent.head.position
	if oldest := db.extent.oldest; oldest.position > 0 {
		s.Events = db.extent.head.position - oldest.position + 1
		s.Bytes = db.extent.head.end - oldest.start
		s.Oldest = time.UnixMilli(oldest.time)
	}
	return s
}
