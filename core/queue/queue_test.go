package queue_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/evosink/evosink/core/bus"
	"github.com/evosink/evosink/core/queue"
	"github.com/evosink/evosink/core/queue/queuetest"
	"github.com/evosink/evosink/core/sink"
)

var errBusy = errors.New("503")

func TestLanesDeliverInOrderAndLeaveNothingBehind(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := &target{}
		r := start(t, newStore(t), queue.DefaultConfig(), outlet("hook", s))
		for i := range 300 {
			for _, instance := range []string{"a", "b", "c"} {
				r.put(newEvent(instance, fmt.Sprintf("%04d", i)), to(instance))
			}
		}
		after(time.Second)
		for _, instance := range []string{"a", "b", "c"} {
			want(t, instance, s.took(instance), ids(300))
		}
		want(t, "backlog", len(r.Backlog(queue.Selector{})), 0)
		lanes, _ := r.store.Lanes(t.Context())
		want(t, "lanes in the store", len(lanes), 0)
		want(t, "delivered", r.Stats()[0].Delivered, 900)
	})
}

func TestAFailedDeliveryHoldsItsLaneForTheWaitsOfItsPolicy(t *testing.T) {
	bubble(t, func(t *testing.T) {
		fails := 0
		s := &target{policy: &sink.Policy{Attempts: 10, Base: 5 * time.Second, Max: 300 * time.Second, Factor: 2}}
		s.deliver = func(_ context.Context, d *sink.Delivery) error {
			if d.Event.ID == "0001" && fails < 4 {
				fails++
				return errBusy
			}
			return nil
		}
		r := start(t, newStore(t), queue.DefaultConfig(), outlet("hook", s))
		began := time.Now()
		r.fill(to("a"), 3)
		after(10 * time.Minute)
		want(t, "order", s.took(""), ids(3))
		var at []string
		for _, try := range s.seen() {
			if try.id == "0001" {
				at = append(at, fmt.Sprintf("%d@%v", try.attempt, try.at.Sub(began)))
			}
		}
		want(t, "attempts", at, []string{"1@0s", "2@5s", "3@15s", "4@35s", "5@1m15s"})
		want(t, "retried", r.Stats()[0].Retried, 4)
		want(t, "last error", r.Stats()[0].LastError, "503")
		want(t, "failed", r.Stats()[0].FailedAt.Sub(began), 35*time.Second)
	})
}

func TestAnExhaustedDeliveryIsADeadLetterAndItsLaneGoesOn(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := &target{policy: &sink.Policy{Attempts: 3, Base: time.Second, Factor: 1}}
		s.deliver = func(_ context.Context, d *sink.Delivery) error {
			switch d.Event.ID {
			case "0000":
				return errBusy
			case "0001":
				return fmt.Errorf("post: %w", sink.Permanent(errors.New("410")))
			}
			return nil
		}
		r := start(t, newStore(t), queue.DefaultConfig(), outlet("hook", s))
		began := time.Now()
		r.fill(to("a"), 3)
		after(time.Minute)
		want(t, "delivered", s.took(""), []string{"0002"})
		letters, err := r.DeadLetters(t.Context(), queue.DeadLetterFilter{}, queue.Page{})
		if err != nil || len(letters) != 2 {
			t.Fatalf("letters are %+v, %v", letters, err)
		}
		l := letters[0]
		want(t, "letter", []any{l.EventID, l.Reason, l.Attempts, l.Error}, []any{"0000", queue.Attempts, 3, "503"})
		want(t, "its times", []any{l.First.Sub(began), l.Last.Sub(began)}, []any{0 * time.Second, 2 * time.Second})
		want(t, "letter", []any{letters[1].Reason, letters[1].Attempts}, []any{queue.Permanent, 1})
		attempts, _ := r.Attempts(t.Context(), "0000")
		want(t, "attempts logged", len(attempts), 3)
	})
}

func TestAnExhaustedDeliveryPausesItsTargetWhenThePolicySaysSo(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var healthy atomic.Bool
		s := &target{policy: &sink.Policy{Attempts: 2, Base: time.Second, Factor: 1, OnExhausted: sink.Pause}}
		s.deliver = func(context.Context, *sink.Delivery) error {
			if healthy.Load() {
				return nil
			}
			return errBusy
		}
		r := start(t, newStore(t), queue.DefaultConfig(), outlet("hook", s))
		r.fill(own("a"), 2)
		after(time.Hour)
		want(t, "attempts", len(s.seen()), 2)
		p := r.Pauses()
		if len(p) != 1 || p[0].Selector != (queue.Selector{Sink: "hook", Target: "instance", Instance: "a"}) {
			t.Fatalf("pauses are %+v", p)
		}
		healthy.Store(true)
		if err := r.Resume(t.Context(), p[0].Selector); err != nil {
			t.Fatal(err)
		}
		after(time.Second)
		want(t, "delivered", s.took(""), ids(2))
	})
}

