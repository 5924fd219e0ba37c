package tail

import (
	"cmp"
	"slices"
	"sync"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/evosink/evosink/core/bus"
)

// All stands for every shard.
const All = -1

// page is how many entries a reader takes at once at most.
const page = 256

// An Entry is a message in the log. Positions are above 0 and grow, also from shard to shard.
// All readers share Message; each hands out copies.
type Entry struct {
	Position int64
	Shard    int
	Message  *message.Message
}

// A Tail holds the newest entries of a log. Any number of goroutines may use it at once.
type Tail struct {
	mu sync.Mutex
	// mu guards the fields below.
	shards []shardBuffer // one per shard, then the one of all shards
	newest int64
	bytes  int
}

// New returns the empty tail of a log with its newest entry so far at that position, 0 if it has none.
func New(shards int, newest int64) *Tail {
	t := &Tail{shards: make([]shardBuffer, shards+1), newest: newest}
	for i := range t.shards {
		t.shards[i].floor = newest
	}
	return t
}

// Shards returns the number of shards.
func (t *Tail) Shards() int { return len(t.shards) - 1 }

// Append adds entries behind all others and wakes the readers that wait for them.
func (t *Tail) Append(entries ...Entry) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, e := range entries {
		t.buffer(e.Shard).push(e)
		t.buffer(All).push(e)
		t.newest = e.Position
		t.bytes += bus.Size(e.Message)
	}
}

// Trim drops the oldest entries until at most that many events and bytes are left, but stops at the first one that is
// needed; nil needs none. It reports whether the limits are kept now.
func (t *Tail) Trim(events, bytes int, needed func(Entry) bool) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	all := t.buffer(All)
	for len(all.entries) > max(events, 0) || t.bytes > max(bytes, 0) {
		oldest := all.entries[0]
		if needed != nil && needed(oldest) {
			return false
		}
		all.pop()
		t.buffer(oldest.Shard).pop()
		t.bytes -= bus.Size(oldest.Message)
	}
	return events >= 0 && bytes >= 0
}

// Cull asks visit about the entries, the oldest first, for as long as it wants more, and removes those that it wants to
// drop, wherever they are. Readers pass them over; Floor does not tell of them.
func (t *Tail) Cull(visit func(Entry) (drop, more bool)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	dropped := make([][]int64, len(t.shards)) // positions, by shard
	for _, e := range t.buffer(All).entries {
		drop, more := visit(e)
		if drop {
			t.bytes -= bus.Size(e.Message)
			dropped[e.Shard] = append(dropped[e.Shard], e.Position)
			dropped[t.Shards()] = append(dropped[t.Shards()], e.Position)
		}
		if !more {
			break
		}
	}
	for i, positions := range dropped {
		t.shards[i].drop(positions)
	}
}

// Newest returns the position of the last entry appended.
func (t *Tail) Newest() int64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.newest
}

// Floor returns the position up to which entries have left the tail.
func (t *Tail) Floor() int64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.buffer(All).floor
}

// After returns the next entries of a shard, or of all, behind a position, oldest first. If there is none, wake is
// closed as soon as there is one. If floor is above position, entries up to floor may be missing: they have left the
// tail.
func (t *Tail) After(shard int, position int64) (entries []Entry, wake <-chan struct{}, floor int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.buffer(shard)
	if entries = s.after(position); len(entries) == 0 {
		wake = s.wait()
	}
	return entries, wake, s.floor
}

func (t *Tail) buffer(shard int) *shardBuffer {
	if shard == All {
		shard = t.Shards()
	}
	return &t.shards[shard]
}

// A shardBuffer is the entries of one shard, or of all, oldest first.
type shardBuffer struct {
	entries []Entry
	floor   int64         // every entry behind this position is in entries
	wake    chan struct{} // closed by the next push; nil while no reader waits
}

func (s *shardBuffer) push(e Entry) {
	s.entries = append(s.entries, e)
	if s.wake != nil {
		close(s.wake)
		s.wake = nil
	}
}

func (s *shardBuffer) pop() {
	s.floor = s.entries[0].Position
	s.entries[0] = Entry{} // lets go of the message; the slot itself goes when append moves the rest
	s.entries = s.entries[1:]
}

// drop removes the entries at positions, which are in order. Those before the last of them that stay move up to it: in a
// long buffer they are few.
func (s *shardBuffer) drop(positions []int64) {
	if len(positions) == 0 {
		return
	}
	free, _ := slices.BinarySearchFunc(s.entries, positions[len(positions)-1], func(e Entry, p int64) int {
		return cmp.Compare(e.Position, p)
	})
	for i := free; i >= 0; i-- {
		if n := len(positions); n > 0 && s.entries[i].Position == positions[n-1] {
			positions = positions[:n-1]
			continue
		}
		s.entries[free] = s.entries[i]
		free--
	}
	clear(s.entries[:free+1])
	s.entries = s.entries[free+1:]
}

func (s *shardBuffer) after(position int64) []Entry {
	i, _ := slices.BinarySearchFunc(s.entries, position+1, func(e Entry, p int64) int {
		return cmp.Compare(e.Position, p)
	})
	return slices.Clone(s.entries[i:min(i+page, len(s.entries))])
}

func (s *shardBuffer) wait() <-chan struct{} {
	if s.wake == nil {
		s.wake = make(chan struct{})
	}
	return s.wake
}
