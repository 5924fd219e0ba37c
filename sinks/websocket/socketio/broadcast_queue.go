package socketio

import (
	"context"

	"github.com/evosink/evosink/sinks/websocket/engineio"
	"github.com/evosink/evosink/sinks/websocket/socketio/parser"
)

// batchBytes is how much of what waits is written to each client at once.
const batchBytes = 64 << 10

// deliveryOverhead is what a waiting delivery costs beside its bytes.
const deliveryOverhead = 256

// broadcastQueue is what has been emitted in a namespace and not been written yet.
//
// Broadcasts always go through it: its worker concatenates all that waits and
// writes it to each client at once, and while it writes the next batch
// gathers. What is for one socket, and what must stand at a certain place
// (joining, leaving), goes through it only while it is busy; otherwise nothing
// is before it and it is done at once. Guarded by Namespace.mu.
type broadcastQueue struct {
	pending []delivery
	bytes   int           // of pending
	busy    bool          // there is a worker
	vacancy chan struct{} // closed when bytes have become fewer, if a caller waits
}

// A delivery is something at its place in the order: a step to take, or an
// event and its recipients: one socket, some, or all members.
type delivery struct {
	step     func() // run under mu
	out      *outgoing
	one      *Socket   // gets it though it is held, or its filter says no
	some     []*Socket // nil: all
	volatile bool
}

func (d delivery) size() int {
	if d.out == nil {
		return 0
	}
	return d.out.size + deliveryOverhead
}

// forAll reports whether d may share a batch with others like it.
func (d delivery) forAll() bool { return d.out != nil && d.one == nil && d.some == nil && !d.volatile }

// outgoing is an encoded event or acknowledgement.
type outgoing struct {
	name     string // of the event
	position int64  // in the log it comes from, 0 if it does not come from one
	number   uint64 // in the journal, 0 if it is not kept there
	msgs     []engineio.Message
	size     int
	batch    *engineio.Batch // of msgs; nil for what is for one socket
}

// event encodes an event. id, if not nil, asks for an acknowledgement.
func (n *Namespace) event(name string, args []Arg, id *uint64) (*outgoing, error) {
	if parser.Reserved(name) {
		return nil, ErrReserved
	}
	p := parser.Packet{Type: parser.Event, Name: name, Args: args}
	if id != nil {
		p.ID, p.HasID = *id, true
	}
	return n.encode(&p)
}

// encode encodes a packet of the namespace, with room for an offset.
func (n *Namespace) encode(p *parser.Packet) (*outgoing, error) {
	p.Namespace = n.name
	text, attachments := p.Encode(make([]byte, 0, p.Size()+offsetRoom))
	if len(attachments) > maxAttachments {
		return nil, ErrAttachments
	}
	out := &outgoing{name: p.Name, size: len(text), msgs: make([]engineio.Message, 1, 1+len(attachments))}
	out.msgs[0].Data = text
	for _, a := range attachments {
		out.msgs = append(out.msgs, engineio.Message{Data: a, Binary: true})
		out.size += len(a)
	}
	return out, nil
}

// maxAttachments is what clients accept unless they are told otherwise.
const maxAttachments = 10

// done is a channel that is closed.
var done = func() chan struct{} { c := make(chan struct{}); close(c); return c }()

// inOrder runs step at its place in the order, and returns a channel that is
// closed when that has been done. Held: mu, by step too.
func (n *Namespace) inOrder(step func()) <-chan struct{} {
	if !n.busy {
		step()
		return done
	}
	taken := make(chan struct{})
	n.push(delivery{step: func() {
		step()
		close(taken)
	}})
	return taken
}

// push adds d to what waits for the worker. Held: mu, and busy.
func (n *Namespace) push(d delivery) {
	n.pending = append(n.pending, d)
	n.bytes += d.size()
}

// publish adds d, and starts the worker if there is none. Held: mu.
func (n *Namespace) publish(d delivery) error {
	if !n.busy {
		if !n.server.tasks.Go(n.work) {
			return ErrClosed
		}
		n.busy = true
	}
	n.push(d)
	return nil
}

// awaitVacancy waits until not too much waits for the worker. Held: mu, but
// not while waiting.
func (n *Namespace) awaitVacancy(ctx context.Context) error {
	for n.bytes >= n.server.config.MaxPending {
		if n.vacancy == nil {
			n.vacancy = make(chan struct{})
		}
		vacancy := n.vacancy
		n.mu.Unlock()
		var err error
		select {
		case <-vacancy:
		case <-ctx.Done():
			err = ctx.Err()
		}
		n.mu.Lock()
		if err != nil {
			return err
		}
	}
	return nil
}

// work writes what waits until nothing does. No write waits for a client, so
// neither does the worker.
func (n *Namespace) work() {
	f := newFanout()
	defer f.release()
	for n.next(f) {
		f.write()
		n.server.stats.sent.Add(f.packets())
	}
	n.server.tidy(n)
}

// next takes the steps that are due, then the next batch into f. It returns
// false, and the worker is no more, if there is none.
func (n *Namespace) next(f *fanout) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	f.reset()
	taken := 0
	for taken < len(n.pending) && n.pending[taken].step != nil {
		n.pending[taken].step()
		taken++
	}
	first := taken
	for taken < len(n.pending) && f.takes(n.pending[taken]) {
		n.bytes -= n.pending[taken].size()
		taken++
	}
	if first < taken {
		f.recipients(n, n.pending[first])
	}
	n.drop(taken)
	n.busy = first < taken
	return n.busy
}

// drop removes the first deliveries. Held: mu.
func (n *Namespace) drop(taken int) {
	if taken == len(n.pending) {
		n.pending = nil
	} else {
		clear(n.pending[:taken])
		n.pending = n.pending[taken:]
	}
	if n.vacancy != nil && n.bytes < n.server.config.MaxPending {
		close(n.vacancy)
		n.vacancy = nil
	}
}
