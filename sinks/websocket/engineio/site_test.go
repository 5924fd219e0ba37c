package engineio_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/evosink/evosink/sinks/websocket/engineio"
)

// patience is how long a test waits for what must happen, in real time or that
// of a bubble.
const patience = time.Minute

// A site is a server behind a real listener, with an application that keeps
// what it hears.
type site struct {
	*engineio.Server
	http     *httptest.Server
	net      func() (net.Conn, error) // connects to it
	sessions chan *session
}

// A session is the application's end of one.
type session struct {
	*engineio.Session
	request  *http.Request
	messages chan engineio.Message
	closed   chan ending
	echo     bool
}

type ending struct {
	reason engineio.Reason
	err    error
}

func (s *session) Message(m engineio.Message) {
	if s.echo {
		s.Send(m)
		return
	}
	s.messages <- m
}

func (s *session) Closed(reason engineio.Reason, err error) { s.closed <- ending{reason, err} }

// open starts a site; it closes with the test.
func open(t testing.TB, change func(*engineio.Config)) *site {
	t.Helper()
	s := newSite(t, change)
	s.http = httptest.NewServer(s.Server)
	s.net = func() (net.Conn, error) { return net.Dial("tcp", s.http.Listener.Addr().String()) }
	t.Cleanup(func() { s.close(t) })
	return s
}

// inBubble runs a test in a bubble of fake time, with a site on pipes.
func inBubble(t *testing.T, change func(*engineio.Config), test func(t *testing.T, s *site)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, change)
		listener := newPipes()
		s.net = listener.dial
		s.http = httptest.NewUnstartedServer(s.Server)
		s.http.Listener.Close()
		s.http.Listener = listener
		s.http.Start()
		s.http.Client().Transport = &http.Transport{
			DialContext: func(context.Context, string, string) (net.Conn, error) { return listener.dial() },
		}
		defer s.close(t)
		test(t, s)
	})
}

// pipes is a listener on net.Pipe.
type pipes struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func newPipes() *pipes { return &pipes{conns: make(chan net.Conn), done: make(chan struct{})} }

func (p *pipes) dial() (net.Conn, error) {
	client, server := net.Pipe()
	select {
	case p.conns <- server:
		return client, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case conn := <-p.conns:
		return conn, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	p.once.Do(func() { close(p.done) })
	return nil
}

func (p *pipes) Addr() net.Addr { return pipeAddr{} }

type pipeAddr struct{}

func (pipeAddr) Network() string { return "pipe" }
func (pipeAddr) String() string  { return "pipe" }

// echoing is a change for open that sends every message back.
func echoing(c *engineio.Config) {
	accept := c.Accept
	c.Accept = func(s *engineio.Session, r *http.Request) engineio.Handler {
		handler := accept(s, r)
		handler.(*session).echo = true
		return handler
	}
}

func newSite(t testing.TB, change func(*engineio.Config)) *site {
	t.Helper()
	s := &site{sessions: make(chan *session, 1000)}
	config := engineio.DefaultConfig()
	config.Accept = func(es *engineio.Session, r *http.Request) engineio.Handler {
		app := &session{
			Session:  es,
			request:  r,
			messages: make(chan engineio.Message, 100_000),
			closed:   make(chan ending, 2),
		}
		s.sessions <- app
		return app
	}
	if change != nil {
		change(&config)
	}
	server, err := engineio.New(config)
	if err != nil {
		t.Fatal(err)
	}
	s.Server = server
	return s
}

func (s *site) close(t testing.TB) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	s.http.CloseClientConnections()
	if err := s.Close(ctx); err != nil {
		t.Error(err)
	}
	s.http.Close()
}

// session returns the application's end of the session opened last.
func (s *site) session(t testing.TB) *session {
	t.Helper()
	return receive(t, s.sessions, "a session")
}

// receive returns what arrives on c.
func receive[T any](t testing.TB, c <-chan T, what string) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(patience):
		t.Fatalf("%s did not come", what)
		panic("unreachable")
	}
}

// nothing fails if something arrives on c.
func nothing[T any](t testing.TB, c <-chan T, what string) {
	t.Helper()
	select {
	case v := <-c:
		t.Fatalf("%s came: %v", what, v)
	default:
	}
}