func TestADeadTargetCostsTheOthersNothing(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := &target{}
		s.deliver = func(ctx context.Context, d *sink.Delivery) error {
			switch d.Event.Instance[:4] {
			case "dead":
				return errBusy
			case "slow":
				time.Sleep(500 * time.Millisecond)
			case "hung":
				<-ctx.Done()
				return ctx.Err()
			}
			return nil
		}
		r := start(t, newStore(t), queue.DefaultConfig(), outlet("hook", s))
		began := time.Now()
		for i := range 20 {
			for lane := range 12 {
				for _, kind := range []string{"good", "dead", "slow"} {
					instance := fmt.Sprint(kind, lane)
					r.put(newEvent(instance, fmt.Sprintf("%04d", i)), own(instance))
				}
			}
			r.put(newEvent("hung", fmt.Sprintf("%04d", i)), own("hung"))
		}
		after(15 * time.Second)
		for lane := range 12 {
			want(t, "a good lane's events", s.took(fmt.Sprint("good", lane)), ids(20))
			want(t, "a slow lane's events", s.took(fmt.Sprint("slow", lane)), ids(20))
			want(t, "a dead lane's events", len(s.took(fmt.Sprint("dead", lane))), 0)
		}
		for _, try := range s.seen() {
			if try.instance[:4] == "good" && try.at.After(began) {
				t.Fatalf("%s of %s was tried after %v: it waited for another lane", try.id, try.instance, try.at.Sub(began))
			}
		}
	})
}

func TestRetryAfterIsHonouredForTheWholeAddress(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var limited atomic.Bool
		limited.Store(true)
		s := &target{}
		s.deliver = func(context.Context, *sink.Delivery) error {
			if limited.Swap(false) {
				return sink.RetryAfter(errors.New("429"), 90*time.Second)
			}
			return nil
		}
		r := start(t, newStore(t), queue.DefaultConfig(), outlet("hook", s))
		began := time.Now()
		r.fill(to("a"), 2)
		after(time.Second)
		r.fill(to("b"), 2)
		after(10 * time.Minute)
		tries := s.seen()
		want(t, "attempts", len(tries), 5)
		for _, try := range tries[1:] {
			if d := try.at.Sub(began); d < 90*time.Second || d > 91*time.Second {
				t.Errorf("%s of %s was tried after %v, want 90 s", try.id, try.instance, d)
			}
		}
	})
}

func TestAnAbsurdRetryAfterIsCutToAnHour(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := &target{}
		s.deliver = func(context.Context, *sink.Delivery) error {
			return sink.RetryAfter(errors.New("429"), 1000*time.Hour)
		}
		r := start(t, newStore(t), queue.DefaultConfig(), outlet("hook", s))
		r.fill(to("a"), 1)
		after(2*time.Hour + time.Minute)
		want(t, "attempts", len(s.seen()), 3)
	})
}

func TestAnUnavailableTargetIsProbedByOneLaneAndUsesUpNoAttempt(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var up atomic.Bool
		s := &target{}
		s.deliver = func(context.Context, *sink.Delivery) error {
			if up.Load() {
				return nil
			}
			return sink.Unavailable(errors.New("connection refused"))
		}
		r := start(t, newStore(t), queue.DefaultConfig(), outlet("hook", s))
		for lane := range 100 {
			r.fill(to(fmt.Sprint("i", lane)), 3)
		}
		after(time.Hour)
		if n := len(s.seen()); n < 60 || n > 100 {
			t.Errorf("a dead address was tried %d times in an hour, want about one a minute", n)
		}
		up.Store(true)
		after(2 * time.Minute)
		for lane := range 100 {
			want(t, "delivered", s.took(fmt.Sprint("i", lane)), ids(3))
		}
		for _, try := range s.seen() {
			if try.attempt != 1 {
				t.Fatalf("%s of %s had attempt %d", try.id, try.instance, try.attempt)
			}
		}
	})
}

