// Evosink's own socket.io server, with its defaults.
package main

import (
	"context"
	"log"

	"github.com/evosink/evosink/sinks/websocket/peers/internal/control"
	"github.com/evosink/evosink/sinks/websocket/socketio"
)

func main() {
	server, err := socketio.New(socketio.DefaultConfig())
	if err != nil {
		log.Fatal(err)
	}
	server.Handle("/", socketio.Hooks{})
	server.HandleFunc(func(string) bool { return true }, socketio.Hooks{})
	control.Server{
		Handler: server,
		Clients: func() int { return server.Stats().Sessions },
		Emit: func(space string, t *control.Template) {
			if n := server.Namespace(space); n != nil {
				n.Emit(context.Background(), control.Name, socketio.Raw(t.JSON()))
			}
		},
	}.Run()
}
