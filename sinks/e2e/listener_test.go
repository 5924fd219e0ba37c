package e2e_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// A listener is a plain socket.io client on one namespace: what the official ones receive, fast enough for a load.
type listener struct {
	t    *testing.T
	conn *websocket.Conn
}

// An envelope is what the tests read of an event.
type envelope struct {
	Event    string          `json:"event"`
	Instance string          `json:"instance"`
	ID       string          `json:"id"`
	DateTime string          `json:"date_time"`
	Data     json.RawMessage `json:"data"`

	IsLatest bool `json:"isLatest"` // of messages.set, as are those of Evolution API 2.3.7
	Progress int  `json:"progress"`
}

// listen joins the namespace / with the auth object given, and the global key.
func (p *process) listen(auth string) *listener {
	p.t.Helper()
	conn, _, err := websocket.DefaultDialer.Dial(p.ws("/socket.io/?EIO=4&transport=websocket&apikey="+key), nil)
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { conn.Close() })
	l := &listener{p.t, conn}
	l.conn.WriteMessage(websocket.TextMessage, []byte("40"+auth))
	for {
		switch frame := l.frame(30 * time.Second); {
		case strings.HasPrefix(frame, "40"):
			return l
		case !strings.HasPrefix(frame, "0"):
			p.t.Fatalf("joining / is answered by %q", frame)
		}
	}
}

// frame returns the next frame, "" when none has come within d.
func (l *listener) frame(d time.Duration) string {
	l.conn.SetReadDeadline(time.Now().Add(d))
	_, frame, err := l.conn.ReadMessage()
	if err != nil {
		return ""
	}
	return string(frame)
}

// next returns the next event, and false when none has come within d.
func (l *listener) next(d time.Duration) (envelope, bool) {
	l.t.Helper()
	for {
		frame := l.frame(d)
		switch {
		case frame == "":
			return envelope{}, false
		case frame == "2":
			l.conn.WriteMessage(websocket.TextMessage, []byte("3"))
		case strings.HasPrefix(frame, "42"):
			var packet [2]json.RawMessage
			var e envelope
			if err := json.Unmarshal([]byte(frame[2:]), &packet); err != nil {
				l.t.Fatalf("event %s: %v", frame, err)
			}
			if err := json.Unmarshal(packet[1], &e); err != nil {
				return envelope{Event: frame}, true // no envelope: an event of the sink's own
			}
			return e, true
		}
	}
}
