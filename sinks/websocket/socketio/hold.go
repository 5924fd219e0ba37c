package socketio

import (
	"context"

	"github.com/evosink/evosink/sinks/websocket/engineio"
)

// hold is what is kept aside for a socket that is held.
type hold struct {
	outs  []*outgoing
	bytes int
}

// keep puts out aside. Held: the namespace's mu.
func (s *Socket) keep(out *outgoing) {
	h := s.held
	if h.bytes > 0 && h.bytes+out.size > s.namespace.server.config.MaxHeld {
		s.live, h.outs = false, nil // the client is on its way out
		s.client.end(ReasonSlowClient)
		return
	}
	h.outs = append(h.outs, out)
	h.bytes += out.size + deliveryOverhead
}

// Release sends what was kept aside for a socket that joined held (see
// ConnectRequest.Hold), then lets it take part like any other. On a socket
// that is not held it does nothing.
//
// With it a socket can be given the past before the present, without a gap
// and without a double, by whoever keeps a log of what is emitted:
//
//  1. Write each event to the log before it is emitted, and emit it with its
//     key (Selection.WithKey).
//  2. Authorize sets Hold. From the CONNECT answer on, broadcasts to the
//     socket are kept aside.
//  3. The Connect hook reads the log to its end, which holds all that was
//     emitted before the socket joined, and emits it to the socket: Emit
//     passes by what is kept aside.
//  4. The log's end may also hold events that are kept aside, or not emitted
//     yet. So Release asks seen about every event that is for the socket,
//     those kept aside first, then those that are emitted, in order, until
//     seen says that there are no more to come that it would skip.
//
// If events are emitted in the order of the log, the first key that step 3 has
// not sent ends that. seen is called by one goroutine at a time; it must be
// fast and call nothing of this package. It may be nil.
func (s *Socket) Release(ctx context.Context, seen func(key string) (skip, more bool)) error {
	for {
		outs, released := s.takeKept(seen)
		if released != nil {
			<-released
			return nil
		}
		for sent := 0; len(outs) > 0; outs = outs[1:] {
			out := outs[0]
			var skip bool
			if skip, seen = ask(seen, out.key); skip {
				continue
			}
			if err := s.send(ctx, out, direct{}); err != nil {
				return err
			}
			if sent += out.size; sent >= batchBytes {
				sent = 0
				if err := s.Await(ctx); err != nil {
					return err
				}
			}
		}
	}
}

// releaseAtOnce is how many events may be sent under the namespace's lock.
const releaseAtOnce = 64

// takeKept takes what is kept aside. If that is little, the socket is released
// at this place in the order, and released is closed when that is done.
func (s *Socket) takeKept(seen func(string) (skip, more bool)) (outs []*outgoing, released <-chan struct{}) {
	n := s.namespace
	n.mu.Lock()
	defer n.mu.Unlock()
	switch {
	case s.held == nil:
		return nil, done
	case len(s.held.outs) <= releaseAtOnce:
		return nil, n.inOrder(func() { s.release(seen) })
	}
	outs, s.held.outs, s.held.bytes = s.held.outs, nil, 0
	return outs, nil
}

// release sends what is kept aside, all that was emitted until now, and makes
// the socket one like any other. Held: the namespace's mu.
func (s *Socket) release(seen func(string) (skip, more bool)) {
	h := s.held
	if h == nil || !s.live {
		return // it has left, or is on its way out
	}
	var msgs []engineio.Message
	for _, out := range h.outs {
		var skip bool
		if skip, seen = ask(seen, out.key); !skip {
			msgs = append(msgs, out.msgs...)
			s.client.server.stats.sent.Add(1)
		}
	}
	_ = s.client.session.Send(msgs...) // that it has ended is told to Closed
	s.held, s.seen = nil, seen
}

// ask asks seen about key, and returns whom to ask next.
func ask(seen func(string) (skip, more bool), key string) (skip bool, next func(string) (bool, bool)) {
	if seen == nil {
		return false, nil
	}
	skip, more := seen(key)
	if !more {
		seen = nil
	}
	return skip, seen
}
