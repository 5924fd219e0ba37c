package file

import (
	"sync"
	"time"
)

// CommitBounds are the upper bounds of the buckets of [Commits].Times; the last bucket has none.
var CommitBounds = [...]time.Duration{
	250 * time.Microsecond, 500 * time.Microsecond, time.Millisecond, 2500 * time.Microsecond, 5 * time.Millisecond,
	10 * time.Millisecond, 25 * time.Millisecond, 100 * time.Millisecond, 500 * time.Millisecond, 2500 * time.Millisecond,
}

// Commits counts group commits.
type Commits struct {
	Count    uint64                        // with and without success
	Writes   uint64                        // in them
	Failures uint64                        // commits that failed
	Time     time.Duration                 // spent in all commits
	Running  time.Duration                 // for how long the commit under way has been running; 0 if there is none
	Times    [len(CommitBounds) + 1]uint64 // commits by how long they took, see CommitBounds
}

// A commitCounter is filled by the writer.
type commitCounter struct {
	mu sync.Mutex
	// mu guards the field below.
	counted Commits
}

func (c *commitCounter) add(writes int, took time.Duration, err error) {
	bucket := 0
	for bucket < len(CommitBounds) && took > CommitBounds[bucket] {
		bucket++
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.counted.Count++
	c.counted.Writes += uint64(writes)
	c.counted.Time += took
	c.counted.Times[bucket]++
	if err != nil {
		c.counted.Failures++
	}
}

// Commits returns what was counted since Open. It is cheap and may be called at any time.
func (f *File) Commits() Commits {
	c := &f.writer.commits
	c.mu.Lock()
	counted := c.counted
	c.mu.Unlock()
	counted.Running = f.writer.busy()
	return counted
}
