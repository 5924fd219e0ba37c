package deliveries

import (
	"encoding/binary"
	"sync"
	"time"

	"github.com/evosink/evosink/core/queue"
)

// recent knows, without a look at the file, how far back the events go that Sweep has not passed over, and which are
// absorbed when they come again. A mark stands for many of them. Any number of goroutines may use it at once.
type recent struct {
	mu sync.Mutex
	// mu guards the fields below.
	swept int64        // all up to here are done with
	marks []recentMark // in order
	count int64        // of the events of all marks
	bytes int64        // of these events
	seq   int64        // of the newest event
}

type recentMark struct {
	seq   int64 // of its last event
	at    time.Time
	count int64
	bytes int64
}

// markEvents is how many events share a mark at most, markAge for how long.
const (
	markEvents = 256
	markAge    = time.Second
)

// begin says what a file holds that was just opened, with all of its events behind swept counted as such that are
// remembered. How old they are is not known; they count as new.
func (r *recent) begin(swept, seq int64) {
	r.swept, r.seq = swept, seq
	if r.count = seq - swept; r.count > 0 {
		r.marks = []recentMark{{seq: seq, at: time.Now(), count: r.count}}
	}
}

// add adds an event. Two that were committed in one batch may come in any order.
func (r *recent) add(seq, bytes int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	n := len(r.marks)
	if n == 0 || r.marks[n-1].count >= markEvents || now.Sub(r.marks[n-1].at) > markAge {
		r.marks = append(r.marks, recentMark{at: now})
		n++
	}
	m := &r.marks[n-1]
	r.seq = max(r.seq, seq)
	m.seq = r.seq
	m.count++
	m.bytes += bytes
	r.count++
	r.bytes += bytes
}

// end returns the seq up to which events may go.
func (r *recent) end(keep queue.Retention, now time.Time) int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	end, count, bytes := r.swept, r.count, r.bytes
	for _, m := range r.marks {
		if count <= int64(keep.Seen) && bytes <= int64(keep.SeenBytes) && now.Sub(m.at) < keep.SeenAge {
			break
		}
		end = m.seq
		count -= m.count
		bytes -= m.bytes
	}
	return end
}

// span returns the seq up to which events were passed over, and that of the newest.
func (r *recent) span() (swept, newest int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.swept, r.seq
}

// shrink says that events up to a seq were passed over.
func (r *recent) shrink(to int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.swept = to
	for len(r.marks) > 0 && r.marks[0].seq <= to {
		r.count -= r.marks[0].count
		r.bytes -= r.marks[0].bytes
		r.marks = r.marks[1:]
	}
}

// A laneList says in which lanes an event was put: for each a hash of the lane and the seq of the delivery, 8 bytes
// each. The list outlives the rows of lanes, so it cannot name these.
type laneList []byte

func (l laneList) add(lane queue.LaneKey, seq int64) laneList {
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(l, hash(lane)), uint64(seq))
}

func (l laneList) find(lane queue.LaneKey) (seq int64, ok bool) {
	for h := hash(lane); len(l) >= 16; l = l[16:] {
		if binary.BigEndian.Uint64(l) == h {
			return int64(binary.BigEndian.Uint64(l[8:])), true
		}
	}
	return 0, false
}

// hash is FNV-1a over the lane's parts, each ended by a zero; the instance's id is left out if there is none, as in
// older files.
func hash(l queue.LaneKey) uint64 {
	h := uint64(14695981039346656037)
	for part, s := range [...]string{l.Sink, string(l.Target), l.Instance, l.InstanceID} {
		if part == 3 && s == "" {
			break
		}
		for i := 0; i <= len(s); i++ {
			if i < len(s) {
				h ^= uint64(s[i])
			}
			h *= 1099511628211
		}
	}
	return h
}
