package queue

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/evosink/evosink/core/bus"
)

// A logged is an event that the log answers for, until all its lanes are done with it or have it in the store.
type logged struct {
	holding  *holding
	position bus.Position
	at       time.Time // when it was taken
	bytes    int64     // of its event, see Size
	items    []item
	left     atomic.Int32 // items that the log still answers for
	former   []uint64     // digests of the lanes that were done with it before this node took it
}

// handled says that the log need not answer for an item any more. It is called once for each.
func (e *logged) handled(it *item) {
	it.done.Store(true)
	e.left.Add(-1)
	e.holding.track.moved()
}

// A track is how far a shard of the log is handled: a window of the events behind the cursor.
type track struct {
	waits   atomic.Bool  // something waits for room
	changed atomic.Int64 // grows with every change that a mark would show
	written atomic.Int64 // the change up to which the store has the mark
	wake    func()       // has the ledger look; called with any lock held

	maxBytes int64

	mu sync.Mutex
	// mu guards the fields below.
	cursor bus.Position  // everything up to it is handled
	newest bus.Position  // of what was taken
	events []*logged     // behind the cursor, in order
	bytes  int64         // of them
	former []former      // in order, behind newest
	room   chan struct{} // closed when something leaves the window; nil while nothing waits for that
}

// A former is an event that the shard's former owner was done with, for some lanes or for all.
type former struct {
	position bus.Position
	lanes    []uint64 // digests of those; none for all
}

// A window of the log has at most so many events of a shard that are not handled, for so long. What is older, or would be
// too much, is spilled.
const (
	trackLength = 4096
	trackAge    = 2 * time.Second
)

// begin goes on where a mark says that the shard's former owner was.
func (t *track) begin(m Mark) (err error) {
	t.cursor = m.Cursor.Position
	t.newest = t.cursor
	t.former, err = decodeDone(t.cursor, m.Done)
	return err
}

func (t *track) moved() {
	t.changed.Add(1)
	if t.waits.Load() {
		t.mu.Lock()
		t.advance()
		t.mu.Unlock()
	}
	t.wake()
}

// dirty reports whether the store's mark is behind.
func (t *track) dirty() bool { return t.written.Load() < t.changed.Load() }

// missing returns the destinations of an event that has to be taken: those that a former owner was not done with. It is
// false if the event was taken before.
func (t *track) missing(position bus.Position, to []Destination) ([]Destination, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if position <= t.newest {
		return nil, false
	}
	for len(t.former) > 0 && t.former[0].position < position { // the log does not have it any more
		t.former = t.former[1:]
	}
	if len(t.former) > 0 && t.former[0].position == position {
		to = t.former[0].left(to)
	}
	return to, true
}

// take adds an event to the window, with items for destinations that missing has returned. It returns nil if the event
// was taken before, or is handled everywhere.
func (t *track) take(h *holding, position bus.Position, bytes int64, to []Destination) *logged {
	t.mu.Lock()
	defer t.mu.Unlock()
	if position <= t.newest {
		return nil
	}
	t.newest = position
	e := &logged{holding: h, position: position, bytes: bytes, at: time.Now(), items: make([]item, len(to))}
	if len(t.former) > 0 && t.former[0].position == position {
		e.former, t.former = t.former[0].lanes, t.former[1:]
	}
	for i := range e.items {
		e.items[i].event, e.items[i].dest, e.items[i].size = e, to[i], bytes
	}
	e.left.Store(int32(len(to)))
	if len(to) == 0 && len(t.events) == 0 {
		t.cursor = position
		t.changed.Add(1)
		return nil
	}
	t.events = append(t.events, e)
	t.bytes += bytes
	if len(to) == 0 {
		t.changed.Add(1)
	}
	return e
}

// left returns the destinations that the former owner was not done with.
func (f former) left(to []Destination) []Destination {
	if len(f.lanes) == 0 {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(to), func(d Destination) bool { return slices.Contains(f.lanes, digest(d.Lane)) })
}

// full returns nil if another event may be taken, else what is closed when there may be room.
func (t *track) full() <-chan struct{} {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.advance()
	if len(t.events) == 0 || len(t.events) < trackLength && t.bytes < t.maxBytes {
		return nil
	}
	if t.room == nil {
		t.room = make(chan struct{})
		t.waits.Store(true)
	}
	return t.room
}

// advance moves the cursor over what is handled. Held: mu.
func (t *track) advance() {
	n := 0
	for ; n < len(t.events) && t.events[n].left.Load() == 0; n++ {
		t.cursor = t.events[n].position
		t.bytes -= t.events[n].bytes
	}
	if n == 0 {
		return
	}
	clear(t.events[:n])
	if t.events = t.events[n:]; len(t.events) == 0 {
		t.events = nil
	}
	if t.room != nil {
		close(t.room)
		t.room = nil
		t.waits.Store(false)
	}
}

