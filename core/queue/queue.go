package queue

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/evosink/evosink/core/bus"
	"github.com/evosink/evosink/core/retry"
	"github.com/evosink/evosink/core/sink"
)

// Options are what a [Queue] is made of.
type Options struct {
	Store  Store // stays its owner's to close
	Config Config
	Sinks  []Sink
	Logger zerolog.Logger
	// InstanceID returns the id of the present instance of that name, "" if there is none: pauses of an instance carry
	// it. nil knows of no ids.
	InstanceID func(name string) string
	// Lost is told of a shard that the store says is another node's; the queue has dropped it then. It must return
	// promptly. nil tells nothing.
	Lost func(bus.Lease)
}

// A Queue delivers what it is given, see the package comment. All methods may be called by any number of goroutines
// at once.
type Queue struct {
	*Admin

	store      Store
	shards     int
	config     Config
	log        zerolog.Logger
	instanceID func(name string) string
	lost       func(bus.Lease)
	door       door
	holdings   holdings
	pauses     pauses
	jobs       jobs
	results    *resultBuffer
	ledger     *ledger
	answers    *answers
	notices    *notices
	sinks      map[string]*scheduler // those that run

	// order is held, by instance, from storing deliveries until they are in memory too: lanes are in the store's order
	// there as well.
	order [512]sync.Mutex
	seed  maphash.Seed

	keepers  sync.WaitGroup     // goroutines that outlive the attempts: writing results, sweeping, notices
	attempts context.Context    // of attempts
	abort    context.CancelFunc // ends attempts
	retire   context.CancelFunc // ends the keepers
	dirty    chan struct{}      // there may be something to sweep
	stopping chan struct{}      // closed when no attempt begins any more

	mu sync.RWMutex
	// mu guards the fields below.
	stage  stage
	absent map[string]*scheduler // of sinks that do not run: they keep what waits for them
	cutOff CutOff
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
		store: o.Store, shards: o.Store.Shards(), lost: o.Lost, instanceID: o.InstanceID, config: o.Config, log: o.Logger,
		seed: maphash.MakeSeed(), holdings: holdings{by: map[int]*holding{}},
		results: newResultBuffer(o.Store, o.Logger), notices: newNotices(), answers: &answers{},
		sinks: map[string]*scheduler{}, absent: map[string]*scheduler{},
		dirty: make(chan struct{}, 1), stopping: make(chan struct{}),
	}
	q.ledger = newLedger(q)
	q.door = door{
		queue: q, capacity: capacity{config: &q.config, shares: map[string]*share{}}, droppable: map[string]bool{},
	}
	q.results.wrote, q.results.fencedOf = q.wroteResults, q.fencedOf
	q.pauses.begin(q)
	q.jobs.begin(q)
	q.Admin = &Admin{queue: q, store: o.Store}
	for _, name := range o.Config.DropOldest {
		q.door.droppable[name] = true
	}
	for _, s := range o.Sinks {
		if q.sinks[s.Name] != nil {
			return nil, fmt.Errorf("queue: sink %s is there twice", s.Name)
		}
		q.sinks[s.Name] = newScheduler(q, s)
	}
	return q, nil
}

// Start lets shards be acquired, see [Queue.Acquire]: until then nothing is delivered, and no lane is read. The sinks
// must have been started. ctx bounds the reading of pauses only; the queue runs until [Queue.Close].
func (q *Queue) Start(ctx context.Context) error {
	if err := q.pauses.follow(ctx); err != nil {
		return fmt.Errorf("read the queue's pauses: %w", err)
	}
	q.mu.Lock()
	if q.stage != made {
		q.mu.Unlock()
		return ErrClosed
	}
	q.stage = runs
	ctx = context.WithoutCancel(ctx)
	q.attempts, q.abort = context.WithCancel(ctx)
	keeping, retire := context.WithCancel(ctx)
	q.retire = retire
	q.mu.Unlock()
	q.keepers.Go(func() { q.results.run(keeping) })
	q.keepers.Go(func() { q.ledger.run(keeping) })
	q.keepers.Go(func() { q.sweep(keeping) })
	q.keepers.Go(func() { q.notices.run(keeping, q.log) })
	if q.jobs.store != nil {
		q.keepers.Go(func() { q.pauses.run(keeping) })
		q.keepers.Go(func() { q.jobs.run(keeping) })
	}
	for _, s := range q.sinks {
		s.start(q.attempts)
	}
	return nil
}

