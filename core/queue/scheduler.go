package queue

import (
	"context"
	"encoding/json"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/evosink/evosink/core/sink"
	"github.com/evosink/evosink/core/uses"
)

// A Sink is a sink that the queue delivers to.
type Sink struct {
	Name string
	// Sink has been started, and is closed by its owner after the queue.
	Sink sink.Sink
	// Restart replaces the sink after a panic: it closes the present one and returns another, started. No Deliver runs
	// meanwhile. After an error it is called again, after a pause. nil goes on with the sink as it is.
	Restart func(ctx context.Context) (sink.Sink, error)
	// Admit tells, before each attempt, what the settings of a lane's instance say about its deliveries of that
	// scope. Settings are what [sink.Delivery] carries. It must return promptly. nil means [Deliver], without
	// settings.
	Admit func(l LaneKey, s sink.Scope) (Admission, json.RawMessage)
	// Idle is called once while the queue is closed, when the last attempt of this sink has ended and none will begin:
	// its owner may close the sink from then on, whatever the other sinks still do. It must return promptly. nil tells
	// nothing.
	Idle func()
}

// An Admission says what becomes of the deliveries that wait for an instance.
type Admission uint8

// The admissions.
const (
	Deliver Admission = iota // they are tried
	Hold                     // they are kept, see [Queue.Refresh]: the sink is switched off for them
	Discard                  // they become dead letters: the instance does not exist any more
)

// A scheduler decides which lanes of one sink are tried, and when. Nothing on the way of a delivery takes a lock of
// another sink's. Lanes that are ready wait for their turn at an endpoint, endpoints for theirs at the sink;
// instances take turns in both. An attempt has a goroutine of its own, so a target that does not answer costs others
// nothing until Config.Workers attempts are in the air.
type scheduler struct {
	Sink
	config   *Config
	store    Store
	log      zerolog.Logger
	notices  *notices
	pauses   *pauses
	results  *resultBuffer
	ledger   *ledger
	answers  *answers
	fenced   func(h *holding, err error)
	stopping <-chan struct{}
	work     chan *attempt   // to goroutines that wait for one
	running  sync.WaitGroup  // attempts, and a restart
	ctx      context.Context // of attempts; set by start

	mu sync.Mutex
	// mu guards the fields below.
	lanes     laneTable
	sink      abilities
	endpoints endpointTable
	inFlight  inFlight
	timers    timers
	runs      bool       // attempts may begin
	attempts  int        // in the air
	parked    int        // goroutines that wait for an attempt and have not been given one
	spare     []*attempt // that are over
	broken    error
	restarts  restarts
	counts    Counts
	failure   string // of the last attempt that failed
	failedAt  time.Time

	// availableAt is when the sink said last that its target can be reached; attempts begun before say nothing of that.
	availableAt time.Time
}

// abilities are a sink and what it can do; nil where it cannot.
type abilities struct {
	sink.Sink
	batcher   sink.Batcher
	retrier   sink.Retrier
	addresser sink.Addresser
	hoster    sink.Hoster
}

func abilitiesOf(s sink.Sink) (a abilities) {
	a.Sink = s
	a.batcher, _ = s.(sink.Batcher)
	a.retrier, _ = s.(sink.Retrier)
	a.addresser, _ = s.(sink.Addresser)
	a.hoster, _ = s.(sink.Hoster)
	return a
}

