package queue_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/evosink/evosink/core/queue"
	"github.com/evosink/evosink/core/sink"
)

// ownTarget returns a destination of the sink "hook": one of several targets of an instance's own.
func ownTarget(instance, name string) queue.Destination {
	return queue.Destination{Lane: queue.LaneKey{Sink: "hook", Target: sink.Target(name), Instance: instance}, Scope: sink.Instance}
}

// lateness puts n events into each destination, one a second, and returns by instance how long the events of targets
// that are not named "silent" waited for their first attempt at most.
func lateness(r *rig, s *target, n int, to ...queue.Destination) map[string]time.Duration {
	put := map[string]time.Time{} // by id
	for i := range n {
		for _, d := range to {
			id := fmt.Sprint(d.Lane.Instance, d.Lane.Target, i)
			put[id] = time.Now()
			r.put(newEvent(d.Lane.Instance, id), d)
		}
		after(time.Second)
	}
	after(time.Hour)
	late := map[string]time.Duration{}
	for _, try := range s.seen() {
		if at, first := put[try.id]; first && !strings.Contains(try.id, "silent") {
			late[try.instance] = max(late[try.instance], try.at.Sub(at))
			delete(put, try.id)
		}
	}
	return late
}

// silent is a target that never answers where it is named so, and is healthy elsewhere.
func silent() *target {
	s := &target{policy: &sink.Policy{Base: time.Second, Max: time.Second, Factor: 1, Attempts: 3, Timeout: 28 * time.Second}}
	s.deliver = func(ctx context.Context, d *sink.Delivery) error {
		if strings.HasPrefix(string(d.Target), "silent") {
			<-ctx.Done()
			return ctx.Err()
		}
		return nil
	}
	return s
}

func noneLate(t *testing.T, late map[string]time.Duration, instances int) {
	t.Helper()
	want(t, "instances that were served", len(late), instances)
	for instance, d := range late {
		if d > 0 {
			t.Errorf("an event of %s waited %v for others", instance, d)
		}
	}
}

func TestSilentTargetsOfOneInstanceCostNoOtherAnything(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := silent()
		r := start(t, newStore(t), queue.DefaultConfig(), outlet("hook", s))
		var to []queue.Destination
		for i := range 33 {
			to = append(to, ownTarget("hog", fmt.Sprint("silent", i)))
		}
		for i := range 20 {
			to = append(to, ownTarget(fmt.Sprint("tenant", i), "good"))
		}
		noneLate(t, lateness(r, s, 10, to...), 20)
	})
}

func TestASilentTargetBesideAHealthyOneOfEachInstanceCostsNothing(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := silent()
		r := start(t, newStore(t), queue.DefaultConfig(), outlet("hook", s))
		var to []queue.Destination
		for i := range 200 {
			to = append(to, ownTarget(fmt.Sprint("tenant", i), "silent"), ownTarget(fmt.Sprint("tenant", i), "good"))
		}
		noneLate(t, lateness(r, s, 10, to...), 200)
	})
}

func TestAnInstanceHasItsShareOfAttemptsAndNoMore(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var mu sync.Mutex
		inAir, most := map[string]int{}, map[string]int{}
		s := &target{}
		s.deliver = func(_ context.Context, d *sink.Delivery) error {
			mu.Lock()
			inAir[d.Event.Instance]++
			most[d.Event.Instance] = max(most[d.Event.Instance], inAir[d.Event.Instance])
			mu.Unlock()
			time.Sleep(time.Second)
			mu.Lock()
			inAir[d.Event.Instance]--
			mu.Unlock()
			return nil
		}
		c := queue.DefaultConfig()
		c.Workers, c.PerInstance = 20, 8
		r := start(t, newStore(t), c, outlet("hook", s))
		for i := range 100 {
			r.put(newEvent("hog", fmt.Sprint("hog", i)), ownTarget("hog", fmt.Sprint(i)))
		}
		for i := range 10 {
			r.put(newEvent("other", fmt.Sprint("other", i)), ownTarget("other", fmt.Sprint(i)))
		}
		after(time.Hour)
		want(t, "attempts of one instance in the air at most", most, map[string]int{"hog": 8, "other": 8})
		want(t, "delivered", len(s.took("")), 110)
	})
}

