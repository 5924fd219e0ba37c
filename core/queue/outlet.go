package queue

import (
	"context"
	"encoding/json"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/evosink/evosink/core/sink"
)

// An Outlet is a sink that the queue delivers to.
type Outlet struct {
	Name string
	// Sink has been started, and is closed by its owner after the queue.
	Sink sink.Sink
	// Restart replaces the sink after a panic: it closes the present one and returns another, started. No Deliver runs
	// meanwhile. After an error it is called again, after a pause. nil goes on with the sink as it is.
	Restart func(ctx context.Context) (sink.Sink, error)
	// Standing tells, before each attempt, what the settings of an instance say about its deliveries of that scope. Settings are
	// what [sink.Delivery] carries. It must return promptly. nil means [Deliver], without settings.
	Standing func(instance string, s sink.Scope) (Standing, json.RawMessage)
	// Idle is called once while the queue is closed, when the last attempt of this sink has ended and none will begin:
	// its owner may close the sink from then on, whatever the other sinks still do. It must return promptly. nil tells
	// nothing.
	Idle func()
}

// A Standing is what becomes of the deliveries that wait for an instance.
type Standing uint8

// The standings.
const (
	Deliver Standing = iota // they are tried
	Hold                    // they are kept, see [Queue.Refresh]: the sink is switched off for them
	Discard                 // they become dead letters: the instance does not exist any more
)

// outlet is what the queue keeps for a sink.
type outlet struct {
	Outlet
	log zerolog.Logger

	workers sync.WaitGroup // of this sink
	wait    *sync.Cond     // on Queue.mu: there may be work
	// Queue.mu guards the fields below.
	batcher   sink.Batcher   // nil if the sink is none
	retrier   sink.Retrier   // nil if the sink is none
	addresser sink.Addresser // nil if the sink is none
	gates     map[string]*gate
	line      fifo[*gate]
	busy      int       // workers that try something
	broken    error     // why the sink has to be restarted; nil if it has not
	mending   bool      // a worker restarts it
	mends     int       // restarts since it was steady
	mendedAt  time.Time // when the last one was over
	count     Counts
	failure   string // of the last attempt that failed
	failedAt  time.Time

	// availableAt is when the sink said last that its target can be reached; attempts begun before say nothing of that.
	availableAt time.Time
}

func newOutlet(o Outlet, mu *sync.Mutex, log zerolog.Logger) *outlet {
	if o.Standing == nil {
		o.Standing = func(string, sink.Scope) (Standing, json.RawMessage) { return Deliver, nil }
	}
	out := &outlet{Outlet: o, log: log.With().Str("sink", o.Name).Logger(), wait: sync.NewCond(mu), gates: map[string]*gate{}}
	out.use(o.Sink)
	return out
}

// use takes s as the sink and finds its abilities.
func (o *outlet) use(s sink.Sink) {
	o.Sink = s
	o.batcher, _ = s.(sink.Batcher)
	o.retrier, _ = s.(sink.Retrier)
	o.addresser, _ = s.(sink.Addresser)
}

// pull returns lanes that may be tried now, all through one gate, in turn: gates take turns, and so do the lanes of a gate. There is one
// lane, or several if the sink takes batches. Their state is running.
func (o *outlet) pull() []*lane {
	for !o.line.empty() {
		g := o.line.pop()
		g.queued = false
		if !g.passable() {
			continue
		}
		lanes := g.pull(o.batcher != nil)
		g.enlist()
		return lanes
	}
	return nil
}

func (g *gate) pull(batch bool) []*lane {
	limit := 1
	if batch && g.breaker == closed {
		limit = batchLength
	}
	lanes := make([]*lane, 0, 1)
	for len(lanes) < limit && !g.ready.empty() {
		l := g.ready.pop()
		l.state, l.stale = running, false
		lanes = append(lanes, l)
	}
	g.busy++ // a batch is one request to the address
	return lanes
}

// batchLength is how many deliveries a [sink.Batcher] is given at most.
const batchLength = 100
