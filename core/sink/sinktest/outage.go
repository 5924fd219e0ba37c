package sinktest

import (
	"context"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/evosink/evosink/core/sink"
)

// An Outage takes a sink's service away while events go on being made, and brings it back. Lanes deliver as the queue
// does: each one event at a time, in order, again and again until it is delivered.
type Outage struct {
	Sink     sink.Sink
	Delivery func(lane, n int) *sink.Delivery // the n-th event of a lane, from 0
	Down, Up func()
	Lanes    int
	// Away is how long, after a second of good weather and before another. EVOSINK_OUTAGE sets another time: 60s is the
	// form in which sinks are judged. At 500 events a second in all.
	Away time.Duration
}

// outageRate is how many events are made in a second.
const outageRate = 500

// Run returns when everything is delivered, and how many events each lane had.
func (o Outage) Run(t testing.TB) (each int) {
	t.Helper()
	if long := os.Getenv("EVOSINK_OUTAGE"); long != "" {
		var err error
		if o.Away, err = time.ParseDuration(long); err != nil {
			t.Fatalf("EVOSINK_OUTAGE: %v", err)
		}
	}
	each = int((o.Away+2*time.Second).Seconds()*outageRate) / o.Lanes
	ctx, cancel := context.WithTimeout(context.Background(), 4*o.Away+8*patience) // for a slow machine to catch up
	defer cancel()
	made := make([]chan *sink.Delivery, o.Lanes)
	var wg sync.WaitGroup
	for i := range made {
		made[i] = make(chan *sink.Delivery, each)
		wg.Go(func() { o.drain(ctx, t, made[i]) })
	}
	o.weather(made, each)
	wg.Wait()
	return each
}

// weather makes events at their rate, and the outage.
func (o Outage) weather(made []chan *sink.Delivery, each int) {
	tick := time.NewTicker(time.Second / outageRate)
	defer tick.Stop()
	for n := range each * o.Lanes {
		<-tick.C
		switch n {
		case outageRate:
			o.Down()
		case each*o.Lanes - outageRate:
			o.Up()
		}
		made[n%o.Lanes] <- o.Delivery(n%o.Lanes, n/o.Lanes)
	}
	for _, lane := range made {
		close(lane)
	}
}

func (o Outage) drain(ctx context.Context, t testing.TB, lane <-chan *sink.Delivery) {
	for d := range lane {
		for err := o.attempt(ctx, d); err != nil; err = o.attempt(ctx, d) {
			if ctx.Err() != nil || sink.IsPermanent(err) {
				t.Errorf("event %s is not delivered: %v", d.Event.ID, err)
				return
			}
			time.Sleep(20 * time.Millisecond) // the queue's pause
		}
	}
}

func (o Outage) attempt(ctx context.Context, d *sink.Delivery) error {
	ctx, cancel := context.WithTimeout(ctx, patience/2)
	defer cancel()
	return o.Sink.Deliver(ctx, d)
}

// InOrder reports how many events of a lane arrived more than once, or fails: next gives, in order of arrival, the ids
// of a lane's events, and want the id of the n-th of each.
func InOrder(t testing.TB, each int, want func(n int) string, next func() string) (doubles int) {
	t.Helper()
	for n := range each {
		for id := next(); id != want(n); id = next() {
			if n == 0 || id != want(n-1) {
				t.Fatalf("%s arrived where %s was to come: it is lost or overtaken", id, want(n))
			}
			doubles++
		}
	}
	return doubles
}
