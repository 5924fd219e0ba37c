package socketio

import (
	"context"
	"slices"

	"github.com/evosink/evosink/sinks/websocket/engineio"
)

// heldBuffer is what is kept aside for a socket that is held.
type heldBuffer struct {
	outs       []*outgoing
	bytes      int
	overflowed bool   // it was too much: nothing is kept any more
	number     uint64 // in the journal, of the last that came, kept or not
}

// buffer puts out aside. Held: the namespace's mu.
func (s *Socket) buffer(out *outgoing) {
	h := s.held
	h.number = max(h.number, out.number)
	switch {
	case h.overflowed:
	case h.bytes > 0 && h.bytes+out.size > s.namespace.server.config.MaxHeld:
		*h = heldBuffer{overflowed: true, number: h.number}
	default:
		h.outs = append(h.outs, out)
		h.bytes += out.size + deliveryOverhead
	}
}

// discard drops what does not come behind a position.
func (h *heldBuffer) discard(position int64) {
	h.outs = slices.DeleteFunc(h.outs, func(out *outgoing) bool {
		if out.position == 0 || out.position > position {
			return false
		}
		h.bytes -= out.size + deliveryOverhead
		return true
	})
}

// Release sends what was kept aside for a socket that joined held (see
// ConnectRequest.Hold) and comes behind a position, at the client's speed, then
// lets it take part like any other. It returns ErrDisconnected if the client has
// gone, or ctx's error.
//
// With it a socket can be given the past before the present, without a gap
// and without a double, from a log of what is emitted:
//
//  1. Write each event to the log before it is emitted, and emit it with its
//     position there (Selection.At), in the order of the log. How much later it
//     is emitted does not matter.
//  2. Authorize sets Hold. From the CONNECT answer on, broadcasts to the
//     socket are kept aside.
//  3. From the Connect hook on, read the log to its end, which holds all that
//     was emitted before the socket joined, and emit it to the socket: Emit
//     passes by what is kept aside.
//  4. Wait until all that is in the log up to that end has been emitted. So
//     whatever of it is not kept aside now never will be, and Release, which
//     is told the end, leaves out what is: the socket has got it from the log,
//     or it is older than what the socket wanted of the past. What has no
//     position is always sent.
//
// If more had to be kept aside than Config.MaxHeld, Release returns
// ErrOverflow and the position of the last event that it has sent, or the one
// that it was given; from then on broadcasts are kept aside anew. All others
// are in the log, so go on with step 3 behind that position. That ends if the
// client is faster than what is emitted:
//
//	for {
//		end := replay(s, position)
//		position, err = s.Release(ctx, end)
//		if !errors.Is(err, socketio.ErrOverflow) {
//			return err
//		}
//	}
//
// A socket that is held, and its past, are unknown to Config.Recovery: a client
// that is lost meanwhile comes back as a new one.
func (s *Socket) Release(ctx context.Context, position int64) (last int64, err error) {
	for last = position; ; {
		if err := s.Await(ctx); err != nil { // so that what is kept aside can be taken
			return last, err
		}
		outs, released := s.takeKept(last)
		if released != nil {
			return last, <-released
		}
		if last, err = s.sendKept(ctx, outs, last); err != nil {
			return last, err
		}
	}
}

// sendKept sends what was kept aside, at the client's speed, and returns the
// position of the last that it has sent, or the one given.
func (s *Socket) sendKept(ctx context.Context, outs []*outgoing, last int64) (int64, error) {
	ahead := 0
	for _, out := range outs {
		if err := s.send(ctx, out, direct{}); err != nil {
			return last, err
		}
		last = max(last, out.position)
		if ahead += out.size; ahead < s.pace() {
			continue
		}
		ahead = 0
		if err := s.Await(ctx); err != nil {
			return last, err
		}
	}
	return last, nil
}

// pace is how many bytes may be sent to a client before it is waited for.
func (s *Socket) pace() int {
	return min(batchBytes, s.namespace.server.config.Engine.MaxQueueBytes/4)
}

// releaseAtOnce is how many events may be sent under the namespace's lock.
const releaseAtOnce = 64

// takeKept takes what is kept aside and comes behind a position. If that is
// little, the socket is released at this place in the order, and released tells
// how that went.
func (s *Socket) takeKept(last int64) (outs []*outgoing, released <-chan error) {
	n := s.namespace
	n.mu.Lock()
	defer n.mu.Unlock()
	if h := s.held; h != nil {
		h.discard(last)
		if len(h.outs) > releaseAtOnce || h.bytes > s.pace() {
			outs, *h = h.outs, heldBuffer{number: h.number}
			return outs, nil
		}
	}
	result := make(chan error, 1)
	n.inOrder(func() { result <- s.release(last) })
	return nil, result
}

// release sends what is kept aside, all that was emitted until now, as far as
// it comes behind a position, and makes the socket one like any other, unless
// too much was to be kept. Held: the namespace's mu.
func (s *Socket) release(last int64) error {
	h := s.held
	switch {
	case h == nil || !s.live:
		return nil // it has been released, or has left
	case h.overflowed:
		s.floor = h.number + 1 // what is emitted already, and comes behind this place, is kept aside anew
		*h = heldBuffer{number: h.number}
		return ErrOverflow
	}
	h.discard(last)
	var msgs []engineio.Message
	for _, out := range h.outs {
		msgs = append(msgs, out.msgs...)
		s.client.server.stats.sent.Add(1)
	}
	_ = s.client.session.Send(msgs...) // that it has ended is told to Closed
	s.held = nil
	return nil
}
