package websocket_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// client speaks socket.io over a websocket, one namespace per client. It answers heartbeats by itself.
type client struct {
	t         *testing.T
	conn      *websocket.Conn
	namespace string

	frames chan string // what the server sent, but for pings and events
	mu     sync.Mutex
	// mu guards the fields below.
	events []received
	offset string // of the last event that had one
	more   chan struct{}
}

type received struct {
	name string
	data map[string]json.RawMessage
}

// dial opens a connection to the server's /socket.io/. query is appended to the handshake's.
func dial(t *testing.T, server *httptest.Server, query string, header http.Header) (*client, error) {
	t.Helper()
	url := "ws" + strings.TrimPrefix(server.URL, "http") + "/socket.io/?EIO=4&transport=websocket" + query
	conn, answer, err := websocket.DefaultDialer.Dial(url, header)
	if err != nil {
		return nil, refused{answer, err}
	}
	c := &client{t: t, conn: conn, frames: make(chan string, 100), more: make(chan struct{}, 1)}
	t.Cleanup(func() { conn.Close() })
	if _, open, err := conn.ReadMessage(); err != nil || open[0] != '0' {
		t.Fatalf("no open packet: %s, %v", open, err)
	}
	go c.read()
	return c, nil
}

type refused struct {
	answer *http.Response
	error
}

func (c *client) read() {
	defer close(c.frames)
	for {
		_, frame, err := c.conn.ReadMessage()
		if err != nil {
			return
		}
		switch {
		case string(frame) == "2":
			c.conn.WriteMessage(websocket.TextMessage, []byte("3"))
		case strings.HasPrefix(string(frame), "42"):
			c.record(string(frame[2:]))
		default:
			c.frames <- string(frame)
		}
	}
}

func (c *client) record(packet string) {
	if packet[0] == '/' {
		_, packet, _ = strings.Cut(packet, ",")
	}
	var args []json.RawMessage
	r := received{}
	if err := json.Unmarshal([]byte(packet), &args); err != nil {
		c.t.Errorf("event %q: %v", packet, err)
		return
	}
	json.Unmarshal(args[0], &r.name)
	if r.name == "application.startup" {
		return // comes at some time, or came before
	}
	json.Unmarshal(args[1], &r.data)
	c.mu.Lock()
	defer c.mu.Unlock()
	json.Unmarshal(args[len(args)-1], &c.offset) // stays what it was unless that is a string
	c.events = append(c.events, r)
	select {
	case c.more <- struct{}{}:
	default:
	}
}

// join connects to a namespace and returns the answer: "40…" or "44…".
func (c *client) join(namespace, auth string) string {
	c.t.Helper()
	c.namespace = namespace
	prefix := ""
	if namespace != "/" {
		prefix = namespace + ","
	}
	c.conn.WriteMessage(websocket.TextMessage, []byte("40"+prefix+auth))
	return c.frame()
}

// frame returns the next frame that is no event, "" if the connection has ended.
func (c *client) frame() string {
	c.t.Helper()
	select {
	case f := <-c.frames:
		return f
	case <-time.After(30 * time.Second):
		c.t.Fatal("the server sends nothing")
		return ""
	}
}

// ticket returns the auth by which a socket.io client of today comes back to the socket of the answer to its CONNECT, with more
// of its own: "" or members of an object.
func (c *client) ticket(answer, more string) string {
	c.t.Helper()
	var given struct{ PID string }
	if err := json.Unmarshal([]byte(answer[strings.Index(answer, "{"):]), &given); err != nil || given.PID == "" {
		c.t.Fatalf("no private id in %s", answer)
	}
	if more != "" {
		more = "," + more
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return fmt.Sprintf(`{"pid":%q,"offset":%q%s}`, given.PID, c.offset, more)
}

// ids returns the ids of the events received so far.
func (c *client) ids() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var out []string
	for _, e := range c.events {
		var id string
		json.Unmarshal(e.data["id"], &id)
		out = append(out, id)
	}
	return out
}

// await returns the first n events. It gives up when nothing comes any more.
func (c *client) await(n int) []received {
	c.t.Helper()
	for {
		c.mu.Lock()
		events := c.events
		c.mu.Unlock()
		if len(events) >= n {
			return events[:n]
		}
		select {
		case <-c.more:
		case <-time.After(20 * time.Second):
			c.t.Fatalf("%d of %d events arrived", len(events), n)
		}
	}
}