func TestAnUnavailableTargetEndsWithTheMaximumAge(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := &target{policy: &sink.Policy{Base: time.Second, Max: time.Second, Factor: 2, MaxAge: time.Hour}}
		s.deliver = func(context.Context, *sink.Delivery) error { return sink.Unavailable(errBusy) }
		r := start(t, newStore(t), queue.DefaultConfig(), outlet("hook", s))
		r.fill(to("a"), 2)
		after(59 * time.Minute)
		n, _ := r.CountDeadLetters(t.Context(), queue.DeadLetterFilter{})
		want(t, "letters before", n, 0)
		after(5 * time.Minute)
		n, _ = r.CountDeadLetters(t.Context(), queue.DeadLetterFilter{Reason: queue.TooOld})
		want(t, "letters after", n, 2)
	})
}

func TestFailuresInARowOpenTheBreakerAndOneSuccessClosesIt(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var up atomic.Bool
		s := &target{policy: &sink.Policy{Base: time.Second, Max: time.Second, Factor: 1}}
		s.deliver = func(context.Context, *sink.Delivery) error {
			if up.Load() {
				return nil
			}
			return errBusy
		}
		r := start(t, newStore(t), queue.DefaultConfig(), outlet("hook", s))
		for lane := range 50 {
			r.fill(to(fmt.Sprint("i", lane)), 2)
		}
		after(0)
		if n := len(s.seen()); n < 5 || n > 8 {
			t.Errorf("%d attempts were made before the breaker opened after 5 failures, want at most 3 more, that ran already", n)
		}
		want(t, "breaker", r.Backlog(queue.Selector{})[0].Breaker, "open")
		want(t, "open", r.Stats()[0].Open, 1)
		up.Store(true)
		after(2 * time.Second)
		want(t, "delivered", len(s.took("")), 100)
		want(t, "open", r.Stats()[0].Open, 0)
	})
}

func TestAnAttemptEndsWithItsTimeout(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := &target{policy: &sink.Policy{Attempts: 1, Timeout: 7 * time.Second}}
		s.deliver = func(ctx context.Context, _ *sink.Delivery) error {
			<-ctx.Done()
			return ctx.Err()
		}
		r := start(t, newStore(t), queue.DefaultConfig(), outlet("hook", s))
		r.fill(to("a"), 1)
		after(time.Minute)
		attempts, _ := r.Attempts(t.Context(), "0000")
		if len(attempts) != 1 || attempts[0].Took != 7*time.Second {
			t.Errorf("attempts are %+v", attempts)
		}
	})
}

func TestAnswersAreKeptWithTheAttempts(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := &target{}
		s.deliver = func(ctx context.Context, d *sink.Delivery) error {
			if d.Attempt == 1 {
				sink.Report(ctx, sink.Answer{Status: "500 Oops", Head: []byte("<html>")})
				return errBusy
			}
			sink.Report(ctx, sink.Answer{Status: "200 OK"})
			return nil
		}
		r := start(t, newStore(t), queue.DefaultConfig(), outlet("hook", s))
		r.fill(to("a"), 1)
		after(time.Minute)
		var got []string
		attempts, _ := r.Attempts(t.Context(), "0000")
		for _, a := range attempts {
			got = append(got, fmt.Sprint(a.Number, a.Status, string(a.Head), a.Error))
		}
		want(t, "attempts", got, []string{"1500 Oops<html>503", "2200 OK"})
	})
}

func TestAWallClockThatWasSetBackDelaysNoLaneForMoreThanAnHour(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := newStore(t)
		e := newEvent("a", "0000")
		leases := []bus.Lease{queuetest.Lease(store, "a")}
		entry := queue.Entry{Event: e, At: time.Now(), To: []queue.Destination{to("a")}}
		places, err := store.Put(t.Context(), leases, nil, entry)
		if err != nil {
			t.Fatal(err)
		}
		ahead := time.Now().Add(1000 * time.Hour) // written before the clock was set back
		store.Record(t.Context(), leases, []queue.Result{{
			Lane: to("a").Lane, Seq: places[0].Seq, Kind: queue.Retry,
			Progress: queue.Progress{Attempts: 4, First: ahead, Last: ahead, Next: ahead.Add(time.Minute)},
		}})
		s := &target{}
		start(t, store, queue.DefaultConfig(), outlet("hook", s))
		after(time.Hour)
		tries := s.seen()
		if len(tries) != 1 || tries[0].attempt != 5 {
			t.Errorf("attempts are %+v, want the fifth within an hour", tries)
		}
	})
}
