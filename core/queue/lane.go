package queue

import (
	"sync"
	"time"

	"github.com/evosink/evosink/core/sink"
)

// lane is what memory holds of a lane: how many deliveries wait, how far the attempts of the first have got, and a
// window of the first events while they are worked on. The rest is in the store.
type lane struct {
	LaneKey
	holding  *holding
	scope    sink.Scope
	endpoint *endpoint // nil if no sink of that name runs; then the lane is suspended until a start with one
	share    *share

	// storeMu is held while a window is read from the store, or a purge runs, until memory agrees with the store
	// again. It is taken before the scheduler's lock.
	storeMu sync.Mutex

	// The scheduler's lock guards the fields below.
	state      laneState // written by scheduler.setState only
	pins       int       // puts, purges and unwritten results that need the lane in memory
	dropped    bool      // its shard is not held any more, and it is not in the table
	changed    bool      // something it may be suspended for has changed since its attempt began
	timer      timer     // set while it is backing off
	progress   Progress  // of the first delivery
	tried      int64     // the Seq that progress is about; 0 if the first delivery was not tried yet
	oldest     time.Time // when the first delivery was put, as far as known
	waiting    int       // deliveries, those of the window included
	bytes      int64     // of them, see Size
	droppable  int       // how many of them may be dropped, about
	newest     int64     // Seq of the newest delivery
	passed     int64     // Seq of the newest delivery that is done with
	window     []Delivery
	attempting int   // how many of the window an attempt has in hand
	inHand     int64 // bytes of them, see inFlight
	burst      int   // how many may be tried at once after a failure; 0 sets no limit
}

// laneState says where a lane stands, and so what holds it back.
type laneState uint8

const (
	idle laneState = iota // nothing waits

	// It waits for its turn at its endpoint, which has Config.PerTarget attempts and two breakers, its own and its
	// host's (endpointTable.placeOf); or for other attempts of its instance (Config.PerInstance, inFlight.admitsOf) or of
	// the sink to end, for a restart of the sink, or for the store (scheduler.next).
	ready

	attempting // an attempt has it
	backingOff // its timer is set: until the next attempt after a failure

	// Until a pause ends, or the instance's settings change (attempt.prepare); for ever where no sink of that name runs,
	// or its shard is let go of.
	suspended
)

// The words of [LaneStatus].
var laneStates = [...]string{"idle", "ready", "running", "waiting", "parked"}

func (s laneState) String() string { return laneStates[s] }

// last returns the Seq of the last delivery in the window, or of the one before an empty window.
func (l *lane) last() int64 {
	if n := len(l.window); n > 0 {
		return l.window[n-1].Seq
	}
	return l.passed
}

// A laneTable holds the lanes of one sink in memory, and counts what waits in them. The scheduler's lock guards it.
type laneTable struct {
	capacity  *capacity
	droppable map[string]bool // names of events
	byKey     map[LaneKey]*lane
}

// windowLength and windowBytes bound what is read of a lane at once, and windowLength what is kept of it.
const (
	windowLength = 64
	windowBytes  = 1 << 20
)

// add makes a lane.
func (t *laneTable) add(h *holding, key LaneKey, scope sink.Scope) *lane {
	l := &lane{LaneKey: key, holding: h, scope: scope, share: t.capacity.acquire(key.Instance)}
	t.byKey[key] = l
	return l
}

// restore takes over what the store says of a lane when its shard is acquired.
func (t *laneTable) restore(l *lane, b Backlog) {
	l.waiting, l.bytes, l.droppable = b.Waiting, b.Bytes, b.Drops
	l.newest, l.progress, l.oldest = b.Newest, b.Head, b.Oldest
	if !b.Head.First.IsZero() {
		l.tried, l.burst = b.First, 1
	}
	t.capacity.add(l.share, b.Waiting, b.Bytes)
}

// append adds a delivery of that size behind all others of the lane. It is kept in memory if everything before it is,
// and there is room.
func (t *laneTable) append(l *lane, d Delivery, bytes int64) {
	complete := l.last() == l.newest
	l.newest = d.Seq
	l.waiting++
	l.bytes += bytes
	if d.Event != nil && t.droppable[d.Event.Name] {
		l.droppable++
	}
	t.capacity.add(l.share, 1, bytes)
	if l.waiting == 1 {
		l.oldest = d.At
	}
	if complete && d.Event != nil && len(l.window) < windowLength &&
		t.capacity.cached.Load()+bytes <= int64(t.capacity.config.CacheBytes) {
		l.window = append(l.window, d)
		t.capacity.cached.Add(bytes)
	}
}

// removeFirst takes the first delivery out of the lane: it was delivered, or is a dead letter.
func (t *laneTable) removeFirst(l *lane) {
	l.passed = l.window[0].Seq
	bytes := Size(l.window[0].Event)
	t.capacity.cached.Add(-bytes)
	if t.droppable[l.window[0].Event.Name] && l.droppable > 0 {
		l.droppable--
	}
	l.window[0] = Delivery{}
	l.window = l.window[1:]
	l.progress, l.tried = Progress{}, 0
	l.attempting--
	if len(l.window) > 0 {
		l.oldest = l.window[0].At
	}
	t.less(l, Purged{1, bytes})
}

// less counts deliveries that wait no more. With the last of them no bytes are left, whatever an older version has
// stored of their sizes.
func (t *laneTable) less(l *lane, gone Purged) {
	if l.waiting -= gone.Count; l.waiting == 0 || gone.Bytes > l.bytes {
		gone.Bytes = l.bytes
	}
	l.bytes -= gone.Bytes
	l.droppable = min(l.droppable, l.waiting)
	t.capacity.add(l.share, -gone.Count, -gone.Bytes)
}

// keepWindow takes what was read of the store behind l.passed, up to until.
func (t *laneTable) keepWindow(l *lane, read []Delivery, until int64) {
	l.window = read
	for _, d := range read {
		t.capacity.cached.Add(Size(d.Event))
	}
	if len(read) == 0 { // the store has less than was counted: something else has been at it
		t.less(l, Purged{Count: l.waiting})
		l.passed = until
	}
}

// cutWindow frees the window but for what an attempt has in hand; the store still has it.
func (t *laneTable) cutWindow(l *lane) {
	for _, d := range l.window[l.attempting:] {
		t.capacity.cached.Add(-Size(d.Event))
	}
	clear(l.window[l.attempting:])
	if l.window = l.window[:l.attempting:l.attempting]; l.attempting == 0 {
		l.window = nil
	}
}

// drop takes a lane out, whatever is known of it: its shard is not held any more.
func (t *laneTable) drop(l *lane) {
	for _, d := range l.window {
		t.capacity.cached.Add(-Size(d.Event))
	}
	l.window = nil // an attempt may have the deliveries in hand
	t.less(l, Purged{Count: l.waiting})
	delete(t.byKey, l.LaneKey)
	t.capacity.release(l.Instance, l.share)
	l.dropped = true
}

// forget drops a lane about which there is nothing left to know: the next event makes it anew. It reports whether it
// did. A result that the store has not written down yet keeps the lane, because a window read meanwhile would show
// the delivery again; so does a put, which may find its delivery stored and gone by the time the store answers.
func (t *laneTable) forget(l *lane) bool {
	if l.state != idle || l.waiting != 0 || l.pins != 0 || t.byKey[l.LaneKey] != l {
		return false
	}
	t.cutWindow(l)
	delete(t.byKey, l.LaneKey)
	t.capacity.release(l.Instance, l.share)
	return true
}
