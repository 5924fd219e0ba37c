package queue

import (
	"math/rand/v2"
	"time"

	"github.com/evosink/evosink/core/sink"
)

// A gate is what the lanes of one address go through: it limits how many are tried at once, and is their circuit breaker. An
// open gate lets none through, so a thousand lanes do not hammer one dead address; after a while it is half open, one lane
// probes, and its success opens the way for all. Queue.mu guards everything.
type gate struct {
	queue  *Queue
	outlet *outlet
	key    string
	lanes  int // that go through here

	ready       fifo[*lane]
	busy        int  // lanes that are being tried
	queued      bool // it stands in its outlet's line
	breaker     breaker
	fails       int       // in a row
	unavailable bool      // the breaker is open because the target cannot be reached
	trips       int       // without a success between them
	failing     bool      // an attempt has failed since the last success
	downAt      time.Time // when the breaker opened because of failures; zero if it did not since the last success
	toldAt      time.Time // when the log was told last that it is down
	alarm       alarm
}

type breaker uint8

const (
	closed   breaker = iota // everything goes through
	open                    // nothing does, until the alarm
	halfOpen                // one lane does, to probe
)

var breakers = [...]string{"closed", "open", "half-open"}

func (b breaker) String() string { return breakers[b] }

// gateOf returns the gate of a lane.
func (q *Queue) gateOf(l *lane) *gate {
	key := l.outlet.address(l)
	g, ok := l.outlet.gates[key]
	if !ok {
		g = &gate{queue: q, outlet: l.outlet, key: key}
		g.alarm.ring = g.probe
		l.outlet.gates[key] = g
	}
	return g
}

// address returns what stands behind the lane's target, see [sink.Addresser]; the target itself if the sink panics when it is asked.
func (o *outlet) address(l *lane) (key string) {
	if o.addresser != nil {
		defer func() {
			if v := recover(); v != nil {
				o.log.Error().Interface("panic", v).Msg("the sink panicked when it was asked for an address")
				key = "instance\x00" + string(l.Target) + "\x00" + l.Instance
			}
		}()
		return "address\x00" + o.addresser.Address(l.scope, l.Target, l.Instance)
	}
	if l.scope == sink.Instance {
		return "instance\x00" + string(l.Target) + "\x00" + l.Instance
	}
	return "global\x00" + string(l.Target)
}

// passable reports whether a lane could go through now.
func (g *gate) passable() bool {
	limit := g.queue.config.PerTarget
	switch g.breaker {
	case open:
		limit = 0
	case halfOpen:
		limit = 1
	}
	return g.busy < limit && !g.ready.empty()
}

// enlist puts the gate into its outlet's line if a lane could go through.
func (g *gate) enlist() {
	if !g.passable() {
		return
	}
	if !g.queued {
		g.queued = true
		g.outlet.line.push(g)
	}
	g.outlet.wait.Signal()
}

// answered is called when the address has taken an event of a lane, or refused that one event for good: it is up.
func (g *gate) answered(l *lane) {
	if !g.downAt.IsZero() {
		g.tell(l, noticeBack, "")
	}
	g.fails, g.failing, g.downAt = 0, false, time.Time{}
	if g.breaker == halfOpen {
		g.breaker, g.trips = closed, 0
		g.enlist()
	}
	if g.breaker == closed {
		g.trips = 0
	}
}

// failed is called when an attempt has failed in a way that may be the address's or the event's fault.
func (g *gate) failed() {
	if g.fails++; g.breaker == halfOpen || g.fails >= g.queue.config.BreakerFailures {
		g.trip(false)
	}
}

// trip opens the breaker, for longer each time until there is a success, or if it is because the target is unavailable
// until the sink says that it can be reached.
func (g *gate) trip(unavailable bool) {
	if g.breaker == open {
		return
	}
	g.unavailable = unavailable
	c := &g.queue.config
	d := min(c.BreakerWait<<min(g.trips, 16), c.BreakerMax)
	g.trips++
	g.shut(d - time.Duration(rand.Float64()*0.2*float64(d))) // addresses that fell together are not probed together
}

// hold opens the breaker because the address has asked to be left alone.
func (g *gate) hold(d time.Duration) {
	if g.breaker != open || time.Now().Add(d).After(g.alarm.at) {
		g.unavailable = false
		g.shut(d)
	}
}

func (g *gate) shut(d time.Duration) {
	g.breaker = open
	g.queue.set(&g.alarm, d)
}

// probe ends an open breaker's wait.
func (g *gate) probe() {
	if g.breaker == open {
		g.queue.unset(&g.alarm)
		g.breaker = halfOpen
	}
	g.enlist()
}

// tellFailure tells the log of a failure after which the delivery stays in its lane, if it is news.
func (g *gate) tellFailure(l *lane, item Item) {
	switch {
	case g.downAt.IsZero() && g.breaker == open && g.trips > 0:
		g.failing, g.downAt, g.toldAt = true, time.Now(), time.Now()
		g.tell(l, noticeDown, l.head.Error)
	case !g.downAt.IsZero() && time.Since(g.toldAt) >= stillDownEvery:
		g.toldAt = time.Now()
		g.tell(l, noticeStillDown, l.head.Error)
	case !g.failing:
		g.failing = true
		g.queue.notices.add(notice{
			noticeKey: l.keyOf(noticeFailed), of: l.Instance, event: item.Event.ID, err: l.head.Error,
		}, nil)
	}
}

// tell tells the log of the address, by the lane at which that was noticed.
func (g *gate) tell(l *lane, kind noticeKind, err string) {
	g.queue.notices.add(notice{noticeKey: l.keyOf(kind), err: err, down: time.Since(g.downAt)}, func(line *notice) {
		for _, other := range g.queue.lanes {
			if other.gate == g {
				line.waiting += other.waiting
			}
		}
	})
}