// When all attempts of the sink are taken, a free one goes to the instance whose turn it is, not to the target that
// has waited longest.
func TestInstancesTakeTurnsWhenAttemptsAreShort(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := &target{}
		s.deliver = func(context.Context, *sink.Delivery) error { time.Sleep(time.Second); return nil }
		c := queue.DefaultConfig()
		c.Workers, c.PerInstance = 10, 10
		r := start(t, newStore(t), c, outlet("hook", s))
		for i := range 500 {
			hog := fmt.Sprint("hog", i%5)
			r.put(newEvent(hog, fmt.Sprint(i)), ownTarget(hog, fmt.Sprint(i)))
		}
		for i := range 20 {
			r.put(newEvent("small", fmt.Sprint("small", i)), ownTarget("small", fmt.Sprint(i)))
		}
		after(time.Hour)
		last := 0
		for i, try := range s.seen() {
			if try.instance == "small" {
				last = i + 1
			}
		}
		if last > 10+6*20+10 {
			t.Errorf("the last of 20 events of a small instance beside five large ones was served as number %d of 520", last)
		}
	})
}

// hosted is a sink whose targets stand behind hosts: "host/path".
type hosted struct{ *target }

func (hosted) Host(d *sink.Delivery) string {
	host, _, _ := strings.Cut(string(d.Target), "/")
	return host
}

// moving is a sink whose target moves to another address and host while an attempt is about to begin.
type moving struct {
	hosted
	moved atomic.Int64
	move  func()
}

func (s *moving) Address(sink.Scope, sink.Target, string) string {
	return fmt.Sprint("address ", s.moved.Load())
}

func (s *moving) Host(*sink.Delivery) string {
	s.moved.Add(1)
	s.move()
	return fmt.Sprint("host ", s.moved.Load())
}

func TestATargetThatMovesWhileItIsAttemptedLeavesNothingBehind(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var r *rig
		s := &moving{hosted: hosted{&target{}}}
		s.move = func() { r.Refresh("a") }
		r = start(t, newStore(t), queue.DefaultConfig(), outlet("hook", s))
		r.fill(own("a"), 20)
		after(time.Second)
		want(t, "delivered", s.took("a"), ids(20))
		lanes, endpoints := r.Size()
		want(t, "lanes, and endpoints and hosts, in memory", []int{lanes, endpoints}, []int{0, 0})
	})
}

func TestADeadHostOfThousandsOfInstancesIsProbedByOneAttempt(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var up atomic.Bool
		s := silent()
		inAir, most := atomic.Int64{}, atomic.Int64{}
		s.deliver = func(ctx context.Context, d *sink.Delivery) error {
			if up.Load() || !strings.HasPrefix(string(d.Target), "dead") {
				return nil
			}
			most.Store(max(most.Load(), inAir.Add(1)))
			defer inAir.Add(-1)
			time.Sleep(10 * time.Second) // packets are dropped
			return sink.Unavailable(errors.New("no connection"))
		}
		r := start(t, newStore(t), queue.DefaultConfig(), outlet("hook", hosted{s}))
		const lanes = 5000
		for i := range lanes {
			r.put(newEvent(fmt.Sprint("i", i), "0000"), ownTarget(fmt.Sprint("i", i), "dead/hook"))
		}
		r.put(newEvent("good", "0000"), ownTarget("good", "good/hook"))
		after(0)
		want(t, "delivered to another host", s.took("good"), ids(1))
		after(time.Minute)
		if n := most.Load(); n > 256 {
			t.Errorf("%d attempts were in the air at once for a host that had not answered yet, want at most 256", n)
		}
		before := len(s.seen())
		after(time.Hour)
		if n := len(s.seen()) - before; n > 70 {
			t.Errorf("a dead host was tried %d times in an hour by %d lanes, want about one a minute", n, lanes)
		}
		up.Store(true)
		after(2 * time.Minute)
		want(t, "delivered", len(s.took("")), lanes+1)
		n, endpoints := r.Size()
		want(t, "lanes and endpoints left in memory", []int{n, endpoints}, []int{0, 0})
	})
}

