package queue

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"strings"
	"sync"
	"time"

	"github.com/rs/zerolog"
)

// Options are what a [Queue] is made of.
type Options struct {
	Store   Store // stays its owner's to close
	Config  Config
	Outlets []Outlet
	Logger  zerolog.Logger
}

// A Queue delivers what it is given, see the package comment. All methods may be called by any number of goroutines at once.
type Queue struct {
	store     Store
	config    Config
	log       zerolog.Logger
	droppable map[string]bool

	// order holds, by instance, who stores deliveries until they are in memory too: lanes are in the store's order there as well.
	order [512]sync.Mutex
	seed  maphash.Seed

	workers  sync.WaitGroup     // one for each sink, until its workers have ended
	keepers  sync.WaitGroup     // those who outlive them: alarms, settling, sweeping
	abort    context.CancelFunc // ends what the workers do
	retire   context.CancelFunc // ends what the keepers do
	earlier  chan struct{}      // an alarm is due before all others
	dirty    chan struct{}      // there may be something to sweep
	stopping chan struct{}      // closed when no attempt begins any more
	settling chan struct{}      // closed when nothing more is written down
	notices  *notices

	mu sync.Mutex
	// mu guards the fields below.
	stage   stage
	lanes   map[Lane]*lane
	outlets map[string]*outlet
	pauses  map[Selector]Pause
	alarms  alarms
	waiting int           // deliveries in all lanes
	cached  int           // bytes of all windows
	room    chan struct{} // closed when a delivery has gone; nil while nobody waits for that
	ledger  ledger
	cutOff  CutOff
}

// stage is where a queue is in its life.
type stage uint8

const (
	made stage = iota
	runs
	stops // no attempt begins any more
	ended
)

// New makes a queue. It starts nothing, see [Queue.Start].
func New(o Options) (*Queue, error) {
	if o.Store == nil {
		return nil, errors.New("queue: Options.Store is required")
	}
	if err := o.Config.Validate(); err != nil {
		return nil, err
	}
	q := &Queue{
		store: o.Store, config: o.Config, log: o.Logger, droppable: map[string]bool{}, seed: maphash.MakeSeed(),
		earlier: make(chan struct{}, 1), dirty: make(chan struct{}, 1), stopping: make(chan struct{}), settling: make(chan struct{}),
		notices: newNotices(), lanes: map[Lane]*lane{}, outlets: map[string]*outlet{}, pauses: map[Selector]Pause{},
	}
	q.ledger.changed = sync.NewCond(&q.mu)
	for _, name := range o.Config.DropOldest {
		q.droppable[name] = true
	}
	for _, outlet := range o.Outlets {
		if q.outlets[outlet.Name] != nil {
			return nil, fmt.Errorf("queue: sink %s is there twice", outlet.Name)
		}
		q.outlets[outlet.Name] = newOutlet(outlet, &q.mu, o.Logger)
	}
	return q, nil
}

