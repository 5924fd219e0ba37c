// The bare loop over gorilla/websocket: what a broadcast costs without any
// protocol, queue or protection from slow clients. Events are prepared once,
// and a broadcast writes to one connection after the other.
package main

import (
	"log"
	"net/http"
	"slices"
	"sync"

	"github.com/evosink/evosink/sinks/websocket/peers/internal/control"
	"github.com/gorilla/websocket"
)

// A hub is the connections of each space.
type hub struct {
	upgrader websocket.Upgrader

	// mu guards the fields below.
	mu      sync.Mutex
	spaces  map[string][]*websocket.Conn
	clients int
}

func main() {
	h := &hub{spaces: make(map[string][]*websocket.Conn)}
	control.Server{Handler: h, Emit: h.emit, Clients: h.count}.Run()
}

func (h *hub) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	conn, err := h.upgrader.Upgrade(w, r, nil)
	if err != nil {
		return
	}
	defer conn.Close()
	space := r.FormValue("space")
	h.join(space, conn)
	defer h.leave(space, conn)
	for {
		if _, _, err := conn.NextReader(); err != nil {
			return
		}
	}
}

func (h *hub) join(space string, conn *websocket.Conn) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.spaces[space] = append(h.spaces[space], conn)
	h.clients++
}

func (h *hub) leave(space string, conn *websocket.Conn) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if i := slices.Index(h.spaces[space], conn); i >= 0 {
		h.spaces[space] = slices.Delete(h.spaces[space], i, i+1)
		h.clients--
	}
}

// emit writes under the lock: the simplest thing that is correct.
func (h *hub) emit(space string, t *control.Template) {
	text := append(append([]byte(`42["`+control.Name+`",`), t.JSON()...), ']')
	message, err := websocket.NewPreparedMessage(websocket.TextMessage, text)
	if err != nil {
		log.Fatal(err)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, conn := range h.spaces[space] {
		conn.WritePreparedMessage(message) // its reader notices
	}
}

func (h *hub) count() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.clients
}
