package queue

import (
	"context"
	"encoding/json"
	"time"

	"github.com/evosink/evosink/core/sink"
)

// A trial is one attempt for one lane: its first delivery, or the first few if the sink takes batches.
type trial struct {
	lane     *lane
	gate     *gate
	settings json.RawMessage
	items    []Item
	requests []*sink.Delivery
	policy   sink.Policy
	errs     []error // one for each item
}

// work is a worker: it tries deliveries of one sink, and never waits for a lane.
func (q *Queue) work(ctx context.Context, o *outlet) {
	for {
		lanes, mend := q.next(o)
		switch {
		case mend:
			q.mend(ctx, o)
		case lanes == nil:
			return
		default:
			q.serve(ctx, o, lanes)
		}
	}
}

// next waits for something to do: lanes to try, or a sink to restart. It returns neither when the queue stops.
func (q *Queue) next(o *outlet) (lanes []*lane, mend bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for q.stage == runs {
		switch {
		case o.broken != nil:
			if o.busy == 0 && !o.mending {
				o.mending = true
				return nil, true
			}
		case !q.overdue():
			if lanes := o.pull(); lanes != nil {
				o.busy++
				return lanes, false
			}
		}
		o.wait.Wait()
	}
	return nil, false
}

// serve tries the first deliveries of lanes that go through one gate, and puts the lanes where they belong then.
func (q *Queue) serve(ctx context.Context, o *outlet, lanes []*lane) {
	gate := lanes[0].gate
	trials := make([]*trial, 0, len(lanes))
	room := batchLength
	for i, l := range lanes {
		share := max(1, room/(len(lanes)-i)) // a lane with much does not push out those behind it
		if t := q.prepare(ctx, o, l, share); t != nil {
			trials = append(trials, t)
			room -= len(t.items)
		}
	}
	var a *Attempt
	if len(trials) > 0 {
		a = q.try(ctx, o, trials)
	}
	q.conclude(ctx, o, gate, trials, a)
}

// prepare finds out what is to be tried of a lane. If nothing is, the lane is where it belongs, and nil is returned.
func (q *Queue) prepare(ctx context.Context, o *outlet, l *lane, room int) *trial {
	standing, settings := o.Standing(l.Instance, l.scope)
	if standing == Discard {
		q.bury(ctx, l, Gone)
	}
	err := q.read(ctx, l)
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case l.waiting == 0:
		l.state = parked // until wake finds that there is nothing
		q.wake(l)
		return nil
	case err != nil || standing == Discard:
		if err != nil && ctx.Err() == nil {
			q.notices.add(notice{noticeKey: noticeKey{sink: l.Sink, kind: noticeUnread}, err: clip(err.Error())}, nil)
		}
		q.sleep(l, storePause)
		return nil
	case standing == Hold || q.paused(l.Lane):
		q.park(l)
		return nil
	case len(l.window) == 0: // a purge was quicker; there is more behind what it has removed
		l.state = parked
		q.wake(l)
		return nil
	}
	t := &trial{lane: l, gate: l.gate, settings: settings}
	t.items = l.window[:1:1]
	if o.batcher != nil {
		n := min(len(l.window), room)
		if l.burst > 0 {
			n = min(n, l.burst)
		}
		t.items = l.window[:n:n]
	}
	l.inFlight = len(t.items)
	q.request(o, t)
	return t
}

// storePause is how long a lane waits whose events could not be read or moved.
const storePause = time.Second

// request makes what the sink is given.
func (q *Queue) request(o *outlet, t *trial) {
	deliveries := make([]sink.Delivery, len(t.items))
	t.requests = make([]*sink.Delivery, len(t.items))
	for i, item := range t.items {
		d := &deliveries[i]
		*d = sink.Delivery{
			Event: item.Event, Scope: item.Scope, Target: t.lane.Target, Settings: t.settings,
			Attempt: 1, Key: sink.Key(item.Event, t.lane.Target),
		}
		t.requests[i] = d
	}
	deliveries[0].Attempt += t.lane.head.Attempts
	t.policy = o.policy(t.requests[0])
}

var defaultPolicy = sink.DefaultPolicy()

// policy asks the sink. If that panics, the default holds.
func (o *outlet) policy(d *sink.Delivery) (p sink.Policy) {
	if o.retrier == nil {
		return defaultPolicy
	}
	defer func() {
		if v := recover(); v != nil {
			o.log.Error().Interface("panic", v).Msg("the sink panicked when it was asked for its retry policy")
			p = defaultPolicy
		}
	}()
	return o.retrier.Retry(d)
}

// read makes sure that the lane's window holds its first deliveries.
func (q *Queue) read(ctx context.Context, l *lane) error {
	l.reading.Lock()
	defer l.reading.Unlock()
	q.mu.Lock()
	after, until, needed := l.passed, l.tail, len(l.window) == 0 && l.waiting > 0
	q.mu.Unlock()
	if !needed {
		return nil
	}
	items, err := q.store.Window(ctx, l.Lane, after, until, windowLength, windowBytes)
	if err != nil {
		return err
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	l.window = items
	for _, item := range items {
		q.cached += item.size()
	}
	if len(items) == 0 { // the store has less than was counted: somebody else has been at it
		q.less(l, l.waiting)
		l.passed = until
	}
	return nil
}

// bury moves all that waits in a lane to the dead letters.
func (q *Queue) bury(ctx context.Context, l *lane, why Reason) {
	for ctx.Err() == nil {
		n, err := q.clear(ctx, l, Clearing{Max: clearAtOnce, Reason: why})
		q.mu.Lock()
		l.outlet.count.Buried += int64(n)
		q.mu.Unlock()
		q.notices.dead(l.keyOf(noticeDead), why, n, "")
		if err != nil {
			q.log.Error().Err(err).Msg("deliveries for a deleted instance could not be moved to the dead letters")
			return
		}
		if n < clearAtOnce {
			return
		}
	}
}

// clearAtOnce is how many deliveries are removed in one transaction, which others have to wait for.
const clearAtOnce = 500
