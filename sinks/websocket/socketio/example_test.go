package socketio_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"

	"github.com/evosink/evosink/sinks/websocket/socketio"
	"github.com/gorilla/websocket"
)

// A chat server: what one client says goes to all.
func Example() {
	srv, err := socketio.New(socketio.DefaultConfig())
	if err != nil {
		log.Fatal(err)
	}
	srv.Handle("/chat", socketio.Hooks{
		Connect: func(ctx context.Context, s *socketio.Socket) {
			s.Emit(ctx, "welcome", socketio.String("say something"))
		},
		Event: socketio.Mux{
			"say": func(ctx context.Context, s *socketio.Socket, e *socketio.Event) error {
				return s.Namespace().Emit(ctx, "said", e.Args...)
			},
		}.Serve,
	})
	mux := http.NewServeMux()
	mux.Handle("/socket.io/", srv)
	web := httptest.NewServer(mux)
	defer web.Close()
	defer srv.Close(context.Background())

	client := connect(web.URL, "/chat", `{}`)
	defer client.Close()
	fmt.Println(receive(client))
	client.WriteMessage(websocket.TextMessage, []byte(`42/chat,["say",{"text":"hello"}]`))
	fmt.Println(receive(client))
	// Output:
	// 42/chat,["welcome","say something"]
	// 42/chat,["said",{"text":"hello"}]
}

// A namespace for each tenant, which only the tenant's token opens. A
// client with another token learns no more than one that asks for a namespace
// that is not there.
func ExampleServer_HandleFunc() {
	tokens := map[string]string{"/sales": "secret"}
	srv, err := socketio.New(socketio.DefaultConfig())
	if err != nil {
		log.Fatal(err)
	}
	anything := func(string) bool { return true }
	srv.HandleFunc(anything, socketio.Hooks{
		Authorize: func(_ context.Context, r *socketio.ConnectRequest) error {
			var auth struct {
				Token  string
				Events []string
			}
			if json.Unmarshal(r.Auth, &auth) != nil || auth.Token == "" || auth.Token != tokens[r.Namespace] {
				return socketio.ErrInvalidNamespace()
			}
			if len(auth.Events) > 0 { // takes only these
				all := " " + strings.Join(auth.Events, " ") + " "
				r.Filter = func(event string) bool { return strings.Contains(all, " "+event+" ") }
			}
			return nil
		},
		Connect: func(ctx context.Context, s *socketio.Socket) { s.Emit(ctx, "ready") },
	})
	web := httptest.NewServer(srv)
	defer web.Close()
	defer srv.Close(context.Background())

	client := connect(web.URL, "/sales", `{"token":"secret","events":["message"]}`)
	defer client.Close()
	fmt.Println(receive(client))
	sales := srv.Namespace("/sales") // nil if no socket is in it
	sales.Emit(context.Background(), "typing")
	sales.Emit(context.Background(), "message", socketio.Raw(json.RawMessage(`{"text":"hi"}`)))
	fmt.Println(receive(client))
	client.WriteMessage(websocket.TextMessage, []byte(`40/support,{"token":"guess"}`))
	fmt.Println(receive(client))
	// Output:
	// 42/sales,["ready"]
	// 42/sales,["message",{"text":"hi"}]
	// 44/support,{"message":"Invalid namespace"}
}

// Asking a client, and what happens when it does not answer.
func ExampleSocket_Call() {
	srv, err := socketio.New(socketio.DefaultConfig())
	if err != nil {
		log.Fatal(err)
	}
	result := make(chan string)
	srv.Handle("/", socketio.Hooks{Connect: func(ctx context.Context, s *socketio.Socket) {
		answer, err := s.Call(ctx, "your name?")
		if err == nil {
			name, _ := answer[0].Text()
			result <- "hello " + name
		}
		limited, cancel := context.WithTimeout(ctx, 10*time.Millisecond)
		defer cancel()
		if _, err := s.Call(limited, "your age?"); errors.Is(err, socketio.ErrAckTimeout) {
			result <- "no answer"
		}
	}})
	web := httptest.NewServer(srv)
	defer web.Close()
	defer srv.Close(context.Background())

	client := connect(web.URL, "", `{}`)
	defer client.Close()
	fmt.Println(receive(client))
	client.WriteMessage(websocket.TextMessage, []byte(`430["Ada"]`))
	fmt.Println(<-result)
	fmt.Println(<-result)
	// Output:
	// 420["your name?"]
	// hello Ada
	// no answer
}

// connect is a client that joins a namespace.
func connect(url, namespace, auth string) *websocket.Conn {
	c, _, err := websocket.DefaultDialer.Dial("ws"+strings.TrimPrefix(url, "http")+"/socket.io/?EIO=4&transport=websocket", nil)
	if err != nil {
		log.Fatal(err)
	}
	receive(c) // the open packet
	if namespace != "" {
		namespace += ","
	}
	c.WriteMessage(websocket.TextMessage, []byte("40"+namespace+auth))
	receive(c) // the answer
	return c
}

func receive(c *websocket.Conn) string {
	_, data, err := c.ReadMessage()
	if err != nil {
		log.Fatal(err)
	}
	return string(data)
}
