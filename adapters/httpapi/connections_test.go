package httpapi_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/evosink/evosink/adapters/httpapi"
)

// A door is a listener with limits, and what it logs.
type door struct {
	t       *testing.T
	address string
	mu      sync.Mutex
	log     bytes.Buffer
}

func (d *door) Write(p []byte) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.log.Write(p)
}

func (d *door) logged(text string) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return strings.Count(d.log.String(), text)
}

// open serves an API with limits of connections. GET /hijack takes its connection over and keeps it.
func open(t *testing.T, limit, perAddress int, proxies ...string) *door {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("needs the addresses 127.0.0.0/8 on the loopback interface, as Linux has them")
	}
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	d := &door{t: t, address: l.Addr().String()}
	s := newServer(t, func(o *httpapi.Options) { o.Config.Server.TrustedProxies = proxies })
	s.Mount("/hijack", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		if _, ok := conn.(interface {
			syscall.Conn
			CloseWrite() error
		}); !ok {
			t.Errorf("a connection that is taken over is a %T, which cannot do what one of TCP can", conn)
		}
		io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
		go func() {
			defer conn.Close()
			io.Copy(io.Discard, conn)
		}()
	}))
	c := httpapi.Default().Server
	c.MaxConnections, c.MaxConnectionsPerAddress, c.TrustedProxies = limit, perAddress, proxies
	server := httpapi.NewServer(c, s, zerolog.New(d))
	ended := make(chan error, 1)
	go func() { ended <- httpapi.Serve(server, l, c) }()
	t.Cleanup(func() {
		server.Close()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return d
}

// A peer is a connection to a door.
type peer struct {
	net.Conn
	in *bufio.Reader
}

// dial connects from an address of the loopback interface.
func (d *door) dial(from string) *peer {
	d.t.Helper()
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}, Timeout: 10 * time.Second}
	conn, err := dialer.Dial("tcp4", d.address)
	if err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(30 * time.Second))
	return &peer{conn, bufio.NewReader(conn)}
}

// get sends a request and returns status and body, 0 if the connection has ended.
func (p *peer) get(path string, header ...string) (status int, body string) {
	fmt.Fprintf(p, "GET %s HTTP/1.1\r\nHost: x\r\n%s\r\n", path, strings.Join(header, ""))
	r, err := http.ReadResponse(p.in, nil)
	if err != nil {
		return 0, err.Error()
	}
	text, _ := io.ReadAll(r.Body)
	r.Body.Close()
	return r.StatusCode, string(text)
}

func (p *peer) expect(t *testing.T, path string, status int, parts ...string) {
	t.Helper()
	got, body := p.get(path)
	if got != status {
		t.Errorf("%s was answered %d %s, want %d", path, got, body, status)
	}
	for _, part := range parts {
		if !strings.Contains(body, part) {
			t.Errorf("%s was answered %s\n    which lacks %s", path, body, part)
		}
	}
}

func TestBeyondTheLimitOfConnectionsOnlyHealthChecksAreAnswered(t *testing.T) {
	d := open(t, 20, 15)
	var held []*peer
	for i := range 20 {
		p := d.dial(fmt.Sprint("127.0.0.", 2+i%2))
		p.expect(t, "/hijack", 200)
		held = append(held, p)
	}
	for range 50 { // each takes the place of an older one beyond the limit
		d.dial("127.0.0.4").expect(t, "/", 503, "All 20 connections", "server.max_connections")
		d.dial("127.0.0.4").expect(t, "/healthz", 200)
		d.dial("127.0.0.5").expect(t, "/readyz", 200)
		d.dial("127.0.0.5").expect(t, "/metrics", 401)
	}
	if n := d.logged("127.0.0.4"); n != 1 {
		t.Errorf("%d lines about an address", n)
	}
	for _, p := range held[:10] {
		p.Close()
	}
	waitFor(t, "a place", func() bool { status, _ := d.dial("127.0.0.4").get("/"); return status == 200 })
}

func TestPeersThatSayNothingBeyondTheLimitDoNotKeepHealthChecksOut(t *testing.T) {
	d := open(t, 20, 20)
	for range 20 {
		d.dial("127.0.0.2").expect(t, "/hijack", 200)
	}
	for i := range 100 {
		d.dial(fmt.Sprint("127.0.0.", 3+i%5))
	}
	d.dial("127.0.0.9").expect(t, "/healthz", 200)
	d.dial("127.0.0.3").expect(t, "/readyz", 200)
}

