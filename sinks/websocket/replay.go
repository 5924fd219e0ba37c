package websocket

import (
	"context"
	"errors"
	"hash/maphash"
	"slices"
	"time"

	"github.com/evosink/evosink/core/event"
	"github.com/evosink/evosink/core/sink"
	"github.com/evosink/evosink/sinks/websocket/socketio"
)

// expired is the event that tells a client that the log does not hold what it wanted to begin after. Its argument is
// that id. The client is live nevertheless.
const expired = "replay.expired"

// catchUp gives a client what it asked for of the past, then lets it go live. What was emitted before the client joined is
// in the log by now, and what is emitted meanwhile is kept aside (see [socketio.Socket.Release]): no gap, no double. It ends with ctx,
// the socket's; until then the client can do anything else.
func (s *Sink) catchUp(ctx context.Context, k *socketio.Socket, m *member) {
	err := s.present(ctx, k, m)
	if err == nil || ctx.Err() != nil || errors.Is(err, socketio.ErrDisconnected) {
		return
	}
	s.log.Warn().Err(err).Str("namespace", k.Namespace().Name()).Msg("replay ended early; the client is cut off and may ask again")
	k.Client().Drop()
}

// present brings a socket to the present. If that takes so long that not all of what is emitted meanwhile could be kept
// aside, the log has it: what is missing becomes less with each round, or the client is slower than what is emitted, and is given all
// of that from the log.
func (s *Sink) present(ctx context.Context, k *socketio.Socket, m *member) error {
	last, told := m.since, ""
	for {
		sent := newLately()
		err := s.replay(ctx, k, m, last, func(e *event.Event) { sent.add(sink.Identity(e)); last = e.ID })
		if errors.Is(err, sink.ErrExpired) {
			if err = nil; told != last {
				told, err = last, k.Emit(ctx, expired, socketio.String(last))
			}
		}
		if err == nil {
			err = k.Release(ctx, func(key string) bool {
				if sent.has(key) {
					return true
				}
				last = sink.EventID(key)
				return false
			})
		}
		if !errors.Is(err, socketio.ErrOverflow) {
			return err
		}
	}
}

const (
	// paceBytes is how much of a replay is sent before the client is waited for: one that is slow gets all of it at its own speed.
	paceBytes = 64 << 10
	// patience is how long a client may take for that much before its turn ends, so that others can have theirs.
	patience = time.Second
)

// errSlow ends the turn of a client that others should not wait for.
var errSlow = errors.New("the client is slower than its turn")

// replay sends the socket every event for it after the one with the id given, calls sent for each, and returns when live events
// are as far as the log was. It reads the log in turns (see [turns]).
func (s *Sink) replay(ctx context.Context, k *socketio.Socket, m *member, after string, sent func(*event.Event)) error {
	if s.history == nil {
		return sink.ErrExpired
	}
	for {
		end, err := s.read(ctx, k, m, after, func(e *event.Event) { sent(e); after = e.ID })
		if errors.Is(err, errSlow) {
			err = k.Await(ctx)
			if err == nil {
				continue
			}
		}
		if err != nil && !errors.Is(err, sink.ErrExpired) {
			return err
		}
		if err := s.reached(ctx, end); err != nil {
			return err
		}
		return err
	}
}

// read is one turn of a replay. It returns errSlow if there is more to read.
func (s *Sink) read(ctx context.Context, k *socketio.Socket, m *member, after string, sent func(*event.Event)) (end int64, err error) {
	done, err := s.turns.take(ctx, k.Namespace().Name())
	if err != nil {
		return 0, err
	}
	defer done()
	instance := instanceOf(k.Namespace().Name())
	wanted := s.wanted(instance)
	ahead := 0
	return s.history.Replay(ctx, after, instance, func(e *event.Event) error {
		if !m.events.Has(e.Name) || !wanted(e) {
			return nil
		}
		sent(e)
		s.counts.replayed.Add(1)
		if err := unlessReserved(k.Emit(ctx, e.Name, s.envelope(e))); err != nil {
			return err
		}
		if ahead += len(e.Data); ahead < paceBytes {
			return nil
		}
		ahead = 0
		brief, cancel := context.WithTimeout(ctx, patience)
		defer cancel()
		err := k.Await(brief)
		if err != nil && brief.Err() != nil && ctx.Err() == nil {
			return errSlow
		}
		return err
	})
}

// wanted returns whether a live event would reach the namespace of the instance, "" for the global one.
func (s *Sink) wanted(instance string) func(*event.Event) bool {
	if instance == "" {
		return func(e *event.Event) bool { return s.global && forUs(e) }
	}
	settings, _ := s.directory.Lookup(instance)
	sub, err := sink.ParseSubscription(settings)
	if err != nil || !sub.Enabled {
		return func(*event.Event) bool { return false }
	}
	filter := event.NewFilter(sub.Events...)
	return func(e *event.Event) bool { return filter.Has(e.Name) && forUs(e) }
}

// forUs reports whether an event that names its sinks names this one.
func forUs(e *event.Event) bool { return len(e.Sinks) == 0 || slices.Contains(e.Sinks, Name) }

// generation is at least how many events can be kept aside for a socket, or be about to: [socketio.Config.MaxHeld] and MaxPending count
// no fewer than 256 bytes for each.
const generation = 8 << 20 / 256

// lately is a set that remembers at least the last events added, [generation] of them, by the hashes of their identities: those that replay and
// live have in common are among the last of a replay.
type lately struct {
	seed       maphash.Seed
	old, young map[uint64]struct{}
}

func newLately() *lately { return &lately{seed: maphash.MakeSeed()} }

func (l *lately) add(identity string) {
	if l.young == nil || len(l.young) == generation {
		l.old, l.young = l.young, make(map[uint64]struct{})
	}
	l.young[maphash.String(l.seed, identity)] = struct{}{}
}

func (l *lately) has(identity string) bool {
	hash := maphash.String(l.seed, identity)
	_, young := l.young[hash]
	_, old := l.old[hash]
	return young || old
}
