package instances

import (
	"context"
	"slices"
	"sync"
)

// What a [Feed] keeps for its followers. One that is further behind reads all instances again.
const (
	feedUpdates = 1024
	feedBytes   = 4 << 20
	feedPage    = 128 // updates that After returns at once
)

// A Feed is the part of a [Store] in one process that remembers the newest changes, in memory and within bounds, and
// wakes the readers that wait for the next one. Any number of goroutines may use it at once.
type Feed struct {
	closed chan struct{}

	mu sync.Mutex
	// mu guards the fields below.
	updates []Update // without gaps, up to newest
	bytes   int
	newest  int64
	moved   chan struct{} // closed when an update is added
	ended   bool
}

// NewFeed returns the feed of a store of which the newest change has that revision.
func NewFeed(revision int64) *Feed {
	return &Feed{newest: revision, moved: make(chan struct{}), closed: make(chan struct{})}
}

// Add appends a change that was stored. Its revision must be the one behind the newest.
func (f *Feed) Add(u Update) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.updates = append(f.updates, u)
	f.bytes += u.size()
	drop := 0
	for len(f.updates)-drop > feedUpdates || f.bytes > feedBytes && len(f.updates)-drop > 1 {
		f.bytes -= f.updates[drop].size()
		f.updates[drop] = Update{}
		drop++
	}
	f.updates = f.updates[drop:]
	f.newest = u.Revision
	close(f.moved)
	f.moved = make(chan struct{})
}

// Skip goes on behind a revision above the newest, where the changes up to it are not known one by one: followers that
// have not got them are told that they are forgotten.
func (f *Feed) Skip(revision int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if revision <= f.newest {
		return
	}
	f.updates, f.bytes, f.newest = nil, 0, revision
	close(f.moved)
	f.moved = make(chan struct{})
}

func (u Update) size() int {
	n := 256 + len(u.Name)
	if u.Instance != nil {
		for _, s := range u.Instance.Settings {
			n += 256 + len(s.Value)
		}
	}
	return n
}

// Newest returns the revision of the newest change.
func (f *Feed) Newest() int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.newest
}

// After is what [Store].InstanceUpdates promises.
func (f *Feed) After(ctx context.Context, revision int64) ([]Update, error) {
	for {
		f.mu.Lock()
		oldest, moved := f.newest-int64(len(f.updates)), f.moved
		var page []Update
		if revision >= oldest && revision < f.newest {
			page = slices.Clone(f.updates[revision-oldest : min(revision-oldest+feedPage, int64(len(f.updates)))])
		}
		f.mu.Unlock()
		if revision < oldest {
			return nil, ErrForgotten
		}
		if len(page) > 0 {
			return page, nil
		}
		select {
		case <-moved:
		case <-f.closed:
			return nil, ErrClosed
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// Close ends every After with [ErrClosed], now and from now on, unless it has something to return.
func (f *Feed) Close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.ended {
		f.ended = true
		close(f.closed)
	}
}
