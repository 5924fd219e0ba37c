package queuetest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/evosink/evosink/core/bus"
	"github.com/evosink/evosink/core/event"
	"github.com/evosink/evosink/core/queue"
	"github.com/evosink/evosink/core/sink"
)

// patience bounds a wait: it is only ever used up by a failure.
const patience = 60 * time.Second

// An Order is a lane with a target that refuses events now and then, in the middle of what it is sent at once.
type Order struct {
	Store queue.Store
	Sink  sink.Sink // started; its deliveries that fail are tried again soon, whatever its own policy
	To    queue.Destination
	N     int // events
	// Name names the n-th event, for sinks that tell events apart by name; nil means "messages.upsert".
	Name func(n int) string
	// Again, if not nil, makes the sink once more, started, for a queue that is started in the place of the first when
	// something was refused a few times: all that memory held is gone then.
	Again func() sink.Sink
	// Arrived returns the ids of what has arrived, in order. It is called when everything is delivered.
	Arrived func() []string
}

// Arrivals are what a run has seen of events out of their order.
type Arrivals struct {
	Refused  int // attempts that failed
	Overtook int // events that arrived first behind a later one
	Repeats  int // arrivals of an event that had arrived before
}

// ID is the id of the n-th event.
func (o Order) ID(n int) string { return fmt.Sprintf("%06d", n) }

// Run delivers the lane's events through a queue and fails unless each arrives, and the last arrivals are in order:
// what was taken before an event that it was to come after has to arrive again behind that one. A consumer sees repeats
// then, and never an older state last.
func (o Order) Run(t testing.TB) Arrivals {
	t.Helper()
	for n := range o.N { // before the start, so that they are sent in batches
		name := "messages.upsert"
		if o.Name != nil {
			name = o.Name(n)
		}
		e := &event.Event{
			ID: o.ID(n), Name: name, Instance: o.To.Lane.Instance, Time: time.Now(), Data: json.RawMessage(fmt.Sprint(n)),
		}
		entry := queue.Entry{Event: e, At: time.Now(), To: []queue.Destination{o.To}}
		if _, err := o.Store.Put(t.Context(), []bus.Lease{Lease(o.Store, e.Instance)}, nil, entry); err != nil {
			t.Fatal(err)
		}
	}
	refused := 0
	if o.Again != nil {
		refused += o.deliver(t, o.Sink, func(s queue.Stats) bool { return s.Failed >= 3 })
		o.Sink = o.Again()
	}
	refused += o.deliver(t, o.Sink, func(s queue.Stats) bool { return s.Waiting == 0 })
	a := o.check(t, o.Arrived())
	a.Refused = refused
	t.Logf("%d events: %+v", o.N, a)
	return a
}

// deliver runs a queue until done, and returns how many attempts failed.
func (o Order) deliver(t testing.TB, s sink.Sink, done func(queue.Stats) bool) (failed int) {
	t.Helper()
	q, err := queue.New(queue.Options{
		Store: o.Store, Config: queue.DefaultConfig(), Logger: zerolog.Nop(),
		Sinks: []queue.Sink{{Name: o.To.Lane.Sink, Sink: impatient(s)}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(q.Start(t.Context()), q.Acquire(t.Context(), Alone(o.Store)...)); err != nil {
		t.Fatal(err)
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := q.Close(ctx); err != nil {
			t.Errorf("close the queue: %v", err)
		}
	}()
	for deadline := time.Now().Add(patience); !done(q.Stats()[0]); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("after %v there wait %+v", patience, q.Backlog(queue.Selector{}))
		}
	}
	return int(q.Stats()[0].Failed)
}

// check compares what has arrived with the order of the lane.
func (o Order) check(t testing.TB, arrived []string) (a Arrivals) {
	t.Helper()
	last := map[string]int{}
	newest := ""
	for i, id := range arrived {
		switch _, seen := last[id]; {
		case seen:
			a.Repeats++
		case id < newest:
			a.Overtook++
		}
		last[id], newest = i, max(newest, id)
	}
	silent := 0
	for n := range o.N {
		at, ok := last[o.ID(n)]
		if !ok {
			t.Fatalf("event %s never arrived", o.ID(n))
		}
		if n > 0 && at < last[o.ID(n-1)] {
			if silent++; silent == 1 {
				t.Errorf("event %s arrived before %s and not again behind it: a consumer is left with the older state",
					o.ID(n), o.ID(n-1))
			}
		}
	}
	if silent > 1 {
		t.Errorf("this happened %d times", silent)
	}
	return a
}

// impatient gives a sink a policy of short waits, and hides no ability that orders its deliveries.
func impatient(s sink.Sink) sink.Sink {
	if b, ok := s.(sink.Batcher); ok {
		return struct {
			sink.Sink
			sink.Batcher
			soon
		}{s, b, soon{}}
	}
	return struct {
		sink.Sink
		soon
	}{s, soon{}}
}

type soon struct{}

// Retry implements [sink.Retrier].
func (soon) Retry(*sink.Delivery) sink.Policy {
	return sink.Policy{Base: 20 * time.Millisecond, Factor: 1, Timeout: patience}
}
