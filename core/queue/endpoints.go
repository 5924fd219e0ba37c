package queue

import (
	"time"

	"github.com/evosink/evosink/core/sink"
)

// An endpointTable holds the endpoints of one sink, the hosts behind them and the instances that own some, and knows
// which endpoint can start an attempt next. The scheduler's lock guards it.
type endpointTable struct {
	config  *Config
	timers  *timers
	byKey   map[string]*endpoint
	hosts   map[string]*host   // those that a sink.Hoster names
	tenants map[string]*tenant // instances with targets of their own
	line    turns[*endpoint]   // endpoints that can start an attempt
}

// next takes the endpoint that has its turn; nil if none can start an attempt.
func (t *endpointTable) next() *endpoint {
	for !t.line.empty() {
		e := t.line.pop()
		e.place = nowhere
		if t.placeOf(e) == inLine {
			return e
		}
		t.enlist(e) // what it waits for has changed since
		t.letInOne(e.tenant)
	}
	return nil
}

// begin counts an attempt.
func (t *endpointTable) begin(a *attempt) {
	e := a.endpoint
	e.attempts++
	e.host.attempts++
	if e.tenant != nil {
		e.tenant.attempts++
	}
	e.breaker.start(a)
	e.host.breaker.start(a)
	t.enlist(e)
}

// end counts an attempt less, and enlists what may have waited for that.
func (t *endpointTable) end(a *attempt) {
	e, h := a.endpoint, a.host
	e.attempts--
	h.attempts--
	if e.tenant != nil {
		e.tenant.attempts--
	}
	e.breaker.end(a)
	h.breaker.end(a)
	t.enlist(e)
	t.letInOne(e.tenant)
	if !h.waiting.empty() && t.admits(h) {
		t.letIn(h)
	}
}

// get returns the endpoint of that key, which is made if memory does not hold it, for one lane more.
func (t *endpointTable) get(key string, l *lane) *endpoint {
	e, ok := t.byKey[key]
	if ok {
		e.lanes++
		return e
	}
	e = &endpoint{key: key, scope: l.scope, lanes: 1}
	e.own.answered = true
	t.connect(e, &e.own)
	if e.scope == sink.Instance {
		e.owner = l.Instance
		if e.tenant = t.tenants[e.owner]; e.tenant == nil {
			e.tenant = &tenant{}
			t.tenants[e.owner] = e.tenant
		}
		e.tenant.endpoints++
	}
	t.byKey[key] = e
	return e
}

// leave counts one lane less that leads to e, which ends with the last, and with it what only it needed.
func (t *endpointTable) leave(e *endpoint) {
	if e.lanes--; e.lanes > 0 {
		return
	}
	t.timers.unset(&e.breaker.timer)
	delete(t.byKey, e.key)
	t.disconnect(e)
	if e.tenant != nil {
		if e.tenant.endpoints--; e.tenant.endpoints == 0 {
			delete(t.tenants, e.owner)
		}
	}
}

// connect has e use a host.
func (t *endpointTable) connect(e *endpoint, h *host) {
	e.host = h
	h.endpoints++
}

func (t *endpointTable) disconnect(e *endpoint) {
	h := e.host
	if h.endpoints--; h.endpoints == 0 {
		t.timers.unset(&h.breaker.timer)
		delete(t.hosts, h.key)
	}
}

// moveTo has an endpoint, and the attempt that has found out, use the host of that name. It reports whether the
// attempt may go on there.
func (t *endpointTable) moveTo(a *attempt, key string) bool {
	e := a.endpoint
	if e.host.key == key {
		return true
	}
	h := t.hosts[key]
	if h == nil {
		h = &host{key: key, answered: key == ""} // without a name it is the endpoint's own
	}
	a.host.attempts--
	a.host.breaker.end(a)
	if a.host.breaker.state == halfOpen {
		t.letIn(a.host)
	}
	if e.lanes > 0 { // else e has ended: it has left its host, and enters no other one
		t.disconnect(e)
		t.connect(e, h)
		if key != "" {
			t.hosts[key] = h
		}
		if e.place == atHost {
			e.place = nowhere // its entry in the old host's list is passed over
		}
	}
	a.host = h
	mayGoOn := t.admits(h)
	h.attempts++
	if mayGoOn {
		h.breaker.start(a)
	}
	return mayGoOn
}

// admits reports whether one attempt more may be made at a host. Until it has answered, few are: a host that drops
// packets would otherwise take up all attempts of the sink before the first of them has failed.
func (t *endpointTable) admits(h *host) bool {
	return h.breaker.admits() && (h.answered || h.attempts < max(t.config.PerTarget, t.config.Workers/16))
}

// placeOf returns the list that an endpoint belongs in: the sink's line if it can start an attempt, the list of what
// holds it otherwise. One that has nothing to start, or waits for its own breaker or attempts, is in none.
func (t *endpointTable) placeOf(e *endpoint) place {
	switch {
	case e.ready.empty() || e.attempts >= t.config.PerTarget || !e.breaker.admits():
		return nowhere
	case !t.admits(e.host):
		return atHost
	case e.tenant != nil && e.tenant.attempts >= t.config.PerInstance:
		return atTenant
	}
	return inLine
}

// enlist puts an endpoint that is in no list into the one where it belongs.
func (t *endpointTable) enlist(e *endpoint) {
	if e.place != nowhere {
		return
	}
	switch e.place = t.placeOf(e); e.place {
	case atHost:
		e.host.waiting.push(e.owner, e)
	case atTenant:
		e.tenant.waiting.push(e)
	case inLine:
		t.line.push(e.owner, e)
	}
}

// letIn enlists the endpoints that wait at a host. More of them than the host admits wait there again when it is
// their turn.
func (t *endpointTable) letIn(h *host) {
	waiting := h.waiting
	h.waiting = turns[*endpoint]{}
	for !waiting.empty() {
		if e := waiting.pop(); e.place == atHost && e.host == h {
			e.place = nowhere
			t.enlist(e)
		}
	}
}

// letInOne enlists an endpoint that waits because its instance had too many attempts in the air.
func (t *endpointTable) letInOne(of *tenant) {
	for of != nil && !of.waiting.empty() && of.attempts < t.config.PerInstance {
		e := of.waiting.pop()
		e.place = nowhere
		if t.enlist(e); e.place == inLine {
			return
		}
	}
}

// shut opens the breaker of an endpoint for d.
func (t *endpointTable) shut(e *endpoint, d time.Duration) {
	b := &e.breaker
	if b.timer.fire == nil {
		b.timer.fire = func() { t.halfOpen(e) }
	}
	b.state, b.probe = open, nil
	t.timers.set(&b.timer, d)
}

// shutHost opens the breaker of a host for d.
func (t *endpointTable) shutHost(h *host, d time.Duration) {
	b := &h.breaker
	if b.timer.fire == nil {
		b.timer.fire = func() { t.probeHost(h) }
	}
	b.state, b.probe = open, nil
	t.timers.set(&b.timer, d)
}

// halfOpen ends the wait of an endpoint's breaker.
func (t *endpointTable) halfOpen(e *endpoint) {
	if e.breaker.state == open {
		t.timers.unset(&e.breaker.timer)
		e.breaker.state = halfOpen
	}
	t.enlist(e)
}

// probeHost ends the wait of a host's breaker.
func (t *endpointTable) probeHost(h *host) {
	if h.breaker.state == open {
		t.timers.unset(&h.breaker.timer)
		h.breaker.state = halfOpen
	}
	t.letIn(h)
}
