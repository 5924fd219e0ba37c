package exec

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/evosink/evosink/core/sink"
	"github.com/evosink/evosink/plugins/exec/wire"
)

// errGone is the outcome of a delivery whose process has ended without an answer.
var errGone = errors.New("the plugin has ended while it worked on the event")

var errLate = errors.New("the plugin has not answered in time")

var errEnded = errors.New("the plugin has ended")

// A window holds the deliveries that a plugin works on. Each has one of a fixed number of places, from before it is sent until it is
// answered or the process ends: a delivery whose call has returned keeps its place, because the plugin still works on it.
type window struct {
	places chan struct{}
	single chan struct{} // held by the call that wants all places

	guard sync.Mutex
	// guard guards the fields below.
	last     uint64
	inFlight map[uint64]*pending
}

// A pending is a delivery in flight.
type pending struct {
	answer chan wire.Reply // has room for the one answer
	sent   time.Time
	left   bool // its call has returned
}

func (w *window) open(size int) {
	w.guard.Lock()
	defer w.guard.Unlock()
	w.places, w.single = make(chan struct{}, size), make(chan struct{}, 1)
	w.inFlight = make(map[uint64]*pending, size)
}

// deliver sends a delivery and waits for the answer. alone means that the plugin works on nothing else meanwhile.
func (s *session) deliver(ctx context.Context, d *sink.Delivery, alone bool) (wire.Reply, error) {
	release, err := s.enter(ctx, alone)
	if err != nil {
		return wire.Reply{}, err
	}
	defer release()
	n, p := s.add()
	line := wire.Event(n, d)
	if len(line) > s.plugin.MaxEvent {
		s.take(n)
		return wire.Reply{}, sink.Permanent(fmt.Errorf("the event is a line of %d bytes, and max_event_bytes is %d", len(line), s.plugin.MaxEvent))
	}
	if err := wire.CheckBounds(line); err != nil {
		s.take(n)
		return wire.Reply{}, sink.Permanent(err)
	}
	patience := time.NewTimer(s.plugin.Timeout)
	defer patience.Stop()
	select {
	case s.events <- line: // there is room for all places
	case <-s.over:
	case <-ctx.Done():
	}
	late := errLate
	select {
	case r := <-p.answer:
		return r, nil
	case <-s.over:
	case <-patience.C:
		s.leave(p)
	case <-ctx.Done():
		s.leave(p)
		late = fmt.Errorf("the plugin has not answered: %w", ctx.Err())
	}
	select { // what was answered at the last moment counts
	case r := <-p.answer:
		return r, nil
	default:
	}
	if isClosed(s.over) {
		return wire.Reply{}, errGone
	}
	return wire.Reply{}, late
}

// enter waits for a place, or for all of them. release gives back those that no delivery keeps.
func (s *session) enter(ctx context.Context, alone bool) (release func(), err error) {
	if !alone && s.tryPlace() {
		return func() {}, nil
	}
	ctx, cancel := context.WithTimeout(ctx, s.plugin.Timeout)
	defer cancel()
	if !alone {
		return func() {}, s.place(ctx, s.places)
	}
	if err := s.place(ctx, s.single); err != nil {
		return nil, err
	}
	extra := 0
	release = func() {
		for range extra {
			<-s.places
		}
		<-s.single
	}
	for range cap(s.places) - 1 {
		if err := s.place(ctx, s.places); err != nil {
			release()
			return nil, err
		}
		extra++
	}
	if err := s.place(ctx, s.places); err != nil {
		release()
		return nil, err
	}
	return release, nil
}

func (s *session) tryPlace() bool {
	if isClosed(s.proc.Done()) { // the process has ended
		return false
	}
	select {
	case s.places <- struct{}{}:
		return true
	default:
		return false
	}
}

func (s *session) place(ctx context.Context, places chan<- struct{}) error {
	if isClosed(s.proc.Done()) {
		return sink.Unavailable(errEnded)
	}
	select {
	case places <- struct{}{}:
		return nil
	case <-s.proc.Done():
		return sink.Unavailable(errEnded)
	case <-ctx.Done():
		return sink.Unavailable(errors.New("the plugin is busy with as many events as it takes at once"))
	}
}

// add puts a delivery in flight; it has a place already.
func (w *window) add() (uint64, *pending) {
	w.guard.Lock()
	defer w.guard.Unlock()
	w.last++
	p := &pending{answer: make(chan wire.Reply, 1), sent: time.Now()}
	w.inFlight[w.last] = p
	return w.last, p
}

// take removes a delivery, which frees its place. It returns nil if the number is none in flight.
func (w *window) take(n uint64) *pending {
	w.guard.Lock()
	defer w.guard.Unlock()
	p := w.inFlight[n]
	if p != nil {
		delete(w.inFlight, n)
		<-w.places
	}
	return p
}

func (w *window) leave(p *pending) {
	w.guard.Lock()
	defer w.guard.Unlock()
	p.left = true
}

// answer hands an answer to the call that waits for it.
func (w *window) answer(r wire.Reply) error {
	p := w.take(r.Delivery)
	if p == nil {
		return fmt.Errorf("%s is not in flight: it was answered before, or never sent", wire.ID(r.Delivery))
	}
	p.answer <- r
	return nil
}

// stuck reports whether every place is held by a delivery that was sent before then and whose call has returned.
func (w *window) stuck(then time.Time) bool {
	w.guard.Lock()
	defer w.guard.Unlock()
	for _, p := range w.inFlight {
		if !p.left || p.sent.After(then) {
			return false
		}
	}
	return len(w.inFlight) == cap(w.places)
}
