package socketio_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/evosink/evosink/sinks/websocket/socketio"
	"github.com/gorilla/websocket"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if url := os.Getenv(idleURL); url != "" {
		beIdle(url)
		return
	}
	goleak.VerifyTestMain(m)
}

// patience is how long a test waits for what must happen.
const patience = 20 * time.Second

var ctx = context.Background()

// serve starts a server for the test; adjust may change the configuration.
func serve(t testing.TB, adjust func(*socketio.Config)) (srv *socketio.Server, url string) {
	t.Helper()
	config := socketio.DefaultConfig()
	if adjust != nil {
		adjust(&config)
	}
	srv, err := socketio.New(config)
	if err != nil {
		t.Fatal(err)
	}
	return srv, newTestServer(t, srv)
}

// newTestServer makes srv reachable, and returns where.
func newTestServer(t testing.TB, srv *socketio.Server) (url string) {
	ts := httptest.NewServer(srv)
	t.Cleanup(func() {
		closeServer(t, srv)
		ts.Close()
		http.DefaultClient.CloseIdleConnections()
	})
	return ts.URL + "/socket.io/"
}

func closeServer(t testing.TB, srv *socketio.Server) {
	t.Helper()
	end, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := srv.Close(end); err != nil {
		t.Error("close:", err)
	}
}

// A peer is a raw client: it sends and sees Socket.IO packets as they stand on
// the wire. A binary message is shown as "<bytes>". Heartbeats are answered
// and not shown.
type peer struct {
	t    testing.TB
	wire wire
	in   chan string // closed when the connection is
}

// A wire carries Engine.IO packets.
type wire interface {
	send(packet string)
	sendBinary(data []byte)
	receive() (packets []string, err error) // binary ones are shown as "<bytes>"
	close()
}

// newPeer begins to read from w.
func newPeer(t testing.TB, w wire) *peer {
	p := &peer{t: t, wire: w, in: make(chan string, 1<<16)}
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer close(p.in)
		for {
			packets, err := w.receive()
			if err != nil {
				w.close()
				return
			}
			for _, packet := range packets {
				if !p.took(packet) {
					return
				}
			}
		}
	}()
	t.Cleanup(func() { w.close(); <-done })
	return p
}

// took handles one Engine.IO packet. It returns false after the last.
func (p *peer) took(packet string) bool {
	switch {
	case packet == "2":
		p.wire.send("3")
	case packet == "1":
		return false
	case strings.HasPrefix(packet, "4"):
		p.in <- packet[1:]
	case strings.HasPrefix(packet, "<"):
		p.in <- packet
	}
	return true
}

// dial connects by websocket.
func dial(t testing.TB, url string) *peer {
	t.Helper()
	p := newPeer(t, dialWire(t, url, "EIO=4"))
	return p
}

// dial3 connects by websocket as a client of revision 3.
func dial3(t testing.TB, url string) *peer {
	t.Helper()
	return newPeer(t, dialWire(t, url, "EIO=3"))
}

// refused reports whether a websocket with query is turned away.
func refused(t testing.TB, url, query string) bool {
	t.Helper()
	conn, resp, err := websocket.DefaultDialer.Dial("ws"+strings.TrimPrefix(url, "http")+"?transport=websocket&"+query, nil)
	if resp != nil {
		resp.Body.Close()
	}
	if err == nil {
		defer conn.Close()
		conn.ReadMessage() // an open packet may come, but not to stay
		_, _, err = conn.ReadMessage()
	}
	return err != nil
}

type wsWire struct{ conn *websocket.Conn }

func dialWire(t testing.TB, url, query string) *wsWire {
	t.Helper()
	conn, resp, err := websocket.DefaultDialer.Dial("ws"+strings.TrimPrefix(url, "http")+"?transport=websocket&"+query, nil)
	if err != nil {
		t.Fatal("dial:", err)
	}
	resp.Body.Close()
	if _, open, err := conn.ReadMessage(); err != nil || open[0] != '0' {
		t.Fatalf("open packet: %q, %v", open, err)
	}
	return &wsWire{conn}
}

func (w *wsWire) send(packet string)     { w.conn.WriteMessage(websocket.TextMessage, []byte(packet)) }
func (w *wsWire) sendBinary(data []byte) { w.conn.WriteMessage(websocket.BinaryMessage, data) }
func (w *wsWire) close()                 { w.conn.Close() }

func (w *wsWire) receive() ([]string, error) {
	kind, data, err := w.conn.ReadMessage()
	if kind == websocket.BinaryMessage {
		return []string{"<" + string(data) + ">"}, err
	}
	return []string{string(data)}, err
}

// poll connects by polling.
func poll(t testing.TB, url string) *peer {
	t.Helper()
	return newPeer(t, pollWire(t, url))
}

type httpWire struct {
	t      testing.TB
	url    string
	sid    string
	ctx    context.Context
	cancel context.CancelFunc
}

