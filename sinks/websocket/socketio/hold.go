package socketio

import (
	"context"

	"github.com/evosink/evosink/sinks/websocket/engineio"
)

// hold is what is kept aside for a socket that is held.
type hold struct {
	outs       []*outgoing
	bytes      int
	overflowed bool // it was too much: nothing is kept any more
}

// keep puts out aside. Held: the namespace's mu.
func (s *Socket) keep(out *outgoing) {
	h := s.held
	switch {
	case h.overflowed:
	case h.bytes > 0 && h.bytes+out.size > s.namespace.server.config.MaxHeld:
		*h = hold{overflowed: true}
	default:
		h.outs = append(h.outs, out)
		h.bytes += out.size + deliveryOverhead
	}
}

// Release sends what was kept aside for a socket that joined held (see
// ConnectRequest.Hold), at the client's speed, then lets it take part like any
// other. It returns ErrDisconnected if the client has gone, or ctx's error.
//
// With it a socket can be given the past before the present, without a gap
// and without a double, by whoever keeps a log of what is emitted:
//
//  1. Write each event to the log before it is emitted, and emit it with its
//     key (Selection.WithKey).
//  2. Authorize sets Hold. From the CONNECT answer on, broadcasts to the
//     socket are kept aside.
//  3. From the Connect hook on, read the log to its end, which holds all that
//     was emitted before the socket joined, and emit it to the socket: Emit
//     passes by what is kept aside.
//  4. Wait until all that was read has been emitted. Some of it is kept aside
//     now, so Release asks skip about every event that is, in order, and sends
//     those for which it returns false.
//
// If more had to be kept aside than Config.MaxHeld, Release returns
// ErrOverflow: it has sent what it asked skip about and no more, and from
// then on broadcasts are kept aside anew. All others are in the log, so go on
// with step 3 behind the last event that was sent. That ends if the client is
// faster than what is emitted:
//
//	for {
//		last = replay(s, last)
//		err := s.Release(ctx, func(key string) bool {
//			if replayed(key) {
//				return true
//			}
//			last = key
//			return false
//		})
//		if !errors.Is(err, socketio.ErrOverflow) {
//			return err
//		}
//	}
//
// A socket that is held, and its past, are unknown to Config.Recovery: a client
// that is lost meanwhile comes back as a new one.
//
// skip is called by one goroutine at a time; it must be fast and call nothing
// of this package. It may be nil.
func (s *Socket) Release(ctx context.Context, skip func(key string) bool) error {
	if skip == nil {
		skip = func(string) bool { return false }
	}
	for {
		if err := s.Await(ctx); err != nil { // so that what is kept aside can be taken
			return err
		}
		outs, released := s.takeKept(skip)
		if released != nil {
			return <-released
		}
		if err := s.sendKept(ctx, outs, skip); err != nil {
			return err
		}
	}
}

// sendKept sends what skip does not want to be skipped, at the client's speed.
func (s *Socket) sendKept(ctx context.Context, outs []*outgoing, skip func(string) bool) error {
	ahead := 0
	for _, out := range outs {
		if skip(out.key) {
			continue
		}
		if err := s.send(ctx, out, direct{}); err != nil {
			return err
		}
		if ahead += out.size; ahead < s.pace() {
			continue
		}
		ahead = 0
		if err := s.Await(ctx); err != nil {
			return err
		}
	}
	return nil
}

// pace is how many bytes may be sent to a client before it is waited for.
func (s *Socket) pace() int {
	return min(batchBytes, s.namespace.server.config.Engine.MaxQueueBytes/4)
}

// releaseAtOnce is how many events may be sent under the namespace's lock.
const releaseAtOnce = 64

// takeKept takes what is kept aside. If that is little, the socket is released
// at this place in the order, and released tells how that went.
func (s *Socket) takeKept(skip func(string) bool) (outs []*outgoing, released <-chan error) {
	n := s.namespace
	n.mu.Lock()
	defer n.mu.Unlock()
	if s.held != nil && (len(s.held.outs) > releaseAtOnce || s.held.bytes > s.pace()) {
		outs, *s.held = s.held.outs, hold{}
		return outs, nil
	}
	result := make(chan error, 1)
	n.inOrder(func() { result <- s.release(skip) })
	return nil, result
}

// release sends what is kept aside, all that was emitted until now, and makes
// the socket one like any other, unless too much was to be kept. Held: the
// namespace's mu.
func (s *Socket) release(skip func(string) bool) error {
	h := s.held
	switch {
	case h == nil || !s.live:
		return nil // it has been released, or has left
	case h.overflowed:
		*h = hold{}
		s.namespace.setFloor(s)
		return ErrOverflow
	}
	var msgs []engineio.Message
	for _, out := range h.outs {
		if !skip(out.key) {
			msgs = append(msgs, out.msgs...)
			s.client.server.stats.sent.Add(1)
		}
	}
	_ = s.client.session.Send(msgs...) // that it has ended is told to Closed
	s.held = nil
	return nil
}
