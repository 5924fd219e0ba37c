// Package link keeps the connection of a sink to its broker. Client libraries that reconnect by themselves give up,
// hide what was lost, or confirm over the new connection what went down with the old one; so a sink lets them have one
// connection each, a [Session], and a [Link] makes the next one: for ever, with growing pauses, in one goroutine that
// it owns.
package link

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/evosink/evosink/core/retry"
	"github.com/evosink/evosink/core/sink"
)

// steady is how long a session must have lasted for the next attempt to connect to come at once.
const steady = 10 * time.Second

// firstPause is the longest pause after the first failure.
const firstPause = 500 * time.Millisecond

var errClosed = errors.New("the sink is closed")

// A Session is one connection. Close ends it and returns when nothing of it is left running.
type Session interface{ Close() }

// Options describe a link. All but Available are required.
type Options[S Session] struct {
	Broker string // the peer, for logs and errors; without credentials
	// Dial makes a session. It gives up when ctx ends and after a time of its own.
	Dial func(ctx context.Context) (S, error)
	// Attend does what a session needs besides being used. It returns when the session has ended, with the reason, or ctx
	// has.
	Attend func(ctx context.Context, s S) error
	Limit  int           // most uses at once
	Pause  time.Duration // longest pause between attempts to connect
	Logger zerolog.Logger
	// Available is called when there is a session, see [sink.Host]. May be nil.
	Available func()
}

// A Link has a session, or is about to make one. Its methods may be called by any number of goroutines at once, except
// Start and Close: Start comes first, Close last.
type Link[S Session] struct {
	o     Options[S]
	slots chan struct{} // one for each use
	stop  func()        // ends the owner goroutine and waits for it; nil before Start
	lost  time.Time     // when the log was told that there is no session, else zero; for the owner goroutine

	mu sync.Mutex
	// mu guards the fields below.
	session *S            // nil: there is none
	since   time.Time     // when it began
	err     error         // why there is none; nil while a first attempt is under way
	lastErr error         // the last failure; it stays when all is well again
	changed chan struct{} // closed, and replaced, by every change
}

// New makes a link that has no session yet.
func New[S Session](o Options[S]) *Link[S] {
	return &Link[S]{o: o, slots: make(chan struct{}, o.Limit), changed: make(chan struct{})}
}

// Start begins to connect and returns at once.
func (l *Link[S]) Start(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		l.run(ctx)
	}()
	l.stop = func() {
		cancel()
		<-done
	}
}

// run owns the sessions: it makes one, attends to it, and makes the next.
func (l *Link[S]) run(ctx context.Context) {
	pauses := retry.Backoff{First: firstPause, Longest: l.o.Pause, Jitter: 0.5} // many nodes do not come back at once
	for failures := 0; ctx.Err() == nil; {
		s, err := l.o.Dial(ctx)
		if err == nil {
			began := time.Now()
			l.up(s)
			err = l.o.Attend(ctx, s)
			l.down(ctx, err)
			s.Close()
			if time.Since(began) >= steady {
				failures = 0
				l.set(nil, nil) // a first attempt again: uses that begin now wait for it
				continue
			}
		}
		l.down(ctx, err)
		failures++
		retry.Sleep(ctx.Done(), pauses.Pause(failures))
	}
	l.set(nil, errClosed)
}

// Borrow returns the session for one use, and a function to call at its end. It waits while there are as many as
// allowed, and while a first attempt to connect is under way; never while the broker is known to be away: then it
// returns an error marked [sink.Unavailable] at once.
func (l *Link[S]) Borrow(ctx context.Context) (s S, end func(), err error) {
	select {
	case l.slots <- struct{}{}:
	case <-ctx.Done():
		return s, nil, fmt.Errorf("wait for %s: %w", l.o.Broker, ctx.Err())
	}
	end = func() { <-l.slots }
	if s, err = l.current(ctx); err != nil {
		end()
		return s, nil, err
	}
	return s, end, nil
}

func (l *Link[S]) current(ctx context.Context) (none S, _ error) {
	for {
		s, changed, err := l.state()
		switch {
		case s != nil:
			return *s, nil
		case err != nil:
			return none, sink.Unavailable(fmt.Errorf("not connected to %s: %w", l.o.Broker, err))
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return none, sink.Unavailable(fmt.Errorf("connect to %s: %w", l.o.Broker, ctx.Err()))
		}
	}
}

// Session returns the session, or an error that says why there is none. It waits for nothing and needs no end.
func (l *Link[S]) Session() (none S, _ error) {
	s, _, err := l.state()
	switch {
	case s != nil:
		return *s, nil
	case err != nil:
		return none, fmt.Errorf("not connected to %s: %w", l.o.Broker, err)
	}
	return none, fmt.Errorf("connecting to %s", l.o.Broker)
}

// History tells since when there is a session, zero if there is none, and the last failure, nil if there was none.
func (l *Link[S]) History() (since time.Time, last error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.session == nil {
		return time.Time{}, l.lastErr
	}
	return l.since, l.lastErr
}

// Close waits for the end of all uses until ctx ends, then disconnects. It may be called without Start, and again.
func (l *Link[S]) Close(ctx context.Context) error {
	if l.stop == nil {
		return nil
	}
	taken := l.takeSlots(ctx)
	l.stop()
	for range taken { // uses that begin too late fail because the sink is closed
		<-l.slots
	}
	return nil
}

// takeSlots takes every slot, which is to wait for all uses, and returns how many it has got when ctx ends.
func (l *Link[S]) takeSlots(ctx context.Context) (taken int) {
	for range cap(l.slots) {
		select {
		case l.slots <- struct{}{}:
			taken++
		case <-ctx.Done():
			return taken
		}
	}
	return taken
}

func (l *Link[S]) state() (*S, chan struct{}, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.session, l.changed, l.err
}

func (l *Link[S]) up(s S) {
	line := l.o.Logger.Info().Str("broker", l.o.Broker)
	if !l.lost.IsZero() {
		line.Stringer("away", time.Since(l.lost).Round(time.Millisecond))
	}
	line.Msg("connected")
	l.lost = time.Time{}
	l.set(&s, nil)
	if l.o.Available != nil {
		l.o.Available()
	}
}

// down says it in the log, once, unless it is the link's own end.
func (l *Link[S]) down(ctx context.Context, err error) {
	if l.lost.IsZero() && ctx.Err() == nil {
		l.lost = time.Now()
		l.o.Logger.Warn().Err(err).Str("broker", l.o.Broker).Msg("not connected; events wait, connecting goes on")
	}
	l.set(nil, err)
}

func (l *Link[S]) set(s *S, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if s != nil {
		l.since = time.Now()
	}
	l.session, l.err = s, err
	if err != nil && !errors.Is(err, errClosed) {
		l.lastErr = err
	}
	close(l.changed)
	l.changed = make(chan struct{})
}