func TestOneAddressDoesNotTakeAllConnections(t *testing.T) {
	d := open(t, 20, 5)
	var held []*peer
	for range 5 {
		p := d.dial("127.0.0.2")
		p.expect(t, "/hijack", 200)
		held = append(held, p)
	}
	for range 50 {
		d.dial("127.0.0.2").expect(t, "/", 429, "127.0.0.2 has 5 connections", "server.max_connections_per_address", "SERVER_TRUSTED_PROXIES")
	}
	d.dial("127.0.0.2").expect(t, "/healthz", 200)
	d.dial("127.0.0.3").expect(t, "/", 200)
	held[0].Close()
	waitFor(t, "a place", func() bool { status, _ := d.dial("127.0.0.2").get("/"); return status == 200 })
}

func TestConnectionsWithoutARequestMakeRoom(t *testing.T) {
	d := open(t, 10, 10)
	idle, silent := d.dial("127.0.0.2"), d.dial("127.0.0.2")
	idle.expect(t, "/", 200)
	for range 8 {
		d.dial("127.0.0.2").expect(t, "/hijack", 200)
	}
	d.dial("127.0.0.3").expect(t, "/hijack", 200)
	d.dial("127.0.0.3").expect(t, "/hijack", 200)
	for name, p := range map[string]*peer{"idle": idle, "silent": silent} {
		if _, err := p.in.ReadByte(); err == nil {
			t.Errorf("the %s connection is still there", name)
		}
	}
	d.dial("127.0.0.3").expect(t, "/", 503)
}

func TestClientsOfATrustedProxyCountByTheirOwnAddress(t *testing.T) {
	d := open(t, 100, 5, "127.0.0.2")
	var held []*peer
	client := func(addr string) string { return "X-Forwarded-For: " + addr + "\r\n" }
	for i := range 5 {
		p := d.dial("127.0.0.2")
		if status, body := p.get("/hijack", client("1.1.1.1")); status != 200 {
			t.Fatalf("client %d: %d %s", i, status, body)
		}
		held = append(held, p)
	}
	p := d.dial("127.0.0.2")
	for range 20 { // on one connection of the proxy, which stays open
		if status, body := p.get("/", client("1.1.1.1")); status != 429 || !strings.Contains(body, "1.1.1.1 has 5") {
			t.Fatalf("the sixth was answered %d %s", status, body)
		}
		if status, body := p.get("/", client("2.2.2.2")); status != 200 {
			t.Fatalf("another client was answered %d %s", status, body)
		}
		if status, body := p.get("/"); status != 200 {
			t.Fatalf("the proxy's own request was answered %d %s", status, body)
		}
	}
	held[0].Close()
	waitFor(t, "a place", func() bool { status, _ := p.get("/", client("1.1.1.1")); return status == 200 })
}

func TestAReverseProxyThatIsNotListedIsALineInTheLog(t *testing.T) {
	const line = "list it in SERVER_TRUSTED_PROXIES"
	d := open(t, 100, 50, "127.0.0.2")
	ask := func(from string, header ...string) {
		t.Helper()
		if status, body := d.dial(from).get("/", header...); status != 200 {
			t.Fatalf("from %s: %d %s", from, status, body)
		}
	}
	ask("127.0.0.1")
	ask("127.0.0.2", "X-Forwarded-For: 1.1.1.1\r\n")
	if n := d.logged(line); n != 0 {
		t.Errorf("%d lines about clients of their own and a proxy that is listed", n)
	}
	for range 10 {
		ask("127.0.0.3", "X-Forwarded-For: 1.1.1.1\r\n")
	}
	if n := d.logged("requests from 127.0.0.3 "); n != 1 || d.logged(line) != 1 {
		t.Errorf("%d lines about a proxy that is not listed, want 1", n)
	}
	for i := range 20 { // strangers cannot fill the log with it
		ask(fmt.Sprint("127.0.1.", i+1), "X-Forwarded-For: 1.1.1.1\r\n")
	}
	if n := d.logged(line); n > 3 {
		t.Errorf("%d lines about strangers", n)
	}
}
