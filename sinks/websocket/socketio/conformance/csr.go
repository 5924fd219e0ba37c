package main

import (
	"context"
	"encoding/json"
	"maps"
	"time"

	"github.com/evosink/evosink/sinks/websocket/socketio"
)

// data is what csr keeps with a socket. A socket's data is replaced, never
// changed, so that it may be read while another connection recovers it.
type data map[string]json.RawMessage

// csrMount is the server with connection state recovery.
func csrMount() (mount, error) {
	e := engine(2*time.Second, 2*time.Second, 1_000_000)
	c := socketConfig(e)
	c.Recovery.Window = 2 * time.Second
	c.Recovery.SkipAuthorize = true
	srv, err := socketio.New(c)
	if err != nil {
		return mount{}, err
	}
	srv.Handle("/", socketio.Hooks{
		Authorize: countMiddleware,
		Connect:   welcome,
		Event: socketio.Mux{
			"join":        join,
			"set-data":    setData,
			"in":          relay(1, toRooms(in)),
			"to":          relay(1, toRooms(to)),
			"all":         relay(0, everybody),
			"bye":         bye,
			"volatile-in": relay(1, toRooms(volatileIn)),
			"drop":        drop,
		}.Serve,
	})
	return socketMount(srv), nil
}

// countMiddleware counts how often it has run for a socket.
func countMiddleware(_ context.Context, r *socketio.ConnectRequest) error {
	r.Data = data{"mw": json.RawMessage("1")} // a socket that is new has none
	return nil
}

func welcome(ctx context.Context, s *socketio.Socket) {
	_ = s.Emit(ctx, "welcome", value(map[string]any{
		"recovered": s.Recovered(),
		"rooms":     selfRooms(s),
		"data":      s.Data(),
	}))
}

func setData(ctx context.Context, s *socketio.Socket, e *socketio.Event) error {
	merged := maps.Clone(s.Data().(data))
	if err := decode(e, &merged); err != nil {
		return err
	}
	s.SetData(merged)
	return e.Ack(ctx)
}

func volatileIn(s *socketio.Socket, rooms []string) socketio.Selection {
	return in(s, rooms).Volatile()
}

// drop ends the connection without a packet.
func drop(_ context.Context, s *socketio.Socket, _ *socketio.Event) error {
	s.Client().Drop()
	return nil
}
