package websocket

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"slices"
	"time"

	"github.com/evosink/evosink/core/event"
	"github.com/evosink/evosink/core/sink"
	"github.com/evosink/evosink/sinks/websocket/socketio"
)

// replayExpired is the event that tells a client that the log does not hold what it wanted to begin after. Its argument is
// that id. The client is live nevertheless.
const replayExpired = "replay.expired"

// catchUp gives a client what it asked for of the past, then lets it go live. What was emitted before the client joined
// is in the log by now, and what is emitted meanwhile, or was and has not come to this sink yet, is kept aside (see
// [socketio.Socket.Release]): no gap, no double. It ends with ctx, the socket's; until then the client can do anything
// else.
func (s *Sink) catchUp(ctx context.Context, k *socketio.Socket, m *socketState) {
	err := s.bringToPresent(ctx, k, m)
	if err == nil || ctx.Err() != nil || errors.Is(err, socketio.ErrDisconnected) {
		return
	}
	s.log.Warn().Err(err).Str("namespace", k.Namespace().Name()).Msg("replay ended early; the client is cut off and may ask again")
	k.Client().Drop()
}

// bringToPresent brings a socket to the present. If that takes so long that not all of what is emitted meanwhile could be kept
// aside, the log has it: what is missing becomes less with each round, or the client is slower than what is emitted,
// and is given all of that from the log.
func (s *Sink) bringToPresent(ctx context.Context, k *socketio.Socket, m *socketState) error {
	position, err := s.find(ctx, k, m.since)
	if err != nil {
		return err
	}
	told := int64(-1) // the position behind which the client knows that events are missing
	for {
		complete := position > 0
		if complete {
			position, err = s.replay(ctx, k, m, position)
			if complete = !errors.Is(err, sink.ErrExpired); complete && err != nil {
				return err
			}
		}
		if !complete && told != position {
			told = position
			if err := k.Emit(ctx, replayExpired, socketio.String(m.since)); err != nil {
				return err
			}
		}
		if position, err = k.Release(ctx, position); !errors.Is(err, socketio.ErrOverflow) {
			return err
		}
	}
}

// find returns where the log has the event that the socket wants what came after of, 0 if nowhere.
func (s *Sink) find(ctx context.Context, k *socketio.Socket, id string) (int64, error) {
	if s.history == nil {
		return 0, nil
	}
	done, err := s.turns.take(ctx, k.Namespace().Name())
	if err != nil {
		return 0, err
	}
	defer done()
	position, err := s.history.Find(ctx, id, instanceOf(k.Namespace().Name()))
	if errors.Is(err, sink.ErrExpired) {
		return 0, nil
	}
	return position, err
}

const (
	// paceBytes is how much of a replay is sent before the client is waited for: one that is slow gets all of it at its
	// own speed.
	paceBytes = 64 << 10
	// patience is how long a client may take for that much before its turn ends, so that others can have theirs.
	patience = time.Second
)

// errSlow ends the turn of a client that others should not wait for.
var errSlow = errors.New("the client is slower than its turn")

// replay sends the socket every event for it behind a position, and returns how far that was, once live events are as
// far. It reads the log in turns (see [turns]).
func (s *Sink) replay(ctx context.Context, k *socketio.Socket, m *socketState, after int64) (end int64, err error) {
	for end = after; ; {
		end, err = s.replayTurn(ctx, k, m, end)
		if errors.Is(err, errSlow) {
			if err = k.Await(ctx); err == nil {
				continue
			}
		}
		if err != nil && !errors.Is(err, sink.ErrExpired) {
			return end, err
		}
		if err := s.reached(ctx, end); err != nil {
			return end, err
		}
		return end, err
	}
}

// replayTurn is one turn of a replay. It returns errSlow if there is more to read.
func (s *Sink) replayTurn(ctx context.Context, k *socketio.Socket, m *socketState, after int64) (end int64, err error) {
	done, err := s.turns.take(ctx, k.Namespace().Name())
	if err != nil {
		return after, err
	}
	defer done()
	instance := instanceOf(k.Namespace().Name())
	wanted := s.wanted(instance)
	at, ahead := after, 0
	end, err = s.history.Replay(ctx, after, instance, func(position int64, e *event.Event) error {
		if at = position; !m.events.Has(e.Name) || !wanted(e) {
			return nil
		}
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
	return max(end, at), err
}

// wanted returns whether a live event would reach the namespace of the instance, "" for the global one, by the settings
// that the instance has when it is asked.
func (s *Sink) wanted(instance string) func(*event.Event) bool {
	if instance == "" {
		return func(e *event.Event) bool { return s.global && forUs(e) }
	}
	var (
		last    json.RawMessage // the settings that filter is of
		enabled bool
		filter  event.Filter
	)
	return func(e *event.Event) bool {
		if settings, _ := s.directory.Lookup(instance); !bytes.Equal(settings, last) {
			sub, err := sink.ParseSubscription(settings)
			last, enabled, filter = settings, err == nil && sub.Enabled, event.NewFilter(sub.Events...)
		}
		return enabled && filter.Has(e.Name) && forUs(e) && s.directory.Owns(e)
	}
}

// forUs reports whether an event that names its sinks names this one.
func forUs(e *event.Event) bool { return len(e.Sinks) == 0 || slices.Contains(e.Sinks, Name) }
