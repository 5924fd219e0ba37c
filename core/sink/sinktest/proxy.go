package sinktest

import (
	"io"
	"net"
	"sync"
	"testing"
)

// A Proxy stands between a sink and a real service, and can be taken away as if the service were stopped.
type Proxy struct {
	Address string // where it listens, the same for ever

	t      testing.TB
	target string
	wg     sync.WaitGroup
	mu     sync.Mutex
	// mu guards the fields below.
	listener net.Listener // nil: down
	conns    []net.Conn
}

// NewProxy returns a proxy of the service at target, which is up until the test ends.
func NewProxy(t testing.TB, target string) *Proxy {
	t.Helper()
	p := &Proxy{t: t, target: target, Address: "127.0.0.1:0"}
	p.Up()
	t.Cleanup(p.Down)
	return p
}

// Up lets connections in.
func (p *Proxy) Up() {
	p.t.Helper()
	l, err := net.Listen("tcp", p.Address)
	if err != nil {
		p.t.Fatal(err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.listener, p.Address = l, l.Addr().String()
	p.wg.Go(func() { p.accept(l) })
}

func (p *Proxy) accept(l net.Listener) {
	for {
		in, err := l.Accept()
		if err != nil {
			return
		}
		out, err := net.Dial("tcp", p.target)
		if err != nil {
			in.Close()
			continue
		}
		p.join(l, in, out)
	}
}

func (p *Proxy) join(l net.Listener, in, out net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.listener != l { // taken away meanwhile
		in.Close()
		out.Close()
		return
	}
	p.conns = append(p.conns, in, out)
	p.wg.Go(func() { _, _ = io.Copy(in, out); in.Close() })
	p.wg.Go(func() { _, _ = io.Copy(out, in); out.Close() })
}

// Down cuts all connections and refuses others.
func (p *Proxy) Down() {
	p.mu.Lock()
	if p.listener != nil {
		p.listener.Close()
		p.listener = nil
	}
	p.cut()
	p.mu.Unlock()
	p.wg.Wait()
}

// Cut cuts all connections and lets others in.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cut()
}

func (p *Proxy) cut() {
	for _, c := range p.conns {
		c.Close()
	}
	p.conns = nil
}
