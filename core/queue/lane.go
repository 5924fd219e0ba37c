package queue

import (
	"slices"
	"sync"
	"time"

	"github.com/evosink/evosink/core/sink"
)

// lane is what memory holds of a lane: how many deliveries wait, how far the attempts of the first have got, and a
// window of the first events while they are worked on. The rest is in the store. What comes while the window shows all
// that waits stays in memory, and the log answers for it; see take.go for when it is stored.
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
	window     []*item   // its first deliveries: those that the store has, then those that it does not have yet
	behind     []*item   // what is to be stored behind a window that does not show all that waits
	attempting int       // how many of the window an attempt has in hand
	logged     int       // deliveries that the log answers for
	loggedSize int64     // of them
	spilled    int64     // deliveries that the ledger was ever given
	unstored   int       // of them, those that it has not settled
	inHand     int64     // bytes of them, see inFlight
	burst      int       // how many may be tried at once after a failure; 0 sets no limit
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

// last returns the Seq of the last delivery in the window that the store has, or of the one before an empty window.
func (l *lane) last() int64 {
	for _, it := range slices.Backward(l.window) {
		if it.keeper == byStore {
			return it.Seq
		}
	}
	return l.passed
}

// toStore says that the log does not answer for a delivery any more: it is to be stored.
func (l *lane) toStore(it *item) {
	it.keeper = spilling
	l.logged--
	l.loggedSize -= it.size
	l.spilled++
	l.unstored++
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

// append adds a delivery behind all others of the lane. What the store has is kept in memory if everything before it
// is, and there is room; what it does not have is kept in any case.
func (t *laneTable) append(l *lane, it *item) {
	t.gather(l)
	complete := len(l.window) == l.waiting
	l.waiting++
	l.bytes += it.size
	if it.Event != nil && t.droppable[it.Event.Name] {
		l.droppable++
	}
	t.capacity.add(l.share, 1, it.size)
	if l.waiting == 1 {
		l.oldest = it.At
	}
	room := it.Event != nil && len(l.window) < windowLength &&
		t.capacity.cached.Load()+it.size <= int64(t.capacity.config.CacheBytes)
	switch {
	case it.keeper == byStore:
		if l.newest = it.Seq; complete && room {
			t.show(l, it)
		}
	case complete:
		t.show(l, it)
	default:
		l.behind = append(l.behind, it)
	}
	if it.keeper == byLog {
		l.logged++
		l.loggedSize += it.size
	}
}

// show adds deliveries to the window.
func (t *laneTable) show(l *lane, items ...*item) {
	l.window = append(l.window, items...)
	for _, it := range items {
		t.capacity.cached.Add(it.size)
	}
}

// gather has the window show what is still to be stored, if it shows all before that.
func (t *laneTable) gather(l *lane) {
	if len(l.behind) > 0 && len(l.window)+len(l.behind) == l.waiting {
		t.show(l, l.behind...)
		l.behind = nil
	}
}

// removeFirst takes the first delivery out of the lane: it was delivered, or is a dead letter.
func (t *laneTable) removeFirst(l *lane) {
	first := l.window[0]
	if first.gone = true; first.keeper == byStore {
		l.passed = first.Seq
	}
	if first.keeper == byLog {
		l.logged--
		l.loggedSize -= first.size
	}
	t.capacity.cached.Add(-first.size)
	if t.droppable[first.Event.Name] && l.droppable > 0 {
		l.droppable--
	}
	l.window[0] = nil
	l.window = l.window[1:]
	l.progress, l.tried = Progress{}, 0
	l.attempting--
	if len(l.window) > 0 {
		l.oldest = l.window[0].At
	}
	t.less(l, Purged{1, first.size})
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
	for _, d := range read {
		t.show(l, &item{Delivery: d, lane: l, size: Size(d.Event), keeper: byStore})
	}
	if len(read) == 0 { // the store has less than was counted: something else has been at it
		t.less(l, Purged{Count: l.waiting - len(l.behind)})
		l.passed = until
	}
	t.gather(l)
}

// cutWindow frees what the window shows of the store, but for what an attempt has in hand. What is not stored stays in
// memory, behind that.
func (t *laneTable) cutWindow(l *lane) {
	kept, stored := l.window[:l.attempting:l.attempting], 0
	for _, it := range l.window[l.attempting:] {
		if it.keeper == byStore {
			stored++
		}
	}
	if stored == 0 {
		return
	}
	for _, it := range l.window[l.attempting:] {
		t.capacity.cached.Add(-it.size)
	}
	l.behind = append(slices.Clone(l.window[l.attempting+stored:]), l.behind...)
	clear(l.window[l.attempting:])
	if l.window = kept; l.attempting == 0 {
		l.window = nil
	}
}

// drop takes a lane out, whatever is known of it: its shard is not held any more.
func (t *laneTable) drop(l *lane) {
	for _, it := range l.window {
		t.capacity.cached.Add(-it.size)
	}
	l.window, l.behind = nil, nil // an attempt may have the deliveries in hand
	l.logged, l.loggedSize = 0, 0
	t.less(l, Purged{Count: l.waiting})
	delete(t.byKey, l.LaneKey)
	t.capacity.release(l.Instance, l.share)
	l.dropped = true
}

// forget drops a lane about which there is nothing left to know: the next event makes it anew. It reports whether it
// did. A result that the store has not written down yet keeps the lane, because a window read meanwhile would show
// the delivery again; so does a put, which may find its delivery stored and gone by the time the store answers.
func (t *laneTable) forget(l *lane) bool {
	if l.state != idle || l.waiting != 0 || l.pins != 0 || l.unstored != 0 || t.byKey[l.LaneKey] != l {
		return false
	}
	t.cutWindow(l)
	delete(t.byKey, l.LaneKey)
	t.capacity.release(l.Instance, l.share)
	return true
}
