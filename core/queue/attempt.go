package queue

import (
	"context"
	"fmt"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/evosink/evosink/core/sink"
)

// An attempt hands the first delivery of a lane to the sink, or those of several lanes of one endpoint if the sink
// takes batches. When it is over its memory serves another one, see scheduler.spare.
type attempt struct {
	scheduler *scheduler
	cut       bool // a shard of its lanes was let go of, or the queue closed, while it ran
	endpoint  *endpoint
	host      *host
	sink      abilities
	lanes     []*lane // all that were taken for it
	portions  []portion
	requests  []*sink.Delivery // of all portions, in their order
	err       [1]error         // what the sink has answered, unless it takes batches
	at        time.Time        // when the sink was called
	took      time.Duration
	answer    sink.Answer // what the sink has reported
}

// A portion is the part of an attempt that one lane has.
type portion struct {
	lane   *lane
	items  []*item
	policy sink.Policy
	errs   []error // one for each item
}

const (
	batchLength = 100         // how many deliveries a sink.Batcher is given at most
	storePause  = time.Second // how long a lane waits when its events could not be read or moved
)

// begin takes lanes of an endpoint that may be tried, for one attempt, and counts it; nil if the leases of all have
// ended.
func (s *scheduler) begin(e *endpoint) *attempt {
	var a *attempt
	if n := len(s.spare); n > 0 {
		a, s.spare = s.spare[n-1], s.spare[:n-1]
	} else {
		a = &attempt{scheduler: s}
	}
	a.endpoint, a.host, a.sink = e, e.host, s.sink
	limit := 1
	if a.sink.batcher != nil && e.breakerState() == closed {
		limit = batchLength
	}
	for bytes := int64(0); len(a.lanes) < limit && !e.ready.empty(); {
		if len(a.lanes) > 0 && (bytes >= s.config.InFlightPerInstance || !s.inFlight.admits()) {
			break
		}
		l := e.ready.pop()
		if !l.holding.mayBegin() {
			s.setState(l, suspended)
			continue
		}
		if !s.inFlight.admitsOf(l.Instance) {
			s.inFlight.wait(l)
			continue
		}
		expected := s.inFlight.expect(l)
		bytes += expected
		s.takeInHand(l, expected)
		s.setState(l, attempting)
		l.holding.work.Add(1)
		a.lanes = append(a.lanes, l)
	}
	if len(a.lanes) == 0 {
		s.endpoints.enlist(e)
		s.endpoints.letInOne(e.tenant)
		return nil
	}
	s.attempts++
	s.endpoints.begin(a)
	return a
}

// make makes an attempt, as far as there is something to try.
func (a *attempt) make() {
	room := batchLength
	for i, l := range a.lanes {
		share := max(1, room/(len(a.lanes)-i)) // a lane with much does not push out those behind it
		room -= a.prepare(l, share)
	}
	if len(a.portions) > 0 && a.reachHost() {
		a.deliver()
	}
}

// spareLength is how many attempts that are over a scheduler keeps at most.
const spareLength = 64

// release keeps an attempt that is over, and nothing of what it was about.
func (s *scheduler) release(a *attempt) {
	if len(s.spare) == spareLength {
		return
	}
	clear(a.lanes)
	clear(a.portions)
	clear(a.requests)
	*a = attempt{scheduler: s, lanes: a.lanes[:0], portions: a.portions[:0], requests: a.requests[:0]}
	s.spare = append(s.spare, a)
}

// prepare finds out what is to be tried of a lane, and returns how many deliveries that are. If it is 0 the lane is in
// the state where it belongs.
func (a *attempt) prepare(l *lane, room int) (n int) {
	s, ctx := a.scheduler, l.holding.attempts
	s.pauses.catchUp(ctx)
	admission, settings := s.Admit(l.LaneKey, l.scope)
	if admission == Discard {
		s.deadLetterAll(ctx, l, Gone)
	}
	var err error
	s.mu.Lock()
	bytes := int64(0) // of the deliveries that are tried
	expected := l.inHand
	defer func() {
		if bytes < expected { // others may begin
			s.dispatch()
		}
		s.mu.Unlock()
	}()
	if len(l.window) == 0 && l.waiting > 0 {
		s.mu.Unlock()
		err = s.readWindow(ctx, l)
		s.mu.Lock()
	}
	s.takeInHand(l, 0)
	_, paused := s.pauses.of(l.LaneKey)
	switch {
	case l.dropped:
		return 0
	case l.waiting == 0:
		s.setState(l, idle)
		return 0
	case err != nil || admission == Discard:
		if err != nil && ctx.Err() == nil {
			s.notices.add(notice{noticeKey: noticeKey{sink: l.Sink, kind: noticeUnread}, err: clip(err.Error())}, nil)
		}
		s.backOff(l, storePause)
		return 0
	case admission == Hold || paused:
		s.suspend(l)
		return 0
	case len(l.window) == 0: // a purge was quicker; there is more behind what it has removed
		s.setState(l, ready)
		return 0
	}
	n = 1
	if a.sink.batcher != nil {
		if n = min(len(l.window), room); l.burst > 0 {
			n = min(n, l.burst)
		}
	}
	for i, it := range l.window[:n] {
		if i > 0 && !s.inFlight.fits(l, bytes+it.size) { // the rest is for further attempts
			n = i
			break
		}
		bytes += it.size
	}
	s.takeInHand(l, bytes)
	p := portion{lane: l, items: l.window[:n:n]}
	l.attempting = n
	requests := make([]sink.Delivery, n) // a sink may keep them
	for i, d := range p.items {
		requests[i] = sink.Delivery{
			Event: d.Event, Scope: d.Scope, Target: l.Target, Settings: settings,
			Attempt: 1, Key: sink.Key(d.Event, l.Target),
		}
		a.requests = append(a.requests, &requests[i])
	}
	requests[0].Attempt += l.progress.Attempts
	p.policy = a.policy(&requests[0])
	a.portions = append(a.portions, p)
	return n
}

