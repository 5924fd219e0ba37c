package main

import (
	"context"
	"encoding/json"
	"time"

	"github.com/evosink/evosink/sinks/websocket/socketio"
)

// authData lets the Connect hook see what the client sent to be authorised.
func authData(_ context.Context, r *socketio.ConnectRequest) error {
	r.Data = json.RawMessage(`{}`)
	if r.Auth != nil {
		r.Data = r.Auth
	}
	return nil
}

// showAuth emits what authData kept.
func showAuth(ctx context.Context, s *socketio.Socket) {
	_ = s.Emit(ctx, "auth", socketio.Raw(s.Data().(json.RawMessage)))
}

func messageBack(ctx context.Context, s *socketio.Socket, e *socketio.Event) error {
	return s.Emit(ctx, "message-back", e.Args...)
}

func messageWithAck(ctx context.Context, _ *socketio.Socket, e *socketio.Event) error {
	return e.Ack(ctx, e.Args...)
}

// messages are the handlers that the official suite expects.
func messages() socketio.Mux {
	return socketio.Mux{"message": messageBack, "message-with-ack": messageWithAck}
}

// officialMount is what the official v5 suite expects.
func officialMount() (mount, error) {
	c := engine(300*time.Millisecond, 200*time.Millisecond, 1_000_000)
	c.CORS = anyOrigin()
	srv, err := socketio.New(socketConfig(c))
	if err != nil {
		return mount{}, err
	}
	srv.Handle("/", socketio.Hooks{Authorize: authData, Connect: showAuth, Event: messages().Serve})
	srv.Handle("/custom", socketio.Hooks{Authorize: authData, Connect: showAuth})
	return socketMount(srv), nil
}
