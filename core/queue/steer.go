package queue

import (
	"context"
	"fmt"
	"time"

	"github.com/evosink/evosink/core/sink"
)

// Pause keeps the lanes of a selector waiting until it is resumed, also after a restart. Attempts that run end as they would. Events
// go on to be put.
func (q *Queue) Pause(ctx context.Context, s Selector, reason string) error {
	p := Pause{Selector: s, Reason: reason, At: time.Now()}
	if err := q.store.PutPause(ctx, p); err != nil {
		return fmt.Errorf("store the pause: %w", err)
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.pauses[s] = p
	return nil
}

// Resume ends the pause of exactly that selector; one that does not exist is no error. Its lanes are tried at once, with fresh attempts.
func (q *Queue) Resume(ctx context.Context, s Selector) error {
	if err := q.store.DeletePause(ctx, s); err != nil {
		return fmt.Errorf("remove the pause: %w", err)
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	delete(q.pauses, s)
	for key, l := range q.lanes {
		if s.Has(key) && l.state == parked {
			l.head.Attempts = 0
		}
		if s.Has(key) {
			q.reconsider(l)
		}
	}
	return nil
}

// Pauses returns what is paused, in any order.
func (q *Queue) Pauses() []Pause {
	q.mu.Lock()
	defer q.mu.Unlock()
	out := make([]Pause, 0, len(q.pauses))
	for _, p := range q.pauses {
		out = append(out, p)
	}
	return out
}

// paused reports whether a pause holds the lane.
func (q *Queue) paused(l Lane) bool {
	_, ok := q.pauseOf(l)
	return ok
}

func (q *Queue) pauseOf(l Lane) (Pause, bool) {
	if len(q.pauses) == 0 {
		return Pause{}, false
	}
	for _, s := range [...]Selector{
		{}, {Sink: l.Sink}, {Sink: l.Sink, Target: l.Target}, {Sink: l.Sink, Instance: l.Instance}, {Instance: l.Instance},
		{Target: l.Target}, {Target: l.Target, Instance: l.Instance}, {Sink: l.Sink, Target: l.Target, Instance: l.Instance},
	} {
		if p, ok := q.pauses[s]; ok {
			return p, true
		}
	}
	return Pause{}, false
}

// Refresh tells the queue that the settings of an instance have changed, or that it was deleted. What waits for targets of its
// own is tried at once, with the new settings, whatever it was waiting for; what Outlet.Standing discards becomes dead letters.
func (q *Queue) Refresh(instance string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.stage != runs {
		return
	}
	for key, l := range q.lanes {
		if key.Instance == instance && l.scope == sink.Instance && l.outlet != nil {
			q.readdress(l)
			q.reconsider(l)
			l.gate.probe()
		}
	}
}

// Available says that what a sink delivers to can be reached again: what waits because it was unavailable is tried at
// once, each address by one delivery first. If that fails, the address waits for as long as it would have.
func (q *Queue) Available(sink string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	o := q.outlets[sink]
	if o == nil {
		return
	}
	o.availableAt = time.Now()
	for _, g := range o.gates {
		if g.breaker == open && g.unavailable {
			g.probe()
		}
	}
}

// reconsider lets a lane be looked at again that may have been parked, or is about to be, for what is not so any more.
func (q *Queue) reconsider(l *lane) {
	l.stale = true
	if l.state == parked || l.state == asleep {
		q.wake(l)
	}
}

// readdress sends the lane through the gate of the address that its sink names now.
func (q *Queue) readdress(l *lane) {
	if l.outlet.addresser == nil || l.state == ready || l.state == running {
		return
	}
	old := l.gate
	l.gate = q.gateOf(l)
	l.gate.lanes++
	q.leave(old)
}

// leave counts one lane less that goes through g, which ends with the last.
func (q *Queue) leave(g *gate) {
	if g.lanes--; g.lanes == 0 {
		q.unset(&g.alarm)
		delete(g.outlet.gates, g.key)
	}
}

// Purge removes what waits in the lanes of a selector, for good, and returns how many deliveries that were. Attempts
// that run end as they would.
func (q *Queue) Purge(ctx context.Context, s Selector) (n int, err error) {
	for _, l := range q.selected(s) {
		for {
			cleared, err := q.clear(ctx, l, Clearing{Max: clearAtOnce})
			if n += cleared; err != nil {
				return n, fmt.Errorf("purge: %w", err)
			}
			if cleared < clearAtOnce {
				break
			}
		}
	}
	return n, nil
}

func (q *Queue) selected(s Selector) []*lane {
	q.mu.Lock()
	defer q.mu.Unlock()
	var out []*lane
	for key, l := range q.lanes {
		if l.waiting > 0 && s.Has(key) {
			out = append(out, l)
		}
	}
	return out
}

// Drained waits until nothing waits in the lanes that an instance has now for targets of its own, or ctx ends.
func (q *Queue) Drained(ctx context.Context, instance string) error {
	lanes := q.selected(Selector{Instance: instance})
	for {
		left := q.unlessEmpty(lanes)
		if left == nil {
			return nil
		}
		select {
		case <-left:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// unlessEmpty returns nil if nothing waits in those of the lanes that lead to an instance's own target, else what is closed when
// a delivery has gone.
func (q *Queue) unlessEmpty(lanes []*lane) <-chan struct{} {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, l := range lanes {
		if l.scope == sink.Instance && l.waiting > 0 && q.stage == runs {
			return q.roomLater()
		}
	}
	return nil
}