func pollWire(t testing.TB, url string) *httpWire {
	t.Helper()
	w := &httpWire{t: t, url: url + "?EIO=4&transport=polling"}
	w.ctx, w.cancel = context.WithCancel(ctx)
	body, err := w.do("GET", "")
	if err != nil {
		t.Fatal("handshake:", err)
	}
	var open struct{ SID string }
	if err := json.Unmarshal([]byte(body[1:]), &open); err != nil {
		t.Fatalf("open packet %q: %v", body, err)
	}
	w.sid = open.SID
	w.url += "&sid=" + open.SID
	return w
}

func (w *httpWire) do(method, body string) (string, error) {
	r, err := http.NewRequestWithContext(w.ctx, method, w.url, strings.NewReader(body))
	if err != nil {
		return "", err
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", resp.Status, text)
	}
	return string(text), err
}

func (w *httpWire) send(packet string) { w.do("POST", packet) }
func (w *httpWire) sendBinary(d []byte) {
	w.do("POST", "b"+encode64(d))
}

// close leaves like a client that is closed: without a poll in flight the server
// would not notice else.
func (w *httpWire) close() {
	w.cancel()
	resp, err := http.Post(w.url, "text/plain", strings.NewReader("1"))
	if err == nil {
		resp.Body.Close()
	}
}

func (w *httpWire) receive() ([]string, error) {
	body, err := w.do("GET", "")
	if err != nil {
		return nil, err
	}
	packets := strings.Split(body, "\x1e")
	for i, packet := range packets {
		if data, binary := strings.CutPrefix(packet, "b"); binary {
			packets[i] = "<" + decode64(w.t, data) + ">"
		}
	}
	return packets, nil
}

// transports runs test over each transport.
func transports(t *testing.T, test func(t *testing.T, connect func(testing.TB, string) *peer)) {
	t.Run("websocket", func(t *testing.T) { test(t, dial) })
	t.Run("polling", func(t *testing.T) { test(t, poll) })
}

// send sends Socket.IO packets.
func (p *peer) send(packets ...string) {
	for _, packet := range packets {
		p.wire.send("4" + packet)
	}
}

func (p *peer) sendBinary(data string) { p.wire.sendBinary([]byte(data)) }

// next returns the next packet.
func (p *peer) next() string {
	p.t.Helper()
	select {
	case packet, open := <-p.in:
		if !open {
			p.t.Fatal("the connection has ended")
		}
		return packet
	case <-time.After(patience):
		p.t.Fatal("nothing came")
	}
	return ""
}

// expect reads packets and compares them.
func (p *peer) expect(want ...string) {
	p.t.Helper()
	for _, w := range want {
		if got := p.next(); got != w {
			p.t.Fatalf("got %.200s\nwant %.200s", got, w)
		}
	}
}

// expectClosed waits for the end of the connection, and returns what came
// before.
func (p *peer) expectClosed() (rest []string) {
	p.t.Helper()
	deadline := time.After(patience)
	for {
		select {
		case packet, open := <-p.in:
			if !open {
				return rest
			}
			rest = append(rest, packet)
		case <-deadline:
			p.t.Fatal("the connection does not end")
		}
	}
}

// expectNothing sees that nothing has come that the server sent before it
// answered another event.
func (p *peer) expectNothing() {
	p.t.Helper()
	p.send(`2999["echo"]`)
	p.expect(`3999[]`)
}

// join joins a namespace ("/" or "/name") and returns the socket's id.
func (p *peer) join(namespace string) (sid string) {
	p.t.Helper()
	return p.joinWith(namespace, "").SID
}

type greeting struct{ SID, PID string }

// joinWith joins with an auth object.
func (p *peer) joinWith(namespace, auth string) (g greeting) {
	p.t.Helper()
	head := "0"
	if namespace != "/" {
		head += namespace + ","
	}
	p.send(head + auth)
	return p.greeting(head)
}

// greeting reads the answer to a CONNECT.
func (p *peer) greeting(head string) (g greeting) {
	p.t.Helper()
	answer := p.next()
	body, ok := strings.CutPrefix(answer, head)
	if !ok || json.Unmarshal([]byte(body), &g) != nil || g.SID == "" {
		p.t.Fatalf("CONNECT answered with %s", answer)
	}
	return g
}

// eventually waits until f returns true.
func eventually(t testing.TB, what string, f func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !f(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("never came to be: " + what)
		}
	}
}

// within returns what c delivers, in time.
func within[T any](t testing.TB, c <-chan T) (v T) {
	t.Helper()
	select {
	case v = <-c:
	case <-time.After(patience):
		t.Fatal("nothing came")
	}
	return v
}

func raw(s string) socketio.Arg { return socketio.Raw(json.RawMessage(s)) }

func num(i int) socketio.Arg { return raw(fmt.Sprint(i)) }

// echo is a Mux with an event that is acknowledged with its arguments, for
// tests to know where the server is.
func echo(more socketio.Mux) socketio.Handler {
	mux := socketio.Mux{"echo": func(ctx context.Context, _ *socketio.Socket, e *socketio.Event) error {
		return e.Ack(ctx, e.Args...)
	}}
	for name, h := range more {
		mux[name] = h
	}
	return mux.Serve
}

func sorted(s []string) []string { slices.Sort(s); return s }
