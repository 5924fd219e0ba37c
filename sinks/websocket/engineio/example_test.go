package engineio_test

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"

	"github.com/evosink/evosink/sinks/websocket/engineio"
	"github.com/gorilla/websocket"
)

// An echo sends every message back.
type echo struct{ session *engineio.Session }

func (e echo) Message(m engineio.Message) {
	if err := e.session.Send(m); err != nil {
		log.Print(err) // the session has ended meanwhile
	}
}

func (e echo) Closed(reason engineio.Reason, err error) {}

// A server that echoes, and a client of it on a bare websocket.
func Example() {
	config := engineio.DefaultConfig()
	config.Accept = func(s *engineio.Session, r *http.Request) engineio.Handler { return echo{s} }
	server, err := engineio.New(config)
	if err != nil {
		log.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/engine.io/", server)
	web := httptest.NewServer(mux)
	defer web.Close()
	defer server.Close(context.Background())

	url := "ws" + web.URL[len("http"):] + "/engine.io/?EIO=4&transport=websocket"
	client, _, err := websocket.DefaultDialer.Dial(url, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	client.ReadMessage() // the open packet
	client.WriteMessage(websocket.TextMessage, []byte("4hello"))
	_, packet, err := client.ReadMessage()
	fmt.Println(string(packet), err)
	// Output: 4hello <nil>
}

// One batch, any number of sessions.
func ExampleBatch() {
	var sessions []*engineio.Session // those that Accept was called with
	batch := engineio.NewBatch(engineio.Message{Data: []byte(`news`)})
	for _, session := range sessions {
		if err := session.SendBatch(batch); err != nil {
			continue // it has ended; its handler hears of it
		}
	}
}
