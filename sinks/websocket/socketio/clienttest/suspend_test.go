//go:build unix

package clienttest

import (
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// A server that stood still for longer than its heartbeat, with its host for
// instance, knows nothing about its clients when it goes on.
func TestASuspendedServerKeepsItsClients(t *testing.T) {
	url, server := conformance(t)
	ws, _, err := websocket.DefaultDialer.Dial(strings.Replace(url, "http", "ws", 1)+"/engine.io/?EIO=4&transport=websocket", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer ws.Close()
	answerPings(t, ws, 2)
	if err := server.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	time.Sleep(time.Second) // of 300 ms between pings and 200 ms for a pong
	if err := server.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	answerPings(t, ws, 5)
}

// answerPings answers the next n pings of the server.
func answerPings(t *testing.T, ws *websocket.Conn, n int) {
	t.Helper()
	for n > 0 {
		_, data, err := ws.ReadMessage()
		if err != nil {
			t.Fatal(err)
		}
		if string(data) != "2" {
			continue
		}
		if err := ws.WriteMessage(websocket.TextMessage, []byte("3")); err != nil {
			t.Fatal(err)
		}
		n--
	}
}
