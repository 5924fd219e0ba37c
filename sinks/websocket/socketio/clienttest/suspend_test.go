//go:build unix

package clienttest

import (
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// A server that stood still for longer than its heartbeat, with its host for
// instance, knows nothing about its clients when it goes on. Beside that the
// test itself has 200 ms to answer a ping, which a loaded machine does not
// always give it: it may try again.
func TestASuspendedServerKeepsItsClients(t *testing.T) {
	url, server := conformance(t)
	var err error
	for range 5 {
		if err = suspended(url, server); err == nil {
			return
		}
	}
	t.Error(err)
}

// suspended returns an error if a client's connection does not outlive that the
// server is suspended.
func suspended(url string, server *os.Process) error {
	ws, _, err := websocket.DefaultDialer.Dial(strings.Replace(url, "http", "ws", 1)+"/engine.io/?EIO=4&transport=websocket", nil)
	if err != nil {
		return err
	}
	defer ws.Close()
	if err := answerPings(ws, 2); err != nil {
		return err
	}
	if err := server.Signal(syscall.SIGSTOP); err != nil {
		return err
	}
	time.Sleep(time.Second) // of 300 ms between pings and 200 ms for a pong
	if err := server.Signal(syscall.SIGCONT); err != nil {
		return err
	}
	return answerPings(ws, 5)
}

// answerPings answers the next n pings of the server.
func answerPings(ws *websocket.Conn, n int) error {
	for n > 0 {
		_, data, err := ws.ReadMessage()
		if err != nil {
			return err
		}
		if string(data) != "2" {
			continue
		}
		if err := ws.WriteMessage(websocket.TextMessage, []byte("3")); err != nil {
			return err
		}
		n--
	}
	return nil
}
