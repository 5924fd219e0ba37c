package core_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/evosink/evosink/adapters/memory"
	"github.com/evosink/evosink/core"
	"github.com/evosink/evosink/core/instances"
	"github.com/evosink/evosink/core/queue"
	"github.com/evosink/evosink/core/sink"
)

// A post is a queued sink that notes what it has delivered: event, scope and settings. Deliveries hang as long as it is
// held.
type post struct {
	begun chan string // events of deliveries that hang

	mu sync.Mutex
	// mu guards the fields below.
	held      chan struct{} // closed when deliveries go on; nil while it is not held
	delivered []string
}

func newPost() *post { return &post{begun: make(chan string, 1000)} }

// hold has deliveries hang until the returned function is called.
func (p *post) hold() (let func()) {
	held := make(chan struct{})
	p.mu.Lock()
	defer p.mu.Unlock()
	p.held = held
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.held = nil
		close(held)
	}
}

func (*post) Start(context.Context) error { return nil }
func (*post) Close(context.Context) error { return nil }

func (p *post) Deliver(ctx context.Context, d *sink.Delivery) error {
	p.mu.Lock()
	held := p.held
	p.mu.Unlock()
	if d.Event.Instance == "evosink" { // the hub's own
		return nil
	}
	if held != nil {
		p.begun <- d.Event.ID
		select {
		case <-held:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.delivered = append(p.delivered, fmt.Sprint(d.Event.ID, " ", d.Scope, " ", string(d.Settings)))
	return nil
}

// got returns what was delivered in a scope, "event settings" each.
func (p *post) got(s sink.Scope) (out []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, line := range p.delivered {
		if id, settings, ok := strings.Cut(line, " "+s.String()+" "); ok {
			out = append(out, id+" "+settings)
		}
	}
	return out
}

func (p *post) factory(name string, rule sink.Rule) *sink.Factory {
	return sink.Use(sink.Spec[switches]{
		Name: name, Mode: sink.Queued,
		Defaults: func() switches { return switches{On: true} },
		Enabled:  func(c *switches) bool { return c.On },
		Rule:     func(*switches) sink.Rule { return rule },
		New:      func(switches, sink.Host) (sink.Sink, error) { return p, nil },
	})
}

const (
	allEvents  = `{"enabled":true,"events":["ALL"]}`
	otherURL   = `{"enabled":true,"events":["ALL"],"url":"other"}`
	otherEvent = `{"enabled":true,"events":["CALL"]}`
	off        = `{"enabled":false,"events":["ALL"]}`
)

func wantGot(t *testing.T, p *post, s sink.Scope, want ...string) {
	t.Helper()
	eventually(t, fmt.Sprintf("%v deliveries of scope %v", want, s), func() bool { return len(p.got(s)) >= len(want) })
	if got := p.got(s); !slices.Equal(got, want) {
		t.Errorf("delivered to scope %v was %q, want %q", s, got, want)
	}
}

func TestWhichTargetsGetAnEventIsDecidedWhenItIsTaken(t *testing.T) {
	p := newPost()
	n := startNode(t, nil, p.factory("hook", sink.Rule{}))
	set(t, n, "a", allEvents)
	let := p.hold()
	n.emit(t, "a", "e1")
	<-p.begun
	n.emit(t, "a", "e2") // behind it
	eventually(t, "e2 is taken", func() bool { return waitingFor(n, "a") == 2 })
	set(t, n, "a", otherEvent)
	n.emit(t, "a", "e3")
	let()
	if err := n.Settle(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	set(t, n, "a", allEvents)
	n.emit(t, "a", "e4")
	wantGot(t, p, sink.Instance, "e1 "+allEvents, "e2 "+otherEvent, "e4 "+allEvents)
}

// What is not handled when a process ends is decided about anew: by the settings that hold at the next start.
func TestWhichTargetsGetAnEventIsDecidedAgainAfterARestart(t *testing.T) {
	engine, err := memory.New(memory.DefaultConfig())
	if err != nil {
		t.Fatal(err)
	}
	hook, late := newPost(), newPost()
	full := &unwilling{Store: engine.Queue()} // so that the log answers for what hangs, however long that is
	full.left.Store(1 << 30)
	run := func(store queue.Store) (n node, kill func()) {
		registry, err := instances.Open(t.Context(), engine, instances.Sum("key"))
		if err != nil {
			t.Fatal(err)
		}
		n = node{engine: engine, bus: engine.Bus(), registry: registry}
		n.Hub, err = core.New(core.Options{
			Bus: n.bus, Instances: registry, Queue: store, Logger: zerolog.Nop(),
			Sinks:        []*sink.Factory{hook.factory("hook", sink.Rule{}), late.factory("late", sink.Rule{})},
			DrainTimeout: 100 * time.Millisecond,
		})
		if err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() { ended <- n.Run(context.Background()) }()
		<-n.Started()
		return n, sync.OnceFunc(func() {
			ctx, cancel := context.WithCancel(context.Background())
			cancel()
			n.Close(ctx) // with errors: what it did is cut off
			<-ended
			n.bus.Close(ctx)
		})
	}
	n, kill := run(full)
	defer func() { kill() }()
	set(t, n, "a", allEvents)
	set(t, n, "b", allEvents)
	n.emit(t, "a", "handled")
	wantGot(t, hook, sink.Instance, "handled "+allEvents)
	if err := n.Settle(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	let := hook.hold()
	n.emit(t, "a", "e1")
	n.emit(t, "b", "e2")
	<-hook.begun
	<-hook.begun
	if _, err := n.registry.Set(t.Context(), "a", "late", []byte(otherURL)); err != nil {
		t.Fatal(err)
	}
	set(t, n, "b", otherEvent)
	kill()
	let()
	wantGot(t, late, sink.Instance)

	n, kill = run(engine.Queue())
	for _, instance := range []string{"a", "b"} { // b does not want its own: both show that what was before is taken
		n.emit(t, instance, "e3")
		if err := n.Settle(t.Context(), instance); err != nil {
			t.Fatal(err)
		}
	}
	set(t, n, "b", allEvents)
	n.emit(t, "b", "e4")
	wantGot(t, late, sink.Instance, "e1 "+otherURL, "e3 "+otherURL)
	eventually(t, "e4", func() bool { return slices.Contains(hook.got(sink.Instance), "e4 "+allEvents) })
	got := hook.got(sink.Instance)[1:]
	slices.Sort(got)
	if want := []string{"e1 " + allEvents, "e3 " + allEvents, "e4 " + allEvents}; !slices.Equal(got, want) {
		t.Errorf("after the restart was delivered %q, want %q: b does not want e2 any more", got, want)
	}
}

func TestAddressesAndSwitchesAreReadAtEachAttempt(t *testing.T) {
	p := newPost()
	n := startNode(t, nil, p.factory("hook", sink.Rule{}))
	set(t, n, "a", allEvents)
	let := p.hold()
	n.emit(t, "a", "e1")
	n.emit(t, "a", "e2")
	<-p.begun
	set(t, n, "a", otherURL)
	let()
	wantGot(t, p, sink.Instance, "e1 "+allEvents, "e2 "+otherURL)
	let = p.hold()
	n.emit(t, "a", "e3")
	n.emit(t, "a", "e4")
	if id := <-p.begun; id != "e3" {
		t.Fatalf("%s is under way", id)
	}
	eventually(t, "e4 is taken", func() bool { return waitingFor(n, "a") == 2 })
	set(t, n, "a", off)
	let()
	eventually(t, "e4 is kept", func() bool {
		lanes := n.Queue().Backlog(queue.Selector{Instance: "a"})
		return len(lanes) == 1 && lanes[0].State == "parked" && lanes[0].Waiting == 1
	})
	set(t, n, "a", otherURL)
	wantGot(t, p, sink.Instance, "e1 "+allEvents, "e2 "+otherURL, "e3 "+otherURL, "e4 "+otherURL)
}

// waitingFor returns how many deliveries wait for an instance.
func waitingFor(n node, instance string) (sum int) {
	for _, l := range n.Queue().Backlog(queue.Selector{Instance: instance}) {
		sum += l.Waiting
	}
	return sum
}

// What was taken for an instance that is deleted before it is delivered, or whose name another one has by then.
func TestWhatIsTakenOfAnInstanceThatGoesReachesGlobalTargetsOnly(t *testing.T) {
	for name, again := range map[string]bool{"deleted": false, "a later one has its name": true} {
		t.Run(name, func(t *testing.T) {
			p := newPost()
			n := startNode(t, nil, p.factory("hook", everything))
			set(t, n, "a", allEvents)
			let := p.hold()
			n.emit(t, "a", "e1")
			n.emit(t, "a", "e2")
			<-p.begun
			<-p.begun // to the global target too
			eventually(t, "both are taken", func() bool { return waitingFor(n, "a") == 4 })
			if err := n.registry.Delete(t.Context(), "a"); err != nil {
				t.Fatal(err)
			}
			own, global := []string{"e1 " + allEvents}, []string{"e1 " + allEvents, "e2 "}
			if again {
				set(t, n, "a", otherURL)
				n.emit(t, "a", "e3")
				own, global = append(own, "e3 "+otherURL), append(global, "e3 "+otherURL)
			}
			let()
			eventually(t, "e2 is a dead letter", func() bool {
				letters, err := n.Queue().DeadLetters(t.Context(), queue.DeadLetterFilter{Reason: queue.Gone}, queue.Page{})
				return err == nil && len(letters) == 1 && letters[0].EventID == "e2"
			})
			if again {
				eventually(t, "e3 is taken", func() bool { return len(p.got(sink.Instance)) == 2 })
			}
			eventually(t, "nothing waits", func() bool { return waitingFor(n, "a") == 0 })
			for s, want := range map[sink.Scope][]string{sink.Instance: own, sink.Global: global} {
				got := p.got(s)
				slices.Sort(got) // those of the two instances come in any order
				if !slices.Equal(got, want) {
					t.Errorf("delivered to scope %v was %q, want %q", s, got, want)
				}
			}
		})
	}
}
