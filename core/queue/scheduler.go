package queue

import (
	"context"
	"encoding/json"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/evosink/evosink/core/sink"
)

// A Sink is a sink that the queue delivers to.
type Sink struct {
	Name string
	// Sink has been started, and is closed by its owner after the queue.
	Sink sink.Sink
	// Restart replaces the sink after a panic: it closes the present one and returns another, started. No Deliver runs
	// meanwhile. After an error it is called again, after a pause. nil goes on with the sink as it is.
	Restart func(ctx context.Context) (sink.Sink, error)
	// Admit tells, before each attempt, what the settings of an instance say about its deliveries of that scope. Settings are
	// what [sink.Delivery] carries. It must return promptly. nil means [Deliver], without settings.
	Admit func(instance string, s sink.Scope) (Admission, json.RawMessage)
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

// A scheduler decides which lanes of one sink are tried, and when. Nothing on the way of a delivery takes a lock of another
// sink's. Lanes that are ready wait for their turn at an endpoint, endpoints for theirs at the sink; instances take turns in
// both. An attempt is a goroutine of its own, so a target that does not answer costs others nothing until Config.Workers
// attempts are in the air.
type scheduler struct {
	Sink
	config   *Config
	store    Store
	log      zerolog.Logger
	notices  *notices
	pauses   *pauses
	results  *resultBuffer
	stopping <-chan struct{}
	running  sync.WaitGroup  // attempts, and a restart
	ctx      context.Context // of attempts; set by start

	mu sync.Mutex
	// mu guards the fields below.
	lanes     laneTable
	sink      abilities
	endpoints map[string]*endpoint
	hosts     map[string]*host   // those that a sink.Hoster names
	tenants   map[string]*tenant // instances with targets of their own
	line      turns[*endpoint]   // endpoints that can start an attempt
	timers    timers
	runs      bool // attempts may begin
	attempts  int  // in the air
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
		s.Admit = func(string, sink.Scope) (Admission, json.RawMessage) { return Deliver, nil }
	}
	out := &scheduler{
		Sink: s, config: &q.config, store: q.store, log: q.log.With().Str("sink", s.Name).Logger(), notices: q.notices,
		pauses: &q.pauses, results: q.results, stopping: q.stopping,
		lanes:     laneTable{capacity: &q.capacity, byKey: map[LaneKey]*lane{}},
		endpoints: map[string]*endpoint{}, hosts: map[string]*host{}, tenants: map[string]*tenant{},
	}
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
func (s *scheduler) lane(key LaneKey, scope sink.Scope) *lane {
	if l, ok := s.lanes.byKey[key]; ok {
		return l
	}
	l := s.lanes.add(key, scope)
	l.timer.fire = func() { s.reconsider(l) }
	if s.sink.Sink != nil {
		l.endpoint = s.endpointOf(l)
		l.endpoint.lanes++
	}
	return l
}

// setState moves a lane from one state to another; nothing else does.
func (s *scheduler) setState(l *lane, to laneState) {
	if l.state == backingOff {
		s.timers.unset(&l.timer)
	}
	switch l.state = to; to {
	case ready:
		l.endpoint.ready.push(l.Instance, l)
		s.enlist(l.endpoint)
	case attempting:
		l.changed = false
	case backingOff, suspended:
		s.lanes.cutWindow(l)
	case idle:
		s.forget(l)
	}
}

// reconsider finds the place of a lane that nothing holds back any more. One that is ready or being attempted stays what
// it is.
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
	s.timers.set(&l.timer, d)
}

// suspend lets a lane wait until something changes, or be looked at again if something has changed since its attempt began.
func (s *scheduler) suspend(l *lane) {
	s.setState(l, suspended)
	if l.changed {
		s.reconsider(l)
	}
}

// somethingChanged lets a lane be looked at again that may be suspended, or is about to be, for what is not so any more.
func (s *scheduler) somethingChanged(l *lane) {
	l.changed = true
	if l.state == suspended || l.state == backingOff {
		s.reconsider(l)
	}
}

// append adds a delivery to a lane.
func (s *scheduler) append(l *lane, d Delivery) {
	s.lanes.append(l, d)
	if l.state == idle {
		s.reconsider(l)
	}
}

func (s *scheduler) unpin(l *lane) {
	l.pins--
	s.forget(l)
}

// forget drops a lane, and with the last lane its endpoint, if there is nothing left to know.
func (s *scheduler) forget(l *lane) {
	if s.lanes.forget(l) && l.endpoint != nil {
		s.leave(l.endpoint)
	}
}

// endpointOf returns the endpoint of a lane, as its sink names it now; a target of its own for a sink that panics when it is asked.
func (s *scheduler) endpointOf(l *lane) *endpoint {
	key := "global\x00" + string(l.Target)
	if l.scope == sink.Instance {
		key = "instance\x00" + string(l.Target) + "\x00" + l.Instance
	}
	if s.sink.addresser != nil {
		key = s.askAddress(l, key)
	}
	e, ok := s.endpoints[key]
	if ok {
		return e
	}
	e = &endpoint{key: key, scope: l.scope, host: &host{answered: true}}
	e.breaker.timer.fire = func() { s.halfOpen(e) }
	s.connect(e, e.host)
	if e.scope == sink.Instance {
		e.owner = l.Instance
		if e.tenant = s.tenants[e.owner]; e.tenant == nil {
			e.tenant = &tenant{}
			s.tenants[e.owner] = e.tenant
		}
		e.tenant.endpoints++
	}
	s.endpoints[key] = e
	return e
}

