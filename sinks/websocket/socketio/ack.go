package socketio

import (
	"context"
	"errors"
	"sync"
)

// ackWaiter waits for acknowledgements. Its methods are called once for each
// socket that was asked, and must not block.
type ackWaiter interface {
	answered(s *Socket, args []Arg)
	lost(s *Socket) // the socket has left
}

// An Answer is one socket's acknowledgement of a broadcast.
type Answer struct {
	Socket *Socket
	Args   []Arg
}

// Call emits an event and returns what the client acknowledges it with. The
// error wraps ErrAckTimeout if ctx ends first, and is ErrDisconnected if the
// socket leaves.
//
// In a hook, Call delays what else the client has sent; acknowledgements are
// not delayed by that.
func (s *Socket) Call(ctx context.Context, event string, args ...Arg) ([]Arg, error) {
	a, err := s.Request(ctx, event, args...)
	if err != nil {
		return nil, err
	}
	return a.Wait(ctx)
}

// Request emits an event that asks for an acknowledgement, and leaves it to
// the caller when to wait for that. Wait must be called, or what waits is kept
// until the socket leaves.
func (s *Socket) Request(ctx context.Context, event string, args ...Arg) (*Acknowledgement, error) {
	id := s.namespace.ackIDs.Add(1) - 1
	out, err := s.namespace.event(event, args, &id)
	if err != nil {
		return nil, err
	}
	a := &Acknowledgement{socket: s, id: id, args: make(chan []Arg, 1)}
	if !s.await(id, a) {
		return nil, ErrDisconnected
	}
	if err := s.send(ctx, out, direct{}); err != nil {
		s.forgo(id)
		return nil, err
	}
	return a, nil
}

// await registers w for acknowledgement id.
func (s *Socket) await(id uint64, w ackWaiter) bool {
	s.client.mu.Lock()
	defer s.client.mu.Unlock()
	if s.ended {
		return false
	}
	if s.acks == nil {
		s.acks = make(map[uint64]ackWaiter)
	}
	s.acks[id] = w
	return true
}

// forgo removes what waits for acknowledgement id, and reports whether there was
// something.
func (s *Socket) forgo(id uint64) bool {
	s.client.mu.Lock()
	defer s.client.mu.Unlock()
	_, waited := s.acks[id]
	delete(s.acks, id)
	return waited
}

// CallFunc is Call without waiting: then is called once, with what
// Call would return, in turn with the hooks of the socket's client. So several
// acknowledgements, and the events between them, are handled in the order in
// which the client sent them. After an error then is not called.
func (s *Socket) CallFunc(ctx context.Context, then func(args []Arg, err error), event string, args ...Arg) error {
	id := s.namespace.ackIDs.Add(1) - 1
	out, err := s.namespace.event(event, args, &id)
	if err != nil {
		return err
	}
	c := &callback{then: then}
	waiting := make(chan struct{})
	c.stop = context.AfterFunc(ctx, func() {
		<-waiting
		if s.forgo(id) {
			c.post(s, nil, errors.Join(ErrAckTimeout, ctx.Err()))
		}
	})
	here := s.await(id, c)
	close(waiting)
	if !here {
		c.stop()
		return ErrDisconnected
	}
	if err := s.send(ctx, out, direct{}); err != nil && s.forgo(id) {
		c.stop()
		return err
	}
	return nil
}

// A callback is what CallFunc waits with. What takes it out of the socket's acks
// calls it.
type callback struct {
	then func(args []Arg, err error)
	stop func() bool // of waiting for the context's end
}

func (c *callback) answered(s *Socket, args []Arg) { c.post(s, args, nil) }

func (c *callback) lost(s *Socket) { c.post(s, nil, ErrDisconnected) }

func (c *callback) post(s *Socket, args []Arg, err error) {
	c.stop()
	s.client.inbox.post(s.client, func() { c.then(args, err) })
}

// An Acknowledgement is an answer that has been asked for.
type Acknowledgement struct {
	socket *Socket
	id     uint64
	args   chan []Arg // closed if the socket leaves
}

func (a *Acknowledgement) answered(_ *Socket, args []Arg) { a.args <- args }

func (a *Acknowledgement) lost(*Socket) { close(a.args) }

// Wait returns the arguments of the acknowledgement. It is to be called once.
// See Call for its errors.
func (a *Acknowledgement) Wait(ctx context.Context) ([]Arg, error) {
	select {
	case args, ok := <-a.args:
		if !ok {
			return nil, ErrDisconnected
		}
		return args, nil
	case <-ctx.Done():
		a.socket.forgo(a.id)
		return nil, errors.Join(ErrAckTimeout, ctx.Err())
	}
}

// Call emits an event and collects the acknowledgements of the selected
// sockets. If ctx ends first, or a socket leaves, it returns the answers that
// have come and an error that wraps ErrAckTimeout or ErrDisconnected.
func (sel Selection) Call(ctx context.Context, event string, args ...Arg) ([]Answer, error) {
	n := sel.namespace
	id := n.ackIDs.Add(1) - 1
	out, err := n.event(event, args, &id)
	if err != nil {
		return nil, err
	}
	p := &poll{done: make(chan struct{})}
	asked, err := sel.request(ctx, out, id, p)
	if err != nil {
		return nil, err
	}
	select {
	case <-p.done:
		return p.result(nil)
	case <-ctx.Done():
		for _, s := range asked {
			s.forgo(id)
		}
		return p.result(errors.Join(ErrAckTimeout, ctx.Err()))
	}
}

// request publishes out and registers p with every socket that gets it.
func (sel Selection) request(ctx context.Context, out *outgoing, id uint64, p *poll) ([]*Socket, error) {
	n := sel.namespace
	n.mu.Lock()
	defer n.mu.Unlock()
	if err := n.awaitVacancy(ctx); err != nil {
		return nil, err
	}
	var asked []*Socket
	for _, s := range sel.pick() {
		if !s.silent && s.await(id, p) {
			asked = append(asked, s)
		}
	}
	p.expect(len(asked))
	if len(asked) == 0 {
		return nil, nil
	}
	out.position = sel.position
	out.seal()
	return asked, n.publish(delivery{out: out, some: asked, volatile: sel.volatile})
}

// A poll collects the acknowledgements of a broadcast.
type poll struct {
	done chan struct{} // closed when no answer is missing

	mu sync.Mutex
	// mu guards the fields below.
	missing int // below 0 until expect
	answers []Answer
	left    bool // a socket left without an answer
}

func (p *poll) answered(s *Socket, args []Arg) { p.arrived(&Answer{s, args}) }

func (p *poll) lost(*Socket) { p.arrived(nil) }

func (p *poll) arrived(a *Answer) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if a == nil {
		p.left = true
	} else {
		p.answers = append(p.answers, *a)
	}
	p.add(-1)
}

// expect says how many were asked. Some may have left already.
func (p *poll) expect(asked int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.add(asked)
}

// add changes missing. Held: mu.
func (p *poll) add(n int) {
	if p.missing += n; p.missing == 0 {
		close(p.done)
	}
}

// result returns what has come. What comes later is dropped.
func (p *poll) result(err error) ([]Answer, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err == nil && p.left {
		err = ErrDisconnected
	}
	return p.answers[:len(p.answers):len(p.answers)], err
}
