package queue

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/evosink/evosink/core/sink"
)

// conclude writes the outcomes of trials into the ledger and puts their lanes where they belong.
func (q *Queue) conclude(ctx context.Context, o *outlet, g *gate, trials []*trial, a *Attempt) {
	var pause []Pause
	q.mu.Lock()
	g.busy--
	for _, t := range trials {
		if p, ok := q.judge(ctx, o, t, a); ok {
			pause = append(pause, p)
		}
	}
	g.enlist()
	if o.busy--; o.busy == 0 && o.broken != nil {
		o.wait.Signal()
	}
	q.mu.Unlock()
	for _, p := range pause {
		if err := q.store.PutPause(ctx, p); err != nil {
			o.log.Error().Err(err).Msg("the pause of a target could not be stored; it ends with this process")
		}
	}
}

// judge goes through the answers for one lane, as far as they are good. It returns the pause that the first bad one demands, if any.
func (q *Queue) judge(ctx context.Context, o *outlet, t *trial, a *Attempt) (p Pause, paused bool) {
	l := t.lane
	if l.burst *= 2; l.burst > windowLength {
		l.burst = 0
	}
	for i, err := range t.errs {
		if err != nil {
			p, paused = q.failed(ctx, o, t, i, a)
			break
		}
		q.record(l, Outcome{Seq: t.items[i].Seq, Result: Delivered, Attempt: t.attempt(i, a, l.head.Attempts+1, nil)})
		o.count.Delivered++
		t.gate.answered(l)
		q.done(l)
	}
	if l.inFlight = 0; l.state == running {
		l.state = parked // until wake finds its place
		if q.cached > q.config.CacheBytes {
			q.discard(l)
		}
		q.wake(l)
	}
	return p, paused
}

// attempt returns the entry of the log for item i; nil if it says nothing: it went well, and the sink reported no answer.
func (t *trial) attempt(i int, a *Attempt, number int, err error) *Attempt {
	if err == nil && a.Status == "" && a.Head == nil {
		return nil
	}
	entry := *a
	entry.Lane, entry.EventID, entry.Number = t.lane.Lane, t.items[i].Event.ID, number
	if err != nil {
		entry.Error = clip(err.Error())
	}
	return &entry
}

// failed decides what becomes of a delivery that has failed, the first of its lane. Those behind it wait.
func (q *Queue) failed(ctx context.Context, o *outlet, t *trial, i int, a *Attempt) (p Pause, paused bool) {
	if ctx.Err() != nil {
		return p, false // the queue was closed while it was tried: it was not the target's fault
	}
	l, err, item, now := t.lane, t.errs[i], t.items[i], time.Now()
	o.count.Failed++
	o.panicked(err)
	head := &l.head
	if l.tried = item.Seq; head.First.IsZero() {
		head.First = a.At
	}
	head.Last, head.Next, head.Error = a.At, now, clip(err.Error())
	o.failure, o.failedAt = head.Error, a.At
	entry := t.attempt(i, a, head.Attempts+1, err)
	if !sink.IsUnavailable(err) {
		head.Attempts++
	}
	reason := exhausted(t.policy, l.head, item, err, now)
	delay := t.shut(err, reason, a.At.Before(o.availableAt))
	if reason != Permanent { // the target may not take what is behind it either
		l.burst = 1
	}
	switch {
	case reason != "" && (reason == Permanent || t.policy.OnExhausted == sink.Bury):
		head.Next = time.Time{}
		q.record(l, Outcome{Seq: item.Seq, Result: Buried, Progress: *head, Reason: reason, Attempt: entry})
		o.count.Buried++
		q.notices.dead(l.keyOf(noticeDead), reason, 1, head.Error)
		q.done(l)
		return p, false
	case reason != "":
		p, paused = q.pauseFor(l, reason, now), true
		line := notice{noticeKey: l.keyOf(noticePaused), of: l.Instance, event: item.Event.ID, err: p.Reason}
		q.notices.add(line, nil)
		q.park(l)
	case delay > 0:
		head.Next = now.Add(delay)
		q.sleep(l, delay)
	}
	o.count.Retried++
	t.gate.tellFailure(l, item)
	q.record(l, Outcome{Seq: item.Seq, Result: Again, Progress: *head, Attempt: entry})
	return p, paused
}

// exhausted returns why a delivery is not tried again; "" if it is.
func exhausted(p sink.Policy, head Progress, item Item, err error, now time.Time) Reason {
	switch {
	case sink.IsPermanent(err):
		return Permanent
	case p.Attempts > 0 && head.Attempts >= p.Attempts:
		return Attempts
	case p.MaxAge > 0 && now.Sub(item.At) > p.MaxAge:
		return TooOld
	}
	return ""
}

// longestWait bounds what a target may ask for with Retry-After, and what a lane waits after a restart.
const longestWait = time.Hour

// shut tells the gate of a failure and returns how long the lane waits for its own part: a lane whose target is
// unavailable waits at the gate, with all others. The attempt is old if it began before the sink said that its target
// can be reached again.
func (t *trial) shut(err error, reason Reason, old bool) (delay time.Duration) {
	after, asked := sink.AfterOf(err)
	switch {
	case reason == Permanent:
		t.gate.answered(t.lane)
		return 0
	case sink.IsUnavailable(err):
		if !old {
			t.gate.trip(true)
		}
		return 0
	case asked:
		after = min(after, longestWait)
		t.gate.hold(after)
	default:
		t.gate.failed()
	}
	return min(max(t.policy.Delay(max(t.lane.head.Attempts, 1), rand.Float64()), after, time.Millisecond), longestWait)
}

// pauseFor pauses the target of a lane.
func (q *Queue) pauseFor(l *lane, why Reason, now time.Time) Pause {
	p := Pause{Selector: l.target(), Reason: fmt.Sprintf("exhausted (%s): %s", why, l.head.Error), At: now}
	q.pauses[p.Selector] = p
	return p
}

// target returns the selector of the lane's target: one that all instances share, or the instance's own.
func (l *lane) target() Selector {
	s := Selector{Sink: l.Sink, Target: l.Target}
	if l.scope == sink.Instance {
		s.Instance = l.Instance
	}
	return s
}

// panicked notes that the sink has to be restarted if that is what err says.
func (o *outlet) panicked(err error) {
	var p *panicError
	if !errors.As(err, &p) {
		return
	}
	o.count.Panics++
	o.log.Error().Err(err).Bytes("stack", p.stack).Msg("sink panicked")
	if o.Restart != nil && o.broken == nil {
		o.broken = err
	}
}