// Start reads which lanes wait and begins to deliver. The sinks must have been started. ctx bounds
// the reading only; delivering goes on until [Queue.Close].
func (q *Queue) Start(ctx context.Context) error {
	backlog, err := q.store.Lanes(ctx)
	if err != nil {
		return fmt.Errorf("read the queue: %w", err)
	}
	pauses, err := q.store.Pauses(ctx)
	if err != nil {
		return fmt.Errorf("read the queue's pauses: %w", err)
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.stage != made {
		return ErrClosed
	}
	q.stage = runs
	for _, p := range pauses {
		q.pauses[p.Selector] = p
	}
	now := time.Now()
	for _, b := range backlog {
		q.load(b, now)
	}
	q.launch(context.WithoutCancel(ctx))
	return nil
}

// load takes over a lane from the store.
func (q *Queue) load(b Backlog, now time.Time) {
	l := q.lane(b.Lane, b.Scope)
	l.waiting, l.tail, l.head, l.oldest = b.Waiting, b.Newest, b.Head, b.Oldest
	if !b.Head.First.IsZero() {
		l.tried, l.burst = b.First, 1
	}
	q.waiting += b.Waiting
	if d := b.Head.Next.Sub(now); d > 0 && l.outlet != nil {
		// The wall clock may have been set back since Next was written: no policy waits longer than this.
		q.sleep(l, min(d, longestWait))
		return
	}
	q.wake(l)
}

// launch starts the goroutines; Close waits for all of them.
func (q *Queue) launch(ctx context.Context) {
	attempts, abort := context.WithCancel(ctx)
	keeping, retire := context.WithCancel(ctx)
	q.abort, q.retire = abort, retire
	for _, o := range q.outlets {
		for range q.config.Workers {
			o.workers.Go(func() { q.work(attempts, o) })
		}
		q.workers.Go(func() {
			o.workers.Wait()
			if o.Idle != nil {
				o.Idle()
			}
		})
	}
	q.keepers.Go(func() { q.watch(keeping) })
	q.keepers.Go(func() {
		defer close(q.settling)
		q.settle(keeping)
	})
	q.keepers.Go(func() { q.sweep(keeping) })
	q.keepers.Go(func() { q.notices.run(keeping, q.log) })
}

// How long Close goes on after its context has ended: for attempts to notice that they were cancelled, and for
// their outcomes to be written down.
const (
	graceAttempts = time.Second
	graceOutcomes = 500 * time.Millisecond
)

// A CutOff tells which attempts [Queue.Close] had to cancel. Their deliveries are tried again at the next start, so
// nothing is lost.
type CutOff struct {
	Attempts int    // how many were under way when the time was over
	Lanes    []Lane // what they were for, at most 5
}

// String names them for a log line.
func (c CutOff) String() string {
	names := make([]string, len(c.Lanes))
	for i, l := range c.Lanes {
		names[i] = fmt.Sprintf("sink %s, target %s, instance %s", l.Sink, l.Target, l.Instance)
	}
	if more := c.Attempts - len(c.Lanes); more > 0 {
		names = append(names, fmt.Sprintf("and %d more", more))
	}
	return fmt.Sprintf("deliveries that were cut off and will be tried again: %d (%s)", c.Attempts, strings.Join(names, "; "))
}

// CutOff returns what Close had to cancel, once it has returned.
func (q *Queue) CutOff() CutOff {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.cutOff
}

// noteCutOff writes down what is being attempted now.
func (q *Queue) noteCutOff() {
	q.mu.Lock()
	defer q.mu.Unlock()
	for key, l := range q.lanes {
		if l.state != running {
			continue
		}
		if q.cutOff.Attempts++; len(q.cutOff.Lanes) < 5 {
			q.cutOff.Lanes = append(q.cutOff.Lanes, key)
		}
	}
}

// Close begins no attempt any more, waits for those under way until ctx ends, cancels them then ([Queue.CutOff] tells
// which), and writes down their outcomes. What waits goes on when the queue is started again. Close returns when
// nothing is left running, a moment after ctx has ended at the latest; an error tells what had to be left: a sink that
// does not return, or a store that does not write.
func (q *Queue) Close(ctx context.Context) error {
	q.mu.Lock()
	if q.stage != runs {
		q.stage = ended
		q.mu.Unlock()
		return nil
	}
	q.stage = stops
	close(q.stopping)
	q.wakeWorkers()
	q.freed() // whoever waits for room waits no more
	q.mu.Unlock()

	err := q.drain(ctx)
	q.mu.Lock()
	q.stage = ended
	q.ledger.changed.Broadcast()
	q.mu.Unlock()
	err = errors.Join(err, q.flush(ctx))
	q.retire()
	q.keepers.Wait()
	return err
}

func (q *Queue) wakeWorkers() {
	for _, o := range q.outlets {
		o.wait.Broadcast()
	}
}

// drain waits for the workers.
func (q *Queue) drain(ctx context.Context) error {
	defer q.abort()
	done := make(chan struct{})
	go func() { // ends with the workers
		defer close(done)
		q.workers.Wait()
	}()
	if closedBefore(ctx.Done(), done) {
		return nil
	}
	q.noteCutOff()
	q.abort()
	late, cancel := context.WithTimeout(context.WithoutCancel(ctx), graceAttempts)
	defer cancel()
	if closedBefore(late.Done(), done) {
		return nil
	}
	return errors.New("a sink goes on delivering although its attempt was cancelled")
}

// flush waits until all outcomes are written down.
func (q *Queue) flush(ctx context.Context) error {
	if closedBefore(ctx.Done(), q.settling) {
		return nil
	}
	late, cancel := context.WithTimeout(context.WithoutCancel(ctx), graceOutcomes)
	defer cancel()
	if closedBefore(late.Done(), q.settling) {
		return nil
	}
	q.retire()
	<-q.settling
	return errors.New("the store does not write: what was delivered last will be delivered again")
}

// closedBefore waits for done and reports whether it was closed while end was not.
func closedBefore(end, done <-chan struct{}) bool {
	select {
	case <-done:
		return true
	case <-end:
		return false
	}
}

// running returns ErrClosed unless the queue runs.
func (q *Queue) running() error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.stage != runs {
		return ErrClosed
	}
	return nil
}

// inOrder holds the place of an instance until the returned function is called, see Queue.order.
func (q *Queue) inOrder(instance string) (leave func()) {
	mu := &q.order[maphash.String(q.seed, instance)%uint64(len(q.order))]
	mu.Lock()
	return mu.Unlock
}
