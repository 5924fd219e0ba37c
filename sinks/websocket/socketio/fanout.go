package socketio

import (
	"sync"

	"github.com/evosink/evosink/sinks/websocket/engineio"
)

// A fanout is one batch on its way to its sockets.
type fanout struct {
	outs     []*outgoing
	size     int
	volatile bool
	alone    bool // nothing may join the batch
	plain    []*Socket
	picky    []*Socket   // those that do not take everything
	taken    []*outgoing // by a picky one
	sent     int         // packets to picky ones
}

var fanouts = sync.Pool{New: func() any { return new(fanout) }}

func newFanout() *fanout { return fanouts.Get().(*fanout) }

func (f *fanout) release() {
	f.reset()
	fanouts.Put(f)
}

// reset empties f, so that it holds on to nothing.
func (f *fanout) reset() {
	clear(f.outs)
	clear(f.plain)
	clear(f.picky)
	clear(f.taken)
	*f = fanout{outs: f.outs[:0], plain: f.plain[:0], picky: f.picky[:0], taken: f.taken[:0]}
}

// takes adds d to the batch, unless it must wait for the next one.
func (f *fanout) takes(d delivery) bool {
	if len(f.outs) > 0 && (f.alone || !d.forAll() || f.size+d.out.size > batchBytes) {
		return false
	}
	if d.out == nil {
		return false
	}
	f.outs = append(f.outs, d.out)
	f.size += d.out.size
	f.volatile = d.volatile
	f.alone = !d.forAll()
	return true
}

// recipients finds the sockets that get the batch, of which d is the first. What is held
// for a socket is put aside here, under the lock, so that Release misses
// nothing. Held: n.mu.
func (f *fanout) recipients(n *Namespace, d delivery) {
	if d.one != nil {
		if d.one.live {
			f.plain = append(f.plain, d.one)
		}
		return
	}
	sockets := d.some
	if sockets == nil {
		sockets = n.members
	}
	for _, s := range sockets {
		switch {
		case !s.live || s.silent:
		case s.held != nil:
			f.keep(s)
		case s.filter != nil:
			f.picky = append(f.picky, s)
		default:
			f.plain = append(f.plain, s)
		}
	}
}

// keep puts the batch aside for a socket that is held.
func (f *fanout) keep(s *Socket) {
	if f.volatile {
		return
	}
	for _, out := range f.outs {
		if s.filter == nil || s.filter(out.name) {
			s.buffer(out)
		}
	}
}

// write writes the batch to each socket.
func (f *fanout) write() {
	batch := f.batch()
	for _, s := range f.plain {
		f.writeTo(s, batch)
	}
	for _, s := range f.picky {
		f.writePicked(s, batch)
	}
}

// batch returns the whole batch, encoded once however many get it.
func (f *fanout) batch() *engineio.Batch {
	if len(f.plain)+len(f.picky) == 0 {
		return nil
	}
	if len(f.outs) == 1 && f.outs[0].batch != nil {
		return f.outs[0].batch
	}
	var msgs []engineio.Message
	for _, out := range f.outs {
		msgs = append(msgs, out.msgs...)
	}
	return engineio.NewBatch(msgs...)
}

// writeTo writes batch to s. That a session has ended is told to its handler.
func (f *fanout) writeTo(s *Socket, batch *engineio.Batch) {
	if f.volatile { // alone in its batch
		s.session.SendVolatile(f.outs[0].msgs...)
		return
	}
	_ = s.session.SendBatch(batch)
}

// writePicked writes what s takes of the batch.
func (f *fanout) writePicked(s *Socket, batch *engineio.Batch) {
	f.taken = f.taken[:0]
	for _, out := range f.outs {
		if s.filter(out.name) {
			f.taken = append(f.taken, out)
		}
	}
	f.sent += len(f.taken)
	if len(f.taken) == len(f.outs) {
		f.writeTo(s, batch)
		return
	}
	for _, out := range f.taken {
		f.writeTo(s, out.batch)
	}
}

// packets returns how many packets have been written.
func (f *fanout) packets() uint64 { return uint64(len(f.plain)*len(f.outs) + f.sent) }
