package queue

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/evosink/evosink/core/sink"
)

// finish handles the results of an attempt: what was delivered is removed, what has failed waits for its retry or
// becomes a dead letter, and breakers learn of both. It returns an attempt that the goroutine can go on with, if
// there is one.
func (s *scheduler) finish(a *attempt) (next *attempt) {
	s.mu.Lock()
	s.attempts--
	var pauses []Pause
	for i := range a.portions {
		if paused := a.handleResults(&a.portions[i]); paused != nil {
			pauses = append(pauses, *paused)
		}
	}
	s.endpoints.end(a)
	for _, l := range a.lanes {
		if l.dropped && l.endpoint != nil { // it was dropped while it was being attempted
			s.endpoints.leave(l.endpoint)
			l.endpoint = nil
		}
		l.holding.work.Done()
	}
	s.release(a)
	if s.broken != nil && s.attempts == 0 {
		s.beginRestart()
	}
	if len(pauses) == 0 {
		next = s.next()
	}
	s.unlock()
	for _, p := range pauses {
		if err := s.pauses.set(s.ctx, p); err != nil {
			s.log.Error().Err(err).Msg("the pause of a target could not be stored; it ends with this process")
		}
	}
	return next
}

// handleResults goes through the results of one lane, as far as they are good, and finds the lane's next state. It
// returns the pause that the first failure demands, if any.
func (a *attempt) handleResults(p *portion) (paused *Pause) {
	s, l := a.scheduler, p.lane
	s.takeInHand(l, 0)
	if l.dropped {
		return nil
	}
	if l.burst *= 2; l.burst > windowLength {
		l.burst = 0
	}
	for i, err := range p.errs {
		if err != nil {
			paused = a.handleFailure(p, i)
			break
		}
		s.recordOf(p.items[i], Result{Kind: Delivered, Attempt: p.logOf(a, i, l.progress.Attempts+1)})
		s.counts.Delivered++
		s.succeeded(a, l)
		s.lanes.removeFirst(l)
	}
	if l.attempting = 0; l.state != attempting {
		return paused
	}
	if s.lanes.capacity.cached.Load() > int64(s.config.CacheBytes) {
		s.lanes.cutWindow(l)
	}
	if l.waiting == 0 {
		s.setState(l, idle)
		return paused
	}
	s.setState(l, ready)
	return paused
}

// logOf returns the entry of the log of attempts for delivery i; nil if it says nothing: it went well, and the sink
// reported no answer.
func (p *portion) logOf(a *attempt, i, number int) *Attempt {
	err := p.errs[i]
	if err == nil && a.answer.Status == "" && a.answer.Head == nil {
		return nil
	}
	entry := &Attempt{
		LaneKey: p.lane.LaneKey, EventID: p.items[i].Event.ID, Number: number, At: a.at, Took: a.took,
		Status: a.answer.Status, Head: a.answer.Head,
	}
	if err != nil {
		entry.Error = clip(err.Error())
	}
	return entry
}

// longestWait bounds what a target may ask for with Retry-After, and what a lane waits after a restart.
const longestWait = time.Hour

// handleFailure decides what becomes of a delivery that has failed, the first of its lane: a retry, a dead letter, or
// a pause of its lane, which is returned. Those behind it wait.
func (a *attempt) handleFailure(p *portion, i int) *Pause {
	s := a.scheduler
	if a.cut {
		return nil // the queue or its shard was closed while it was tried: it was not the target's fault
	}
	l, err, delivery, now := p.lane, p.errs[i], p.items[i], time.Now()
	s.counts.Failed++
	s.notePanic(err)
	progress := &l.progress
	if l.tried = delivery.Seq; progress.First.IsZero() {
		progress.First = a.at
	}
	progress.Last, progress.Next, progress.Error = a.at, now, clip(err.Error())
	s.failure, s.failedAt = progress.Error, a.at
	entry := p.logOf(a, i, progress.Attempts+1)
	if !sink.IsUnavailable(err) {
		progress.Attempts++
	}
	reason := exhausted(p.policy, l.progress, delivery.Delivery, err, now)
	if reason != Permanent { // the target may not take what is behind it either
		l.burst = 1
	}
	delay := a.applyBreaker(l, err)
	if reason == Permanent || reason != "" && p.policy.OnExhausted == sink.Bury {
		s.deadLetter(l, delivery, reason, entry)
		return nil
	}
	s.spill(l)
	var paused *Pause
	if reason != "" {
		paused = &Pause{
			Selector: Selector{Sink: l.Sink, Target: l.Target, Instance: l.Instance}, InstanceID: l.InstanceID,
			Reason: fmt.Sprintf("exhausted (%s): %s", reason, progress.Error), At: now,
		}
		s.pauses.setLocal(*paused)
		s.notices.add(notice{
			noticeKey: l.keyOf(noticePaused), of: l.Instance, event: delivery.Event.ID, err: paused.Reason,
		}, nil)
		l.attempting = 0
		s.suspend(l)
	} else if !sink.IsUnavailable(err) { // else it waits at the host, with all others
		delay = min(max(p.policy.Delay(max(progress.Attempts, 1), rand.Float64()), delay, time.Millisecond), longestWait)
		progress.Next = now.Add(delay)
		l.attempting = 0
		s.backOff(l, delay)
	}
	s.counts.Retried++
	s.tellFailure(a, l, delivery.Delivery)
	s.recordOf(delivery, Result{Kind: Retry, Progress: *progress, Attempt: entry})
	return paused
}

