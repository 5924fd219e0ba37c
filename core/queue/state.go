package queue

import (
	"sync"
	"time"

	"github.com/evosink/evosink/core/sink"
)

// lane is what memory holds of a lane: how many deliveries wait, how far the attempts of the first have got, and a window of
// events while they are worked on. The rest is in the store.
type lane struct {
	Lane
	scope  sink.Scope
	outlet *outlet // nil if no sink of that name runs; then the lane is parked until a start with one
	gate   *gate   // nil if outlet is

	// reading is held while the store is asked for a window, or told to clear behind it, until what came of that is written below.
	// It is taken before Queue.mu.
	reading sync.Mutex

	// Queue.mu guards the fields below.
	state     state
	stale     bool // something changed while it was running: what it would be parked for may be over
	alarm     alarm
	head      Progress  // of the first delivery
	tried     int64     // the Seq that head is about; 0 if the first delivery was not tried yet
	oldest    time.Time // when that was put, as far as known
	waiting   int       // deliveries, those of the window included
	tail      int64     // Seq of the newest delivery
	passed    int64     // Seq of the newest delivery that is done with
	window    []Item    // the first deliveries, without a gap; maybe not all
	inFlight  int       // how many of the window are being tried
	burst     int       // how many may be tried at once after a failure; 0 sets no limit
	unsettled int       // outcomes that the store has not written down yet
	putting   int       // calls of Put that are about to add to it, or to find that they need not
}

// state says where a lane stands.
type state uint8

const (
	idle    state = iota // nothing waits
	ready                // it stands in its gate's line
	running              // a worker has it
	asleep               // its alarm is set
	parked               // until a pause ends, the settings change or its sink comes back
)

var states = [...]string{"idle", "ready", "running", "waiting", "parked"}

func (s state) String() string { return states[s] }

// last returns the Seq of the last delivery in the window, or of the one before an empty window.
func (l *lane) last() int64 {
	if n := len(l.window); n > 0 {
		return l.window[n-1].Seq
	}
	return l.passed
}

// lane returns the lane of that key, which is made if memory does not hold it.
func (q *Queue) lane(key Lane, scope sink.Scope) *lane {
	if l, ok := q.lanes[key]; ok {
		return l
	}
	l := &lane{Lane: key, scope: scope, outlet: q.outlets[key.Sink]}
	l.alarm.ring = func() { q.wake(l) }
	if l.outlet != nil {
		l.gate = q.gateOf(l)
		l.gate.lanes++
	}
	q.lanes[key] = l
	return l
}

// append adds a delivery behind all others of the lane. It is kept in memory if everything before it is, and there is room.
func (q *Queue) append(l *lane, item Item) {
	complete := l.last() == l.tail
	l.tail = item.Seq
	l.waiting++
	q.waiting++
	if l.waiting == 1 {
		l.oldest = item.At
	}
	if complete && item.Event != nil && len(l.window) < windowLength && q.cached+item.size() <= q.config.CacheBytes {
		l.window = append(l.window, item)
		q.cached += item.size()
	}
	if l.state == idle {
		q.wake(l)
	}
}

// wake lets a lane be tried as soon as its gate and a worker are free. A lane that is running or ready stays what it is.
func (q *Queue) wake(l *lane) {
	if l.state == running || l.state == ready {
		return
	}
	q.unset(&l.alarm)
	switch {
	case l.waiting == 0:
		l.state = idle
		q.forget(l)
		return
	case l.outlet == nil:
		l.state = parked
		return
	}
	l.state = ready
	l.gate.ready.push(l)
	l.gate.enlist()
}

// sleep lets a lane be tried again after d.
func (q *Queue) sleep(l *lane, d time.Duration) {
	q.discard(l)
	l.state = asleep
	q.set(&l.alarm, d)
}

// park lets a lane wait until somebody wakes it, or lets it be looked at again if something has changed meanwhile.
func (q *Queue) park(l *lane) {
	q.discard(l)
	l.state = parked
	if l.stale {
		q.wake(l)
	}
}

// done takes the first delivery out of the lane.
func (q *Queue) done(l *lane) {
	l.passed = l.window[0].Seq
	q.cached -= l.window[0].size()
	l.window[0] = Item{}
	l.window = l.window[1:]
	l.head, l.tried = Progress{}, 0
	l.inFlight--
	if len(l.window) > 0 {
		l.oldest = l.window[0].At
	}
	q.less(l, 1)
}

// less counts deliveries that wait no more, and tells those who wait for room.
func (q *Queue) less(l *lane, n int) {
	l.waiting -= n
	q.waiting -= n
	if n > 0 {
		q.freed()
	}
}

func (q *Queue) freed() {
	if q.room != nil {
		close(q.room)
		q.room = nil
	}
}

// discard lets go of the window; the store still has it.
func (q *Queue) discard(l *lane) {
	for _, item := range l.window {
		q.cached -= item.size()
	}
	l.window = nil
}

// forget drops a lane about which there is nothing left to know: the next event makes it anew. What the
// store has not written down yet keeps it, because a window read meanwhile would show it again.
func (q *Queue) forget(l *lane) {
	if l.state != idle || l.waiting != 0 || l.unsettled != 0 || l.putting != 0 || q.lanes[l.Lane] != l {
		return
	}
	q.discard(l)
	delete(q.lanes, l.Lane)
	if l.gate != nil {
		q.leave(l.gate)
	}
}

// windowLength and windowBytes bound what is read of a lane at once, and windowLength what is kept of it.
const (
	windowLength = 64
	windowBytes  = 1 << 20
)

// size is about what an item takes in memory.
func (i Item) size() int { return 256 + len(i.Event.Data) + len(i.Event.Extras) }