func (s *scheduler) askAddress(l *lane, otherwise string) (key string) {
	defer func() {
		if v := recover(); v != nil {
			s.log.Error().Interface("panic", v).Msg("the sink panicked when it was asked for an address")
			key = otherwise
		}
	}()
	return "address\x00" + s.sink.addresser.Address(l.scope, l.Target, l.Instance)
}

// leave counts one lane less that leads to e, which ends with the last, and with it what only it needed.
func (s *scheduler) leave(e *endpoint) {
	if e.lanes--; e.lanes > 0 {
		return
	}
	s.timers.unset(&e.breaker.timer)
	delete(s.endpoints, e.key)
	s.disconnect(e)
	if e.tenant != nil {
		if e.tenant.endpoints--; e.tenant.endpoints == 0 {
			delete(s.tenants, e.owner)
		}
	}
}

// readdress leads a lane to the endpoint that its sink names now.
func (s *scheduler) readdress(l *lane) {
	if s.sink.addresser == nil || l.state == ready || l.state == attempting {
		return
	}
	old := l.endpoint
	l.endpoint = s.endpointOf(l)
	l.endpoint.lanes++
	s.leave(old)
}

// connect has e use a host.
func (s *scheduler) connect(e *endpoint, h *host) {
	e.host = h
	h.endpoints++
	if h.breaker.timer.fire == nil {
		h.breaker.timer.fire = func() { s.probeHost(h) }
	}
}

func (s *scheduler) disconnect(e *endpoint) {
	h := e.host
	if h.endpoints--; h.endpoints == 0 {
		s.timers.unset(&h.breaker.timer)
		delete(s.hosts, h.key)
	}
}

// moveTo has an endpoint, and the attempt that has found out, use the host of that name. It reports whether the attempt may go
// on there.
func (s *scheduler) moveTo(a *attempt, key string) bool {
	e := a.endpoint
	if e.host.key == key {
		return true
	}
	h := s.hosts[key]
	if h == nil {
		h = &host{key: key, answered: key == ""}
	}
	if key != "" {
		s.hosts[key] = h
	}
	a.host.attempts--
	a.host.breaker.end(a)
	s.disconnect(e)
	if a.host.breaker.state == halfOpen {
		s.letIn(a.host)
	}
	if e.place == atHost {
		e.place = nowhere // its entry in the old host's list is passed over
	}
	s.connect(e, h)
	a.host = h
	mayGoOn := s.admits(h)
	h.attempts++
	if mayGoOn {
		h.breaker.start(a)
	}
	return mayGoOn
}

// admits reports whether one attempt more may be made at a host. Until it has answered, few are: a host that drops packets
// would otherwise take up all attempts of the sink before the first of them has failed.
func (s *scheduler) admits(h *host) bool {
	return h.breaker.admits() && (h.answered || h.attempts < max(s.config.PerTarget, s.config.Workers/16))
}

// placeOf returns the list that an endpoint belongs in: the sink's line if it can start an attempt, the list of what holds it
// otherwise. One that has nothing to start, or waits for its own breaker or attempts, is in none.
func (s *scheduler) placeOf(e *endpoint) place {
	switch {
	case e.ready.empty() || e.attempts >= s.config.PerTarget || !e.breaker.admits():
		return nowhere
	case !s.admits(e.host):
		return atHost
	case e.tenant != nil && e.tenant.attempts >= s.config.PerInstance:
		return atTenant
	}
	return inLine
}

// enlist puts an endpoint that is in no list into the one where it belongs.
func (s *scheduler) enlist(e *endpoint) {
	if e.place != nowhere {
		return
	}
	switch e.place = s.placeOf(e); e.place {
	case atHost:
		e.host.waiting.push(e.owner, e)
	case atTenant:
		e.tenant.waiting.push(e)
	case inLine:
		s.line.push(e.owner, e)
	}
}

// letIn enlists the endpoints that wait at a host. More of them than the host admits wait there again when it is their turn.
func (s *scheduler) letIn(h *host) {
	waiting := h.waiting
	h.waiting = turns[*endpoint]{}
	for !waiting.empty() {
		if e := waiting.pop(); e.place == atHost && e.host == h {
			e.place = nowhere
			s.enlist(e)
		}
	}
}

// letInOne enlists an endpoint that waits because its instance had too many attempts in the air.
func (s *scheduler) letInOne(t *tenant) {
	for t != nil && !t.waiting.empty() && t.attempts < s.config.PerInstance {
		e := t.waiting.pop()
		e.place = nowhere
		if s.enlist(e); e.place == inLine {
			return
		}
	}
}

// dispatch starts attempts as long as one can begin.
func (s *scheduler) dispatch() {
	for a := s.next(); a != nil; a = s.next() {
		s.running.Add(1)
		go s.attempt(a)
	}
}

// next returns an attempt that can begin, of the endpoint whose turn it is; nil if there is none. The lanes of the attempt are in
// state attempting: one, or several if the sink takes batches.
func (s *scheduler) next() *attempt {
	for s.runs && s.broken == nil && s.attempts < s.config.Workers && !s.line.empty() && !s.results.full() {
		e := s.line.pop()
		e.place = nowhere
		if s.placeOf(e) == inLine {
			return s.begin(e)
		}
		s.enlist(e) // what it waits for has changed since
		s.letInOne(e.tenant)
	}
	return nil
}
