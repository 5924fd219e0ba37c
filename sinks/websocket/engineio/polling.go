package engineio

import (
	"errors"
	"math"
	"net/http"
	"slices"
	"strings"

	"github.com/evosink/evosink/sinks/websocket/engineio/packet"
)

// maxPolledPython is how many packets one poll is answered with at most if the
// client is python-engineio, which refuses more and ends. Others take all that
// waits: a bound would be one on how much they get in a round trip.
const maxPolledPython = 16

// maxPolled returns how many packets answer the poll r at most. The HTTP
// libraries that the Python client stands on say "python-requests/2.32" and
// "Python/3.13 aiohttp/3.11".
func maxPolled(r *http.Request) int {
	if strings.Contains(strings.ToLower(r.UserAgent()), "python") {
		return maxPolledPython
	}
	return math.MaxInt
}

var (
	errOverlap = errors.New("engineio: two requests of a kind at once")
	errAborted = errors.New("engineio: the client ended its request early")
)

// polling is the state of a session while it polls, guarded by the session's
// mu.
type polling struct {
	queue  []packet.Packet
	queued int           // its size with overhead
	first  int           // what was queued when it was empty
	wake   chan struct{} // tells the pending GET of packets; nil without one
	post   bool          // there is a POST
	unread func()        // cuts the POST while its body is being read, else nil
}

// messages queues msgs, or returns errSlow if that is too much. The first of
// an empty queue always fit, and do not count for those behind.
func (p *polling) messages(msgs []Message, limit int) error {
	cost := 0
	for _, m := range msgs {
		cost += len(m.Data) + packetOverhead
	}
	if len(p.queue) == 0 {
		p.first = cost
	} else if p.queued-p.first+cost > limit {
		return errSlow
	}
	for _, m := range msgs {
		p.push(m.packet())
	}
	return nil
}

// heartbeat queues a ping or pong.
func (p *polling) heartbeat(beat packet.Packet, limit int) error {
	if len(p.queue) > 0 && p.queued-p.first+packetOverhead > limit {
		return errSlow
	}
	p.push(beat)
	return nil
}

// push queues a packet and answers the pending GET.
func (p *polling) push(packet packet.Packet) {
	p.queue = append(p.queue, packet)
	p.queued += len(packet.Data) + packetOverhead
	select {
	case p.wake <- struct{}{}:
	default: // no GET, or one that has been told
	}
}

// cut ends both requests: the GET with what is on its way to it, or else with
// one last packet of type t. What waits for a further GET is lost.
func (p *polling) cut(t packet.Type) {
	switch {
	case p.wake == nil:
		p.queue, p.queued = nil, 0
	case len(p.queue) == 0:
		p.push(packet.Packet{Type: t})
	}
	if p.unread != nil {
		p.unread()
	}
}

// hasten puts the ping or pong behind the first n packets, if there is one,
// before them: it must not wait for a client that fetches its messages bit by
// bit.
func (p *polling) hasten(n int) {
	for i, late := range p.queue[n:] {
		if late.Type == packet.Ping || late.Type == packet.Pong {
			copy(p.queue[1:], p.queue[:n+i])
			p.queue[0] = late
			return
		}
	}
}

// take ends the pending GET with what it is answered, up to most packets. A close packet behind a
// message is left to the next one: the reference client would end before it has
// looked at the messages that came with it.
func (p *polling) take(most int) []packet.Packet {
	n := min(len(p.queue), most)
	p.hasten(n)
	if n > 1 && p.queue[n-1].Type == packet.Close && p.queue[n-2].Type == packet.Message {
		n--
	}
	taken := p.queue[:n:n]
	p.queue = slices.Clone(p.queue[n:])
	for _, packet := range taken {
		p.queued -= len(packet.Data) + packetOverhead
	}
	if len(p.queue) == 0 {
		p.first = 0
	}
	p.wake = nil
	return taken
}
