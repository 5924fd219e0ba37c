package engineio

import (
	"context"
	"net/http"
	"time"

	"github.com/evosink/evosink/core/retry"
	"github.com/evosink/evosink/sinks/websocket/engineio/packet"
)

// probeRelease is how long a poll pends while its client upgrades: the client
// does not go over before its poll has been answered.
const probeRelease = 100 * time.Millisecond

// How long is waited where what was sent one behind the other, each on its own
// connection, may have overtaken each other: a request that comes while its
// client upgrades is refused if the upgrade packet was before it, and so is a
// poll if a POST before it was cut short; a websocket takes the place of one that
// was dropped before it; a close packet answers the poll before it.
const (
	requestOvertaking = 2 * time.Millisecond
	probeOvertaking   = 5 * time.Millisecond
	closeOvertaking   = 10 * time.Millisecond
)

// poll answers a GET once there is something to send.
func (s *Session) poll(w http.ResponseWriter, r *http.Request) {
	if s.probing() || s.posting() {
		retry.Sleep(r.Context().Done(), requestOvertaking)
	}
	p, refused := s.beginPoll()
	if refused != nil {
		s.server.refuse(w, r, refused)
		return
	}
	if !s.awaitPackets(r.Context(), p) {
		s.abortPoll(p)
		hangUp(http.NewResponseController(w)) // or one that has only stopped sending would get an empty answer
		return
	}
	s.respond(w, r, s.endPoll(p, maxPolled(r)))
}

// beginPoll makes a GET the pending one.
func (s *Session) beginPoll() (*polling, *refusal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.polling
	switch {
	case s.state == closed:
		return nil, unknownSession
	case p == nil:
		return nil, badRequest
	case p.wake != nil:
		s.end(ReasonTransportError, errOverlap)
		return nil, badRequest
	}
	p.wake = make(chan struct{}, 1)
	if len(p.queue) > 0 {
		p.wake <- struct{}{}
	}
	return p, nil
}

// probing reports whether the client is about to go over to websocket.
func (s *Session) probing() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.probe != nil && s.probed
}

// posting reports whether the body of a POST is being read.
func (s *Session) posting() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.polling != nil && s.polling.unread != nil
}

// awaitPackets waits until the pending GET is to be answered; false means that
// its client has gone.
func (s *Session) awaitPackets(ctx context.Context, p *polling) bool {
	s.mu.Lock()
	wake, probing := p.wake, s.probe != nil && s.probed
	s.mu.Unlock()
	var release <-chan time.Time
	if probing {
		timer := time.NewTimer(probeRelease)
		defer timer.Stop()
		release = timer.C
	}
	select {
	case <-wake:
		return true
	case <-release:
		return true
	case <-ctx.Done():
		return false
	}
}

// endPoll returns the packets that answer the pending GET, up to most.
func (s *Session) endPoll(p *polling, most int) []packet.Packet {
	s.mu.Lock()
	defer s.mu.Unlock()
	packets := p.take(most)
	if s.state == leaving && len(p.queue) == 0 {
		s.vanish()
	}
	if len(packets) == 0 {
		packets = []packet.Packet{{Type: packet.Noop}}
	}
	return packets
}

func (s *Session) abortPoll(p *polling) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p.wake = nil
	s.end(ReasonTransportError, errAborted)
}

// respond writes packets as the answer to a GET, with a length of its own and
// at once, so that a failure is known here.
func (s *Session) respond(w http.ResponseWriter, r *http.Request, packets []packet.Packet) {
	payload, binary := s.dialect.AppendPayload(nil, packets)
	header := w.Header()
	header.Set("Content-Type", "text/plain; charset=UTF-8")
	if binary {
		header.Set("Content-Type", "application/octet-stream")
	}
	if encoding := acceptedEncoding(r.Header); encoding != "" && s.server.compresses(len(payload)) {
		header.Set("Content-Encoding", encoding)
		payload = compressed(payload, encoding)
	}
	if err := answer(w, http.StatusOK, payload); err != nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.end(ReasonTransportError, err)
	}
}
