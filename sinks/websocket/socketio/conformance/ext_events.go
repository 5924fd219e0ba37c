package main

import (
	"context"
	"encoding/json"
	"sync"
	"time"

	"github.com/evosink/evosink/sinks/websocket/socketio"
)

// ext is what the handlers of /ext/ share.
type ext struct {
	server  *socketio.Server
	reasons *reasons
	waiting sync.WaitGroup // for acknowledgements
}

// close ends the server, then waits for the calls that waited for acknowledgements.
func (x *ext) close(ctx context.Context) error {
	err := x.server.Close(ctx)
	x.waiting.Wait()
	return err
}

// middleware refuses one event.
func (x *ext) middleware(next socketio.Handler) socketio.Handler {
	return func(ctx context.Context, s *socketio.Socket, e *socketio.Event) error {
		if e.Name == "forbidden" {
			return errForbidden
		}
		return next(ctx, s, e)
	}
}

// events are the handlers of "/".
func (x *ext) events() socketio.Mux {
	mux := messages()
	for name, h := range (socketio.Mux{
		"call-me":       callMe,
		"call-timeout":  callTimeout,
		"broadcast-ack": x.broadcastAck,
		"join":          join,
		"leave":         leave,
		"rooms":         rooms,
		"to":            relay(1, toRooms(to)),
		"in":            relay(1, toRooms(in)),
		"except":        relay(1, toRooms(except)),
		"broadcast":     relay(0, others),
		"all":           relay(0, everybody),
		"shout":         relay(1, x.namespace),
		"burst":         burst,
		"burst-binary":  burstBinary,
		"volatile":      volatile,
		"bye":           bye,
		"state":         state,
		"reason":        x.reasons.tell,
	}) {
		mux[name] = h
	}
	return mux
}

func others(s *socketio.Socket, _ *socketio.Event) (socketio.Selection, error) {
	return s.Broadcast(), nil
}

// namespace selects all sockets in the namespace named by the first argument.
func (x *ext) namespace(_ *socketio.Socket, e *socketio.Event) (socketio.Selection, error) {
	name, _ := e.Arg(0).Text()
	n := x.server.Namespace(name)
	if n == nil {
		return socketio.Selection{}, errArguments
	}
	return n.To(), nil
}

func rooms(ctx context.Context, s *socketio.Socket, e *socketio.Event) error {
	return e.Ack(ctx, value(selfRooms(s)))
}

func callMe(ctx context.Context, s *socketio.Socket, e *socketio.Event) error {
	return s.CallFunc(ctx, func(result []socketio.Arg, err error) {
		if err == nil {
			_ = s.Emit(ctx, "call-result", result...)
		}
	}, "call", e.Args...)
}

func callTimeout(ctx context.Context, s *socketio.Socket, e *socketio.Event) error {
	var ms int
	if err := decode(e, &ms); err != nil {
		return err
	}
	limited, cancel := context.WithTimeout(ctx, time.Duration(ms)*time.Millisecond)
	err := s.CallFunc(limited, func(_ []socketio.Arg, err error) {
		cancel()
		result := "ok"
		if err != nil {
			result = "timeout"
		}
		_ = s.Emit(ctx, "call-timeout-result", socketio.String(result))
	}, "never")
	if err != nil {
		cancel()
	}
	return err
}

func (x *ext) broadcastAck(ctx context.Context, s *socketio.Socket, e *socketio.Event) error {
	var names roomNames
	var ms int
	if err := decode(e, &names, &ms); err != nil {
		return err
	}
	x.waiting.Go(func() {
		limited, cancel := context.WithTimeout(ctx, time.Duration(ms)*time.Millisecond)
		defer cancel()
		answers, err := s.Namespace().To(names...).Call(limited, "ask")
		_ = s.Emit(ctx, "broadcast-ack-result", value(err != nil), firsts(answers))
	})
	return nil
}

// firsts returns the list of the first argument of every answer.
func firsts(answers []socketio.Answer) socketio.Arg {
	list := make([]socketio.Arg, len(answers))
	for i, a := range answers {
		list[i] = socketio.Raw(json.RawMessage("null"))
		if len(a.Args) > 0 {
			list[i] = a.Args[0]
		}
	}
	return socketio.List(list...)
}

func burst(ctx context.Context, s *socketio.Socket, e *socketio.Event) error {
	var n int
	if err := decode(e, &n); err != nil {
		return err
	}
	for i := range n {
		_ = s.Emit(ctx, "seq", value(i))
	}
	return nil
}

func burstBinary(ctx context.Context, s *socketio.Socket, e *socketio.Event) error {
	var n int
	if err := decode(e, &n); err != nil {
		return err
	}
	for i := range n {
		args := []socketio.Arg{value(i)}
		if i%2 == 0 {
			args = append(args, socketio.Binary([]byte{byte(i), 1, 2}))
		}
		_ = s.Emit(ctx, "seq", args...)
	}
	return nil
}

func volatile(ctx context.Context, s *socketio.Socket, e *socketio.Event) error {
	var n int
	if err := decode(e, &n); err != nil {
		return err
	}
	for i := range n {
		_ = s.EmitVolatile(ctx, "vol", value(i))
	}
	return s.Emit(ctx, "vol-end", value(n))
}

func state(ctx context.Context, s *socketio.Socket, e *socketio.Event) error {
	return e.Ack(ctx, value(map[string]any{
		"id":        s.ID(),
		"transport": s.Client().Transport().String(),
		"protocol":  s.Client().Revision(),
	}))
}