// exhausted returns why a delivery is not tried again; "" if it is.
func exhausted(p sink.Policy, progress Progress, d Delivery, err error, now time.Time) Reason {
	switch {
	case sink.IsPermanent(err):
		return Permanent
	case p.Attempts > 0 && progress.Attempts >= p.Attempts:
		return Attempts
	case p.MaxAge > 0 && now.Sub(d.At) > p.MaxAge:
		return TooOld
	}
	return ""
}

// recordOf notes what came of a delivery: in the store if it has the delivery, or as soon as it has. What is delivered
// while the log answers for it is written down by the next mark only.
func (s *scheduler) recordOf(it *item, r Result) {
	switch {
	case it.keeper == byStore:
		r.Seq = it.Seq
		s.record(it.lane, r)
	case r.Kind == Delivered && it.keeper != storing && len(it.results) == 0:
		it.event.handled(it)
		s.answers.add(r.Attempt)
	default:
		it.results = append(it.results, r)
	}
}

// record gives a result to the store, which writes it down a moment later. It pins the lane until then.
func (s *scheduler) record(l *lane, r Result) {
	r.Lane = l.LaneKey
	l.pins++
	l.holding.work.Add(1)
	s.results.add(s, l, r)
}

// applyBreaker tells the breakers of a failure, and returns how long the target has asked to be left alone. A host
// that could not be reached is unavailable to all; what was answered concerns the endpoint only.
func (a *attempt) applyBreaker(l *lane, err error) (asked time.Duration) {
	s, e := a.scheduler, a.endpoint
	after, asks := sink.AfterOf(err)
	old := a.at.Before(s.availableAt) // it began before the sink said that its target can be reached again
	unavailable := sink.IsUnavailable(err)
	if answered := a.answer.Status != ""; unavailable && !answered {
		if h := a.host; !old && h.breaker.state != open {
			s.endpoints.shutHost(h, h.breaker.nextWait(s.config))
		}
		return 0
	}
	a.host.hasAnswered()
	switch {
	case sink.IsPermanent(err):
		s.succeeded(a, l) // it refused this one event: it is up
	case asks:
		after = min(after, longestWait)
		if b := &e.breaker; b.state != open || time.Now().Add(after).After(b.timer.at) {
			s.endpoints.shut(e, after)
		}
		return after
	case old && unavailable:
	case e.hasFailed(l.Instance, s.config.BreakerFailures) || unavailable:
		if b := &e.breaker; b.state != open {
			s.endpoints.shut(e, b.nextWait(s.config))
		}
	}
	return 0
}

// succeeded is called when the endpoint has taken an event of a lane, or refused that one event for good: it is up.
func (s *scheduler) succeeded(a *attempt, l *lane) {
	e := a.endpoint
	if !e.downAt.IsZero() {
		s.tell(e, l, noticeBack, "")
	}
	e.fails, e.failing, e.downAt = 0, false, time.Time{}
	clear(e.failed)
	e.breaker.succeeded()
	a.host.hasAnswered()
}

// reached is called when an attempt has a connection to its host, which its target may keep for long without an answer.
func (s *scheduler) reached(h *host) {
	s.mu.Lock()
	defer s.unlock()
	if !h.answered || h.breaker.state == halfOpen {
		h.hasAnswered()
		s.endpoints.letIn(h)
	}
}

// tellFailure tells the log of a failure after which the delivery stays in its lane, if it is news.
func (s *scheduler) tellFailure(a *attempt, l *lane, d Delivery) {
	e := a.endpoint
	switch {
	case e.downAt.IsZero() && e.down(s.config.BreakerFailures):
		e.failing, e.downAt, e.toldAt = true, time.Now(), time.Now()
		s.tell(e, l, noticeDown, l.progress.Error)
	case !e.downAt.IsZero() && time.Since(e.toldAt) >= stillDownEvery:
		e.toldAt = time.Now()
		s.tell(e, l, noticeStillDown, l.progress.Error)
	case !e.failing:
		e.failing = true
		s.notices.add(notice{
			noticeKey: l.keyOf(noticeFailed), of: l.Instance, event: d.Event.ID, err: l.progress.Error,
		}, nil)
	}
}

// tell tells the log of an endpoint, by the lane at which that was noticed.
func (s *scheduler) tell(e *endpoint, l *lane, kind noticeKind, err string) {
	s.notices.add(notice{noticeKey: l.keyOf(kind), err: err, down: time.Since(e.downAt)}, func(line *notice) {
		for _, other := range s.lanes.byKey {
			if other.endpoint == e {
				line.waiting += other.waiting
			}
		}
	})
}

// notePanic notes that the sink has to be restarted if that is what err says.
func (s *scheduler) notePanic(err error) {
	var p *panicError
	if !errors.As(err, &p) {
		return
	}
	s.counts.Panics++
	s.log.Error().Err(err).Bytes("stack", p.stack).Msg("sink panicked")
	if s.Restart != nil && s.broken == nil {
		s.broken = err
	}
}
