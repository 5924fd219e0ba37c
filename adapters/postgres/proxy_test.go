package postgres_test

import (
	"bytes"
	"io"
	"net"
	"net/url"
	"sync"
	"testing"
)

// A proxy is the network between a node and the server.
type proxy struct {
	url    string
	target string
	listen net.Listener
	done   sync.WaitGroup

	mu sync.Mutex
	// mu guards the fields below.
	links  map[*link]struct{}
	broken bool   // connections are refused
	mute   string // what the server answers to a statement that has this text is swallowed, and all that it says after
}

type link struct {
	client, server net.Conn
	// proxy.mu guards the fields below.
	muted, listens bool
}

// newProxy runs a proxy to the server of a URL until the test ends.
func newProxy(t testing.TB, to string) *proxy {
	t.Helper()
	u, err := url.Parse(to)
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{target: u.Host, links: map[*link]struct{}{}}
	if p.listen, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	u.Host = p.listen.Addr().String()
	query := u.Query()
	query.Set("sslmode", "disable") // it reads along
	u.RawQuery = query.Encode()
	p.url = u.String()
	p.done.Go(p.accept)
	t.Cleanup(func() {
		p.listen.Close()
		p.cut()
		p.done.Wait()
	})
	return p
}

func (p *proxy) accept() {
	for {
		client, err := p.listen.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", p.target)
		p.mu.Lock()
		if err != nil || p.broken {
			p.mu.Unlock()
			client.Close()
			if err == nil {
				server.Close()
			}
			continue
		}
		l := &link{client: client, server: server}
		p.links[l] = struct{}{}
		p.mu.Unlock()
		p.done.Go(func() { p.carry(l, server, client, func(b []byte) bool { p.look(l, b); return true }) })
		p.done.Go(func() { p.carry(l, client, server, func([]byte) bool { return p.passes(l) }) })
	}
}

// carry carries what pass lets through until a side closes.
func (p *proxy) carry(l *link, to io.Writer, from io.Reader, pass func([]byte) bool) {
	defer l.client.Close()
	defer l.server.Close()
	for buffer := make([]byte, 64<<10); ; {
		n, err := from.Read(buffer)
		if err != nil {
			break
		}
		if pass(buffer[:n]) {
			if _, err := to.Write(buffer[:n]); err != nil {
				break
			}
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.links, l)
}

// look mutes a link on which a statement is sent that is not to be answered.
func (p *proxy) look(l *link, b []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	l.listens = l.listens || bytes.Contains(b, []byte("LISTEN "))
	if p.mute != "" && bytes.Contains(b, []byte(p.mute)) {
		l.muted = true
	}
}

func (p *proxy) passes(l *link) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return !l.muted
}

// swallow has the answers of statements that have a text swallowed from now on.
func (p *proxy) swallow(text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mute = text
}

// deafen swallows what the server tells connections that listen now.
func (p *proxy) deafen() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for l := range p.links {
		l.muted = l.muted || l.listens
	}
}

// cut breaks all connections, and refuses others until mend.
func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.broken = true
	for l := range p.links {
		l.client.Close()
		l.server.Close()
	}
}

// drop breaks all connections.
func (p *proxy) drop() {
	p.cut()
	p.mend()
}

// mend has connections be made and answered again.
func (p *proxy) mend() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.broken, p.mute = false, ""
}