// scheduler returns the scheduler of a sink, also of one that does not run.
func (q *Queue) scheduler(name string) *scheduler {
	if s := q.sinks[name]; s != nil {
		return s
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	s := q.absent[name]
	if s == nil {
		s = newScheduler(q, Sink{Name: name})
		q.absent[name] = s
	}
	return s
}

// schedulers returns all there are.
func (q *Queue) schedulers() (out []*scheduler) {
	for _, s := range q.sinks {
		out = append(out, s)
	}
	q.mu.RLock()
	defer q.mu.RUnlock()
	for _, s := range q.absent {
		out = append(out, s)
	}
	return out
}

// eachLane calls f for every lane of a selector, with the lock of its scheduler held; f must not make or forget lanes
// of others.
func (q *Queue) eachLane(f Selector, visit func(s *scheduler, l *lane)) {
	for _, s := range q.schedulers() {
		if f.Sink != "" && f.Sink != s.Name {
			continue
		}
		s.mu.Lock()
		for key, l := range s.lanes.byKey {
			if f.Has(key) {
				visit(s, l)
			}
		}
		s.unlock()
	}
}

// running returns an error unless the queue delivers.
func (q *Queue) running() error {
	q.mu.RLock()
	defer q.mu.RUnlock()
	if q.stage != runs {
		return ErrClosed
	}
	return nil
}

// waitRunning reports whether d has passed before the queue stopped.
func (q *Queue) waitRunning(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return q.running() == nil
	case <-q.stopping:
	case <-ctx.Done():
	}
	return false
}

// inOrder holds the place of an instance until the returned function is called, see Queue.order.
func (q *Queue) inOrder(instance string) (leave func()) {
	mu := &q.order[maphash.String(q.seed, instance)%uint64(len(q.order))]
	mu.Lock()
	return mu.Unlock
}

// wroteResults is called when the store has written results down.
func (q *Queue) wroteResults(blocked bool) {
	if blocked { // attempts did not begin because of that
		for _, s := range q.sinks {
			s.mu.Lock()
			s.unlock()
		}
	}
	signal(q.dirty)
}

// signal puts a token into a channel that holds one.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Refresh tells the queue that the settings of an instance have changed, or that it was deleted. What waits for
// targets of its own is tried at once, with the new settings, whatever it was waiting for; what Sink.Admit discards
// becomes dead letters.
func (q *Queue) Refresh(instance string) {
	if q.running() != nil {
		return
	}
	q.eachLane(Selector{Instance: instance}, func(s *scheduler, l *lane) {
		if l.scope == sink.Instance && l.endpoint != nil {
			s.readdress(l)
			s.somethingChanged(l)
			s.endpoints.halfOpen(l.endpoint)
			s.endpoints.probeHost(l.endpoint.host)
		}
	})
}

// Forget tells the queue that the instance of that name and id was deleted: [Queue.Refresh], and its pauses end.
func (q *Queue) Forget(instance, id string) {
	q.Refresh(instance)
	q.mu.RLock()
	defer q.mu.RUnlock()
	if q.stage != runs {
		return
	}
	q.keepers.Go(func() {
		for {
			ended, err := q.pauses.endOf(q.attempts, instance, id)
			if err == nil {
				for _, s := range ended {
					q.resume(s)
				}
				return
			}
			if q.attempts.Err() == nil {
				q.log.Error().Err(err).Str("instance", instance).
					Msg("the pauses of a deleted instance could not be removed; trying again")
			}
			if !retry.Sleep(q.attempts.Done(), time.Second) {
				return
			}
		}
	})
}

// Available says that what a sink delivers to can be reached again: what waits because it was unavailable is tried at
// once, each host by one delivery first. If that fails, the host waits for as long as it would have.
func (q *Queue) Available(name string) {
	s := q.sinks[name]
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.unlock()
	s.availableAt = time.Now()
	for _, e := range s.endpoints.byKey {
		if e.host.breaker.state == open {
			s.endpoints.probeHost(e.host)
		}
	}
}

// Drained waits until nothing waits in the lanes that an instance has now for targets of its own, or ctx ends.
func (q *Queue) Drained(ctx context.Context, instance string) error {
	var lanes []*lane
	q.eachLane(Selector{Instance: instance}, func(_ *scheduler, l *lane) {
		if l.scope == sink.Instance && l.waiting > 0 {
			lanes = append(lanes, l)
		}
	})
	for {
		changed := q.door.capacity.changed()
		waits := false
		for _, l := range lanes {
			s := q.scheduler(l.Sink)
			s.mu.Lock()
			waits = waits || l.waiting > 0
			s.mu.Unlock()
		}
		if !waits || q.running() != nil {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