// newScheduler returns the scheduler of a sink; without a Sink.Sink it keeps lanes and tries none.
func newScheduler(q *Queue, s Sink) *scheduler {
	if s.Admit == nil {
		s.Admit = func(LaneKey, sink.Scope) (Admission, json.RawMessage) { return Deliver, nil }
	}
	out := &scheduler{
		Sink: s, config: &q.config, store: q.store, log: q.log.With().Str("sink", s.Name).Logger(), notices: q.notices,
		work: make(chan *attempt, parkedAtMost), pauses: &q.pauses, results: q.results, ledger: q.ledger, answers: q.answers, fenced: q.fenced, stopping: q.stopping,
		lanes: laneTable{capacity: &q.door.capacity, droppable: q.door.droppable, byKey: map[LaneKey]*lane{}},
	}
	out.endpoints = endpointTable{
		config: &q.config, timers: &out.timers, byKey: map[string]*endpoint{},
		hosts: map[string]*host{}, tenants: map[string]*tenant{},
	}
	out.inFlight = inFlight{config: &q.config, of: uses.Counts[string, int64]{}}
	out.sink = abilitiesOf(s.Sink)
	out.timers = timers{mu: &out.mu, after: out.dispatch}
	return out
}

// start lets attempts begin, under ctx.
func (s *scheduler) start(ctx context.Context) {
	s.mu.Lock()
	defer s.unlock()
	s.ctx, s.runs = ctx, s.sink.Sink != nil
}

// stop lets no attempt begin any more.
func (s *scheduler) stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.runs = false
	s.timers.stop()
}

// unlock ends a change of the scheduler's state: attempts that can begin now do.
func (s *scheduler) unlock() {
	s.dispatch()
	s.mu.Unlock()
}

// lane returns the lane of that key, which is made if memory does not hold it.
func (s *scheduler) lane(h *holding, key LaneKey, scope sink.Scope) *lane {
	if l, ok := s.lanes.byKey[key]; ok {
		return l
	}
	l := s.lanes.add(h, key, scope)
	if s.sink.Sink != nil {
		l.endpoint = s.endpoints.get(s.addressOf(l), l)
	}
	return l
}

// setState moves a lane from one state to another; nothing else does. A lane is not ready any
// more when its shard is let go of.
func (s *scheduler) setState(l *lane, to laneState) {
	if to == ready && !l.holding.works() {
		to = suspended
	}
	if l.state == backingOff {
		s.timers.unset(&l.timer)
	}
	switch l.state = to; to {
	case ready:
		l.endpoint.ready.push(l.Instance, l)
		s.endpoints.enlist(l.endpoint)
	case attempting:
		l.changed = false
	case backingOff, suspended:
		if l.holding.state.Load() == held { // what is let go of is left to the log
			s.spill(l)
		}
		s.lanes.cutWindow(l)
	case idle:
		s.forget(l)
	}
}

// arrange finds the state of a lane that was just restored.
func (s *scheduler) arrange(l *lane) {
	if d := time.Until(l.progress.Next); d > 0 && l.endpoint != nil {
		// The wall clock may have been set back since Next was written: no policy waits longer than this.
		s.backOff(l, min(d, longestWait))
		return
	}
	s.reconsider(l)
}

// reconsider finds the place of a lane that nothing holds back any more. One that is ready or being attempted stays
// what it is.
func (s *scheduler) reconsider(l *lane) {
	switch {
	case l.state == ready || l.state == attempting:
	case l.waiting == 0:
		s.setState(l, idle)
	case l.endpoint == nil:
		s.setState(l, suspended)
	default:
		s.setState(l, ready)
	}
}

// backOff lets a lane be tried again after d.
func (s *scheduler) backOff(l *lane, d time.Duration) {
	s.setState(l, backingOff)
	if l.timer.fire == nil {
		l.timer.fire = func() { s.reconsider(l) }
	}
	s.timers.set(&l.timer, d)
}

// suspend lets a lane wait until something changes, or be looked at again if something has changed since its attempt
// began.
func (s *scheduler) suspend(l *lane) {
	s.setState(l, suspended)
	if l.changed {
		s.reconsider(l)
	}
}

// somethingChanged lets a lane be looked at again that may be suspended, or is about to be, for what is not so any
// more.
func (s *scheduler) somethingChanged(l *lane) {
	l.changed = true
	if l.state == suspended || l.state == backingOff {
		s.reconsider(l)
	}
}

