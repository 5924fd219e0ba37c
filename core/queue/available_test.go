package queue_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/evosink/evosink/core/queue"
	"github.com/evosink/evosink/core/sink"
)

func TestATargetThatIsBackWakesItsLanes(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var up atomic.Bool
		s := faulty(&up)
		r := start(t, newStore(t), queue.DefaultConfig(), outlet("hook", s))
		for lane := range 200 {
			r.fill(own(fmt.Sprint("i", lane)), 3)
		}
		after(time.Hour)
		up.Store(true)
		r.Available("another sink")
		after(0)
		want(t, "delivered before the sink says so", len(s.took("")), 0)
		r.Available("hook")
		after(0)
		for lane := range 200 {
			want(t, "delivered", s.took(fmt.Sprint("i", lane)), ids(3))
		}
	})
}

// A connection that comes and goes must not make a storm: each time, each address is tried once.
func TestATargetThatIsBackAndIsNotIsTriedOnce(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var up atomic.Bool
		s := faulty(&up)
		c := queue.DefaultConfig()
		c.BreakerWait, c.BreakerMax = time.Hour, time.Hour
		r := start(t, newStore(t), c, outlet("hook", s))
		const addresses, times = 20, 10
		for lane := range addresses {
			r.fill(own(fmt.Sprint("i", lane)), 3)
		}
		for lane := range addresses {
			r.fill(to(fmt.Sprint("i", lane)), 3) // all of one address more
		}
		after(time.Second)
		before := len(s.seen())
		for range times {
			r.Available("hook")
			after(time.Second)
		}
		want(t, "attempts", len(s.seen())-before, (addresses+1)*times)
	})
}

// What is there again is not what refuses, nor what has asked for a pause.
func TestATargetThatIsBackDoesNotHurryWhatWasRefused(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := &target{}
		s.deliver = func(_ context.Context, d *sink.Delivery) error {
			if d.Event.Instance == "limited" {
				return sink.RetryAfter(errors.New("429"), 10*time.Minute)
			}
			return errBusy
		}
		c := queue.DefaultConfig()
		c.BreakerWait, c.BreakerMax, c.BreakerFailures = time.Hour, time.Hour, 1
		r := start(t, newStore(t), c, outlet("hook", s))
		r.fill(own("limited"), 1)
		r.fill(own("broken"), 1)
		after(time.Second)
		r.Available("hook")
		after(time.Minute)
		want(t, "attempts", len(s.seen()), 2)
	})
}

// An attempt that began before the target was back and ends afterwards tells of the past.
func TestAnAttemptFromBeforeDoesNotShutTheTargetOutAgain(t *testing.T) {
	bubble(t, func(t *testing.T) {
		fail := make(chan struct{})
		s := &target{}
		s.deliver = func(_ context.Context, d *sink.Delivery) error {
			select {
			case <-fail:
				return nil
			default:
				<-fail
				return sink.Unavailable(errors.New("the connection was lost"))
			}
		}
		c := queue.DefaultConfig()
		c.BreakerWait, c.BreakerMax = time.Hour, time.Hour
		r := start(t, newStore(t), c, outlet("hook", s))
		r.fill(own("a"), 3)
		after(time.Second)
		r.Available("hook")
		close(fail)
		after(time.Second)
		want(t, "delivered", s.took(""), ids(3))
	})
}
