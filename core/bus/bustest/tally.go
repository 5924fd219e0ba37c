package bustest

import (
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
)

// A tally is what one set of subscriptions has been given, by instance. It acks everything.
type tally struct {
	mu sync.Mutex
	// mu guards the fields below.
	next     map[string]int // number of the first event not seen yet
	seen     int            // events, each counted once
	again    int            // events given a second time
	problems []string
	changed  chan struct{} // closed and replaced at every message
}

// count counts what comes from subscriptions, which may be several of one group. What one instance's events must not
// do in any of them is leave a gap or come out of order; giving one again is counted.
func (t *trial) count(subscriptions ...<-chan *message.Message) *tally {
	return t.work(func(int) {}, subscriptions...)
}

// work counts as count does, with a handler that works before it acks.
func (t *trial) work(handler func(subscription int), subscriptions ...<-chan *message.Message) *tally {
	y := &tally{next: map[string]int{}, changed: make(chan struct{})}
	var running sync.WaitGroup
	for i, c := range subscriptions {
		running.Go(func() {
			for m := range c {
				handler(i)
				y.add(m.UUID)
				m.Ack()
			}
		})
	}
	t.Cleanup(running.Wait) // after the rule: the trial's context or the bus has ended the subscriptions
	return y
}

func (y *tally) add(id string) {
	instance, number, _ := strings.Cut(id, "#")
	n, err := strconv.Atoi(number)
	y.mu.Lock()
	defer y.mu.Unlock()
	switch next := y.next[instance]; {
	case err != nil:
		y.problems = append(y.problems, fmt.Sprintf("unknown event %q", id))
	case n == next:
		y.next[instance]++
		y.seen++
	case n < next:
		y.again++
	default:
		y.problems = append(y.problems, fmt.Sprintf("%s came when %s#%d was next", id, instance, next))
	}
	close(y.changed)
	y.changed = make(chan struct{})
}

// expect waits until a tally has seen n events, each once and in order.
func (t *trial) expect(y *tally, n int) {
	t.Helper()
	t.complete(y, n)
	time.Sleep(t.engine.Quiet) // for what must not come
	y.mu.Lock()
	seen, again := y.seen, y.again
	y.mu.Unlock()
	if seen != n || again != 0 {
		t.failf("%d events were published; %d were seen and %d of them came twice", n, seen, again)
	}
}

// complete waits until a tally has seen n events in order, some perhaps twice.
func (t *trial) complete(y *tally, n int) {
	t.Helper()
	t.until(y, fmt.Sprintf("%d events", n), func() bool { return y.seen >= n })
}

// until waits until a condition on a tally's fields holds.
func (t *trial) until(y *tally, what string, holds func() bool) {
	t.Helper()
	deadline := time.After(t.engine.Patience)
	for {
		y.mu.Lock()
		seen, problems, changed, done := y.seen, y.problems, y.changed, holds()
		y.mu.Unlock()
		if len(problems) > 0 {
			t.failf("%s", strings.Join(problems[:min(len(problems), 5)], "; "))
		}
		if done {
			return
		}
		select {
		case <-changed:
		case <-deadline:
			t.failf("%s were to be seen in %v, %d were", what, t.engine.Patience, seen)
		}
	}
}
