package websocket

import (
	"context"
	"errors"
	"slices"

	"github.com/evosink/evosink/core/event"
	"github.com/evosink/evosink/core/sink"
	"github.com/evosink/evosink/sinks/websocket/socketio"
)

// expired is the event that tells a client that the log does not hold what it wanted to begin after. Its argument is
// that id. The client is live nevertheless.
const expired = "replay.expired"

// catchUp gives a client what it asked for of the past, then lets it go live. What was emitted before the client joined is
// in the log by now, and what is emitted meanwhile is kept aside (see [socketio.Socket.Release]): no gap, no double.
func (s *Sink) catchUp(ctx context.Context, k *socketio.Socket, m *member) {
	if m.since == "" || k.Recovered() {
		return
	}
	sent, err := s.replay(ctx, k, m)
	if errors.Is(err, sink.ErrExpired) {
		err = k.Emit(ctx, expired, socketio.String(m.since))
	}
	if err == nil {
		err = k.Release(ctx, sent.seen)
	}
	if err != nil && ctx.Err() == nil {
		s.log.Warn().Err(err).Str("namespace", k.Namespace().Name()).Msg("replay ended early; the client is cut off and may ask again")
		k.Client().Drop()
	}
}

// paceBytes is how much of a replay is sent before the client is waited for: one that is slow gets all of it at its own speed.
const paceBytes = 64 << 10

// replay sends the socket every event for it after the one it saw last, and returns the ids of the last ones sent.
func (s *Sink) replay(ctx context.Context, k *socketio.Socket, m *member) (*lately, error) {
	sent := new(lately)
	if s.history == nil {
		return sent, sink.ErrExpired
	}
	instance := instanceOf(k.Namespace().Name())
	wanted := s.wanted(instance)
	ahead := 0
	end, err := s.history.Replay(ctx, m.since, instance, func(e *event.Event) error {
		if !m.events.Has(e.Name) || !wanted(e) {
			return nil
		}
		sent.add(e.ID)
		if err := unlessReserved(k.Emit(ctx, e.Name, s.envelope(e))); err != nil {
			return err
		}
		if ahead += len(e.Data); ahead < paceBytes {
			return nil
		}
		ahead = 0
		return k.Await(ctx)
	})
	if err != nil {
		return sent, err
	}
	return sent, s.reached(ctx, end)
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

// generation is more than the events that are ever kept aside for a socket (socketio.Config.MaxHeld).
const generation = 1 << 16

// lately is a set that remembers at least the last ids added, [generation] of them: those that replay and live have in common are
// among the last of a replay.
type lately struct{ old, young map[string]struct{} }

func (l *lately) add(id string) {
	if l.young == nil || len(l.young) == generation {
		l.old, l.young = l.young, make(map[string]struct{})
	}
	l.young[id] = struct{}{}
}

// seen is asked by [socketio.Socket.Release]. Events are emitted in the order of the log, so the first one that the replay has not sent is
// the first of those that it did not read.
func (l *lately) seen(id string) (skip, more bool) {
	_, young := l.young[id]
	_, old := l.old[id]
	return young || old, young || old
}