var defaultPolicy = sink.DefaultPolicy()

// policy asks the sink. If that panics, the default holds.
func (a *attempt) policy(d *sink.Delivery) (p sink.Policy) {
	if a.sink.retrier == nil {
		return defaultPolicy
	}
	defer func() {
		if v := recover(); v != nil {
			a.scheduler.log.Error().Interface("panic", v).Msg("the sink panicked when it was asked for its retry policy")
			p = defaultPolicy
		}
	}()
	return a.sink.retrier.Retry(d)
}

// reachHost asks the sink which host the attempt goes to. It is false if that is one that may not be tried now: the
// lanes are ready again and wait for it.
func (a *attempt) reachHost() bool {
	s := a.scheduler
	if a.sink.hoster == nil {
		return true
	}
	key := a.askHost()
	s.mu.Lock()
	defer s.unlock()
	if s.endpoints.moveTo(a, key) {
		return true
	}
	for _, p := range a.portions {
		s.takeInHand(p.lane, 0)
		p.lane.attempting = 0
		s.setState(p.lane, ready)
	}
	clear(a.portions)
	a.portions = a.portions[:0]
	return false
}

func (a *attempt) askHost() (key string) {
	defer func() {
		if v := recover(); v != nil {
			a.scheduler.log.Error().Interface("panic", v).Msg("the sink panicked when it was asked for a host")
			key = ""
		}
	}()
	return a.sink.hoster.Host(a.requests[0])
}

// readWindow makes sure that the lane's window holds its first deliveries. The more lanes are read at once, the less
// of each: what all windows take stays near Config.CacheBytes.
func (s *scheduler) readWindow(ctx context.Context, l *lane) error {
	l.storeMu.Lock()
	defer l.storeMu.Unlock()
	s.mu.Lock()
	s.lanes.gather(l)
	after, until, needed := l.passed, l.newest, len(l.window) == 0 && l.waiting > 0 && !l.dropped
	s.mu.Unlock()
	if !needed {
		return nil
	}
	cached, most := &s.lanes.capacity.cached, int64(s.config.CacheBytes)
	budget := max(min(windowBytes, (most-cached.Load())/8), most/int64(s.config.Workers), 1)
	cached.Add(budget)
	read, err := s.store.Window(ctx, l.LaneKey, after, until, windowLength, int(budget))
	cached.Add(-budget)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !l.dropped && len(l.window) == 0 {
		s.lanes.keepWindow(l, read, until)
	}
	return nil
}

// A panicError is what is left of a panic in a sink.
type panicError struct {
	value any
	stack []byte
}

func (e *panicError) Error() string { return fmt.Sprintf("the sink panicked: %v", e.value) }

// deliver hands the attempt to the sink and fills in the errors of its portions.
func (a *attempt) deliver() {
	life := a.lanes[0].holding.attempts
	if len(a.lanes) > 1 { // a batch may be of several shards
		of := map[*holding]bool{a.lanes[0].holding: true}
		ctx, cancel := context.WithCancel(life)
		defer cancel()
		for _, l := range a.lanes[1:] {
			if !of[l.holding] {
				of[l.holding] = true
				defer context.AfterFunc(l.holding.attempts, cancel)()
			}
		}
		life = ctx
	}
	ctx, answer := sink.WithReports(life)
	if s, h := a.scheduler, a.host; a.sink.hoster != nil {
		ctx = sink.WithConnected(ctx, func() { s.reached(h) })
	}
	if d := a.portions[0].policy.Timeout; d > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, d)
		defer cancel()
	}
	a.at = time.Now()
	if a.sink.batcher == nil {
		a.err[0] = a.deliverOne(ctx, a.requests[0])
		a.portions[0].errs = a.err[:]
	} else {
		errs := a.deliverBatch(ctx, slices.Clone(a.requests))
		for i := range a.portions {
			p := &a.portions[i]
			p.errs, errs = errs[:len(p.items)], errs[len(p.items):]
		}
	}
	a.cut = life.Err() != nil
	a.took = time.Since(a.at)
	if said := answer(); said != nil {
		a.answer = sink.Answer{Status: clip(said.Status), Head: said.Head}
	}
}

func (a *attempt) deliverOne(ctx context.Context, d *sink.Delivery) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = &panicError{p, debug.Stack()}
		}
	}()
	return a.sink.Deliver(ctx, d)
}

// deliverBatch returns an error or nil for each delivery, whatever the sink does.
func (a *attempt) deliverBatch(ctx context.Context, all []*sink.Delivery) (errs []error) {
	allFail := func(err error) []error {
		errs := make([]error, len(all))
		for i := range errs {
			errs[i] = err
		}
		return errs
	}
	defer func() {
		if p := recover(); p != nil {
			errs = allFail(&panicError{p, debug.Stack()})
		}
	}()
	if errs = a.sink.batcher.DeliverBatch(ctx, all); len(errs) != len(all) {
		return allFail(fmt.Errorf("the sink answered %d of %d deliveries", len(errs), len(all)))
	}
	return errs
}

// clip bounds a text from outside.
func clip(s string) string { return clipTo(s, 1000) }

func clipTo(s string, limit int) string { return strings.ToValidUTF8(s[:min(len(s), limit)], "\ufffd") }