// Whatever a host answers to one tenant, it is there for the others.
func TestWhatAHostAnswersOneTenantDoesNotKeepTheOthersFromIt(t *testing.T) {
	failures := map[string]func(ctx context.Context) error{
		"500": func(context.Context) error { return errBusy },
		"429": func(context.Context) error { return sink.RetryAfter(errors.New("429"), 10*time.Minute) },
		"503": func(ctx context.Context) error {
			sink.Report(ctx, sink.Answer{Status: "503"})
			return sink.Unavailable(errors.New("503"))
		},
	}
	for name, fail := range failures {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				s := silent()
				s.deliver = func(ctx context.Context, d *sink.Delivery) error {
					if strings.HasPrefix(string(d.Target), "host/silent") {
						return fail(ctx)
					}
					return nil
				}
				r := start(t, newStore(t), queue.DefaultConfig(), outlet("hook", hosted{s}))
				r.fill(ownTarget("good", "host/good"), 20)
				for i := range 10 {
					r.fill(ownTarget("bad", fmt.Sprint("host/silent", i)), 20)
				}
				late := lateness(r, s, 30, ownTarget("good", "host/good"), ownTarget("other", "host/good"))
				noneLate(t, late, 2)
			})
		})
	}
}

func TestOneInstancesRefusedEventsDoNotKeepTheOthersFromASharedTarget(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := silent()
		s.deliver = func(_ context.Context, d *sink.Delivery) error {
			if d.Event.Instance == "bad" {
				return errBusy
			}
			return nil
		}
		r := start(t, newStore(t), queue.DefaultConfig(), outlet("hook", s))
		r.fill(to("bad"), 50)
		after(30 * time.Second)
		noneLate(t, lateness(r, s, 30, to("good")), 1)
	})
}

func TestAnExhaustedDeliveryToASharedTargetPausesItsLaneOnly(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := &target{policy: &sink.Policy{Attempts: 2, Base: time.Second, Factor: 1, OnExhausted: sink.Pause}}
		s.deliver = func(_ context.Context, d *sink.Delivery) error {
			if d.Event.Instance == "bad" {
				return errBusy
			}
			return nil
		}
		r := start(t, newStore(t), queue.DefaultConfig(), outlet("hook", s))
		r.fill(to("bad"), 2)
		after(time.Minute)
		p := r.Pauses()
		if len(p) != 1 || p[0].Selector != (queue.Selector{Sink: "hook", Target: "global", Instance: "bad"}) {
			t.Fatalf("pauses are %+v", p)
		}
		r.fill(to("good"), 2)
		after(time.Second)
		want(t, "delivered", s.took("good"), ids(2))
	})
}

func TestAnInstanceThatFillsTheQueueTakesFromItself(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var up atomic.Bool
		c := queue.DefaultConfig()
		c.TotalLimit = 100
		r := start(t, newStore(t), c, outlet("hook", faulty(&up)))
		r.fill(to("hog"), 200)
		for i := range 9 {
			r.fill(to(fmt.Sprint("tenant", i)), 10)
		}
		letters, _ := r.DeadLetters(t.Context(), queue.DeadLetterFilter{Reason: queue.Full}, queue.Page{Limit: 1000})
		of := map[string]int{}
		for _, l := range letters {
			of[l.Instance]++
		}
		want(t, "refused", of, map[string]int{"hog": 100})
	})
}

