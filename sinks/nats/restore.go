package nats

import (
	"context"
	"fmt"
	"strconv"
	"sync"

	natsgo "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/evosink/evosink/core/sink"
)

// A message is an event on its way to the server.
type message struct {
	*natsgo.Msg
	lane lane
}

// A lane is what has to stay in order: the events of an instance for a target.
type lane struct {
	target       sink.Target
	instance, id string
}

// restore publishes again what a stream holds before an event that it was to come after. Such an event was published
// behind one that the stream refused (it was full), and is dropped as a double when the queue sends it again: the
// acknowledgement says so, with the sequence of the first. It gets another id, one that is the same if this has to be
// repeated. Behind the first failure of a lane nothing is looked at, because the queue sends it again.
func (s *session) restore(ctx context.Context, messages []message, acks []*jetstream.PubAck, errs []error) {
	failed, again := map[lane]bool{}, map[position]bool{}
	for i, m := range messages {
		if failed[m.lane] = failed[m.lane] || errs[i] != nil; failed[m.lane] {
			continue
		}
		at := position{m.lane, acks[i].Stream}
		last := s.positions.get(at)
		if again[at] = again[at] || acks[i].Duplicate && acks[i].Sequence < last; again[at] {
			if acks[i], errs[i] = s.publishAgain(ctx, m, last); errs[i] != nil {
				failed[m.lane] = true
				continue
			}
		}
		s.positions.set(at, acks[i].Sequence)
	}
}

// publishAgain publishes m behind the sequence given, and waits.
func (s *session) publishAgain(ctx context.Context, m message, behind uint64) (*jetstream.PubAck, error) {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	id := m.Header.Get(jetstream.MsgIDHeader) + "/" + strconv.FormatUint(behind, 10)
	repeat := &natsgo.Msg{Subject: m.Subject, Data: m.Data, Header: natsgo.Header{jetstream.MsgIDHeader: {id}}}
	ack, err := s.js.PublishMsg(ctx, repeat, jetstream.WithRetryAttempts(0))
	if err != nil {
		return nil, fmt.Errorf("restore the order: %w", s.failure(err, m.Msg))
	}
	return ack, nil
}

// A position is where a lane stands in a stream.
type position struct {
	lane   lane
	stream string
}

// maxPositions bounds how many positions each of the two generations of [positions] holds.
const maxPositions = 1 << 13

// positions are the sequences of the last events that were delivered, of the lanes that were used last. They outlive
// sessions.
type positions struct {
	mu sync.Mutex
	// mu guards the fields below.
	young, old map[position]uint64
}

func (p *positions) get(at position) uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	if sequence, ok := p.young[at]; ok {
		return sequence
	}
	return p.old[at]
}

func (p *positions) set(at position, sequence uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, ok := p.young[at]; !ok && len(p.young) >= maxPositions {
		p.young, p.old = nil, p.young
	}
	if p.young == nil {
		p.young = map[position]uint64{}
	}
	p.young[at] = sequence
}