// lagging returns what is left of the oldest events: of those that were taken before a time, or, if there are none, of the
// older half of a window that is full.
func (t *track) lagging(before time.Time) (items []*item) {
	t.mu.Lock()
	defer t.mu.Unlock()
	half := len(t.events)
	if len(t.events) < trackLength && t.bytes < t.maxBytes {
		half = 0
	}
	for i, e := range t.events {
		if e.at.After(before) && i >= half/2 {
			break
		}
		for i := range e.items {
			if it := &e.items[i]; !it.done.Load() {
				items = append(items, it)
			}
		}
	}
	return items
}

// empty reports whether everything taken is handled.
func (t *track) empty() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.advance()
	return len(t.events) == 0
}

// mark returns what the store is to keep of the track, and the change that it shows; ok is false if there is nothing
// to keep yet.
func (t *track) mark(of bus.Lease) (m Mark, change int64, ok bool) {
	change = t.changed.Load() // before the look at what it stands for
	t.mu.Lock()
	defer t.mu.Unlock()
	t.advance()
	cursor, rest := t.cursor, t.events
	for len(rest) > 0 && rest[0].allDone() { // some of it is only being stored, together with the mark
		cursor, rest = rest[0].position, rest[1:]
	}
	if cursor == 0 && len(rest) == 0 {
		return Mark{}, change, false
	}
	m.Cursor = bus.Cursor{Group: of.Group, Shard: of.Shard, Position: cursor}
	at := cursor
	add := func(position bus.Position, lanes []uint64) {
		if m.Done == nil {
			m.Done = []byte{doneFormat}
		}
		m.Done = binary.AppendUvarint(m.Done, uint64(position-at))
		m.Done = binary.AppendUvarint(m.Done, uint64(len(lanes)))
		for _, lane := range lanes {
			m.Done = binary.BigEndian.AppendUint64(m.Done, lane)
		}
		at = position
	}
	for _, e := range rest {
		if e.allDone() {
			add(e.position, nil)
		} else if lanes := e.doneLanes(); len(lanes) > 0 {
			add(e.position, lanes)
		}
	}
	for len(t.former) > 0 && t.former[0].position <= t.newest { // the log did not have it any more
		t.former = t.former[1:]
	}
	for _, f := range t.former {
		add(f.position, f.lanes)
	}
	return m, change, true
}

func (e *logged) allDone() bool {
	for i := range e.items {
		if !e.items[i].done.Load() {
			return false
		}
	}
	return true
}

func (e *logged) doneLanes() []uint64 {
	lanes := e.former
	for i := range e.items {
		if it := &e.items[i]; it.done.Load() {
			if it.name == 0 {
				it.name = digest(it.dest.Lane)
			}
			lanes = append(slices.Clip(lanes), it.name)
		}
	}
	return lanes
}

// digest stands for a lane in a mark. It is as unlikely as can be that two lanes of an event have the same.
func digest(l LaneKey) uint64 {
	sum := sha256.Sum256([]byte(strings.Join([]string{l.Sink, string(l.Target), l.Instance, l.InstanceID}, "\x00")))
	return binary.BigEndian.Uint64(sum[:])
}

// doneFormat is the first byte of Mark.Done. What follows are events in order of position, those behind the cursor that
// are done with: the distance from the one before, how many lanes are done with it (0 for all), and their digests.
const doneFormat = 1

// doneLength is how many events a mark names at most: more than a window has, or any version's will.
const doneLength = 16 * trackLength

var errDone = errors.New("a mark of the log that this version cannot read")

// decodeDone reads what track.mark wrote.
func decodeDone(cursor bus.Position, b []byte) (out []former, err error) {
	if len(b) == 0 {
		return nil, nil
	}
	if b[0] != doneFormat {
		return nil, fmt.Errorf("%w: format %d", errDone, b[0])
	}
	at := max(0, cursor)
	for b = b[1:]; len(b) > 0; {
		distance, n := binary.Uvarint(b)
		if n <= 0 || distance == 0 || distance > uint64(math.MaxInt64-at) || len(out) == doneLength {
			return nil, errDone
		}
		b = b[n:]
		count, n := binary.Uvarint(b)
		if n <= 0 || count > uint64(len(b)-n)/8 {
			return nil, errDone
		}
		b = b[n:]
		at += bus.Position(distance)
		lanes := make([]uint64, count)
		for i := range lanes {
			lanes[i], b = binary.BigEndian.Uint64(b), b[8:]
		}
		out = append(out, former{at, lanes})
	}
	return out, nil
}