func TestAnInstanceHasALimitOfItsOwn(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var up atomic.Bool
		c := queue.DefaultConfig()
		c.InstanceLimit = 10
		r := start(t, newStore(t), c, outlet("hook", faulty(&up)))
		for i := range 20 {
			r.put(newEvent("hog", fmt.Sprint(i)), ownTarget("hog", fmt.Sprint(i)))
		}
		r.fill(to("other"), 10)
		n, _ := r.CountDeadLetters(t.Context(), queue.DeadLetterFilter{Selector: queue.Selector{Instance: "hog"}})
		want(t, "refused of the one", n, 10)
		n, _ = r.CountDeadLetters(t.Context(), queue.DeadLetterFilter{Selector: queue.Selector{Instance: "other"}})
		want(t, "refused of the other", n, 0)
	})
}

// room asks for room for an event of that name in the lanes of destinations.
func (r *rig) room(name string, to ...queue.Destination) error {
	e := newEvent(to[0].Lane.Instance, "next")
	e.Name = name
	return r.Room(e, func() []queue.Destination { return to })
}

func TestADoorLearnsWhichLimitAnInstanceHasReached(t *testing.T) {
	limits := map[string]func(c *queue.Config){
		"instance_limit": func(c *queue.Config) { c.InstanceLimit = 10 },
		"instance_bytes": func(c *queue.Config) { c.InstanceBytes = 10 * queue.Size(newEvent("hog", "0000")) },
		"lane_limit":     func(c *queue.Config) { c.LaneLimit = 10 },
		"total_limit":    func(c *queue.Config) { c.TotalLimit = 10 },
		"total_bytes":    func(c *queue.Config) { c.TotalBytes = 10 * queue.Size(newEvent("hog", "0000")) },
	}
	for limit, set := range limits {
		for _, mode := range []queue.WhenFull{queue.Reject, queue.Block} {
			t.Run(limit+" "+string(mode), func(t *testing.T) {
				bubble(t, func(t *testing.T) {
					var up atomic.Bool
					c := queue.DefaultConfig()
					c.WhenFull = mode
					set(&c)
					r := start(t, newStore(t), c, outlet("hook", faulty(&up)))
					r.fill(to("hog"), 9)
					want(t, "room below the limit", r.room("messages.upsert", to("hog")), error(nil))
					r.put(newEvent("hog", "0009"), to("hog"))
					err := r.room("messages.upsert", to("hog"))
					if !errors.Is(err, queue.ErrFull) || !strings.Contains(err.Error(), "(delivery."+limit+")") {
						t.Errorf("room for an instance at its limit: %v", err)
					}
					if limit == "lane_limit" {
						want(t, "room where another lane has it", r.room("messages.upsert", to("hog"), own("hog")), error(nil))
					}
					want(t, "room for what may be dropped", r.room("presence.update", to("hog")), error(nil))
					want(t, "room for another", r.room("messages.upsert", to("other")), error(nil))
					up.Store(true)
					after(2 * time.Minute)
					want(t, "room after delivery", r.room("messages.upsert", to("hog")), error(nil))
				})
			})
		}
	}
}

// Where an older presence makes room, nothing is refused: as much is taken as was put in its place.
func TestADoorIsOpenAsLongAsSomethingMayBeDropped(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var up atomic.Bool
		c := queue.DefaultConfig()
		c.InstanceLimit = 10
		store := newStore(t)
		r := start(t, store, c, outlet("hook", faulty(&up)))
		for i := range 10 {
			e := newEvent("hog", fmt.Sprint("p", i))
			e.Name = "presence.update"
			r.put(e, to("hog"))
			after(0)
		}
		taken := 0
		for ; r.room("messages.upsert", to("hog")) == nil && taken < 20; taken++ {
			if r.put(newEvent("hog", fmt.Sprintf("%04d", taken)), to("hog")); taken == 4 {
				r.close()
				r = start(t, store, c, outlet("hook", faulty(&up)))
			}
			after(0)
		}
		want(t, "dead letters", r.refusedOf(), map[string]int{})
		if taken < 9 || taken > 10 { // the first one was tried
			t.Errorf("%d were taken in the place of 10 that may be dropped", taken)
		}
	})
}