func (s *session) wantText(t testing.TB, want string) {
	t.Helper()
	if m := receive(t, s.messages, "message "+shorten(want)); m.Binary || string(m.Data) != want {
		t.Fatalf("message is %s (binary %v), want %s", shorten(string(m.Data)), m.Binary, shorten(want))
	}
}

func (s *session) wantBinary(t testing.TB, want string) {
	t.Helper()
	if m := receive(t, s.messages, "binary message"); !m.Binary || string(m.Data) != want {
		t.Fatalf("message is %q (binary %v), want binary %q", m.Data, m.Binary, want)
	}
}

func (s *session) wantClosed(t testing.TB, want engineio.Reason) {
	t.Helper()
	if end := receive(t, s.closed, "the end, "+string(want)); end.reason != want {
		t.Fatalf("closed with %q (%v), want %q", end.reason, end.err, want)
	}
	if err := s.Send(engineio.Message{}); !errors.Is(err, engineio.ErrClosed) {
		t.Fatalf("Send after the end returns %v", err)
	}
}

func text(data string) engineio.Message { return engineio.Message{Data: []byte(data)} }

func blob(data string) engineio.Message {
	return engineio.Message{Data: []byte(data), Binary: true}
}

func shorten(s string) string {
	if len(s) > 80 {
		return s[:77] + "..."
	}
	return s
}

// An answer is an HTTP response, read.
type answer struct {
	status int
	header http.Header
	body   string
}

// ask sends a request with query "EIO=4&transport=polling&" and more.
func (s *site) ask(t testing.TB, method, query, body string, headers ...string) answer {
	t.Helper()
	a, err := s.try(method, query, strings.NewReader(body), headers...)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func (s *site) try(method, query string, body io.Reader, headers ...string) (answer, error) {
	request, err := http.NewRequest(method, s.http.URL+"/?"+query, body)
	if err != nil {
		return answer{}, err
	}
	request.Header.Set("Accept-Encoding", "identity")
	for i := 0; i < len(headers); i += 2 {
		request.Header.Set(headers[i], headers[i+1])
	}
	response, err := s.http.Client().Do(request)
	if err != nil {
		return answer{}, err
	}
	defer response.Body.Close()
	data, err := io.ReadAll(response.Body)
	return answer{response.StatusCode, response.Header, string(data)}, err
}

const pollingQuery = "EIO=4&transport=polling"

// A poller is a client on polling.
type poller struct {
	site  *site
	query string
	sid   string
}

// poll opens a session over polling.
func (s *site) poll(t testing.TB) (*poller, *session) {
	t.Helper()
	return s.pollAs(t, pollingQuery)
}

func (s *site) pollAs(t testing.TB, query string) (*poller, *session) {
	t.Helper()
	a := s.ask(t, "GET", query, "")
	_, rest, _ := strings.Cut(a.body, `"sid":"`)
	sid, _, ok := strings.Cut(rest, `"`)
	if a.status != http.StatusOK || !ok {
		t.Fatalf("handshake answered with %d %s", a.status, a.body)
	}
	return &poller{s, query + "&sid=" + sid, sid}, s.session(t)
}

func (p *poller) get(t testing.TB) answer {
	t.Helper()
	return p.site.ask(t, "GET", p.query, "")
}

func (p *poller) post(t testing.TB, body string) answer {
	t.Helper()
	return p.site.ask(t, "POST", p.query, body)
}

// later sends a GET and returns its answer when it comes; it waits until the
// server has it pending.
func (p *poller) later(t testing.TB, s *session) <-chan answer {
	t.Helper()
	answers := make(chan answer, 1)
	go func() {
		a, err := p.site.try("GET", p.query, nil)
		if err != nil {
			a.body = err.Error()
		}
		answers <- a
	}()
	until(t, s.Writable, "a pending poll")
	return answers
}

// until waits for a condition.
func until(t testing.TB, condition func() bool, what string) {
	t.Helper()
	for deadline := time.Now().Add(patience); !condition(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

func (a answer) want(t testing.TB, status int, body string) {
	t.Helper()
	if a.status != status || a.body != body {
		t.Fatalf("answer is %d %s, want %d %s", a.status, shorten(a.body), status, shorten(body))
	}
}

var noDeadline time.Time