// append adds a delivery that the store has to a lane.
func (s *scheduler) append(l *lane, d Delivery, bytes int64) {
	s.lanes.append(l, &item{Delivery: d, lane: l, size: bytes, keeper: byStore})
	if l.state == idle {
		s.reconsider(l)
	}
}

// takeInHand says that an attempt has so many bytes of a lane in hand from now on; 0 when it is over. Lanes of the
// instance that have waited for that are let in.
func (s *scheduler) takeInHand(l *lane, bytes int64) {
	less := bytes < l.inHand
	s.inFlight.set(l, bytes)
	if !less {
		return
	}
	for _, other := range s.inFlight.admitted(l.Instance) {
		if other.state == ready { // else its shard was let go of
			other.endpoint.ready.push(other.Instance, other)
			s.endpoints.enlist(other.endpoint)
		}
	}
}

func (s *scheduler) unpin(l *lane) {
	l.pins--
	s.forget(l)
}

// forget drops a lane, and with the last lane its endpoint, if there is nothing left to know.
func (s *scheduler) forget(l *lane) {
	if s.lanes.forget(l) && l.endpoint != nil {
		s.endpoints.leave(l.endpoint)
	}
}

// addressOf returns the key of a lane's endpoint: the address that its sink names now, or a target of its own if the
// sink names none or panics when it is asked.
func (s *scheduler) addressOf(l *lane) (key string) {
	own := "global\x00" + string(l.Target)
	if l.scope == sink.Instance {
		own = "instance\x00" + string(l.Target) + "\x00" + l.Instance + "\x00" + l.InstanceID
	}
	if s.sink.addresser == nil {
		return own
	}
	defer func() {
		if v := recover(); v != nil {
			s.log.Error().Interface("panic", v).Msg("the sink panicked when it was asked for an address")
			key = own
		}
	}()
	return "address\x00" + s.sink.addresser.Address(l.scope, l.Target, l.Instance)
}

// readdress leads a lane to the endpoint that its sink names now.
func (s *scheduler) readdress(l *lane) {
	if s.sink.addresser == nil || l.state == ready {
		return
	}
	old := l.endpoint
	l.endpoint = s.endpoints.get(s.addressOf(l), l)
	s.endpoints.leave(old)
}

// dispatch starts attempts as long as one can begin.
func (s *scheduler) dispatch() {
	for a := s.next(); a != nil; a = s.next() {
		if s.parked > 0 {
			s.parked--
			s.work <- a
			continue
		}
		s.running.Add(1)
		go s.makeAttempts(a)
	}
}

// parkedAtMost is how many goroutines without an attempt are kept for the next ones: their stacks have grown.
const parkedAtMost = 32

// makeAttempts makes an attempt and goes on with others, until there is none and enough goroutines wait for one, or the
// queue is closed.
func (s *scheduler) makeAttempts(a *attempt) {
	defer s.running.Done()
	for a != nil {
		a.make()
		if a = s.finish(a); a == nil {
			a = s.await()
		}
	}
}

// await returns the next attempt; nil if there are enough that wait for one, or the queue is closed.
func (s *scheduler) await() *attempt {
	s.mu.Lock()
	if s.parked == parkedAtMost || !s.runs {
		s.mu.Unlock()
		return nil
	}
	s.parked++
	s.mu.Unlock()
	select {
	case a := <-s.work:
		return a
	case <-s.stopping:
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case a := <-s.work: // it came at the same moment
		return a
	default:
		s.parked--
		return nil
	}
}

// next returns an attempt that can begin, of the endpoint that has its turn; nil if there is none. The lanes of the
// attempt are in state attempting: one, or several if the sink takes batches.
func (s *scheduler) next() *attempt {
	for s.runs && s.broken == nil && s.attempts < s.config.Workers && s.inFlight.admits() && !s.results.full() {
		e := s.endpoints.next()
		if e == nil {
			return nil
		}
		if a := s.begin(e); a != nil {
			return a
		}
	}
	return nil
}
