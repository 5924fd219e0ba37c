package main

import (
	"context"
	"encoding/json"
	"errors"
	"slices"

	"github.com/evosink/evosink/sinks/websocket/socketio"
)

var errArguments = errors.New("wrong arguments")

// decode stores the event's first arguments in targets.
func decode(e *socketio.Event, targets ...any) error {
	for i, target := range targets {
		if err := e.Arg(i).Decode(target); err != nil {
			return err
		}
	}
	return nil
}

// value encodes v, which is known to have a form in JSON.
func value(v any) socketio.Arg {
	a, err := socketio.JSON(v)
	if err != nil {
		return socketio.Raw(json.RawMessage("null"))
	}
	return a
}

// roomNames is a room argument: a string or a list of strings.
type roomNames []string

// UnmarshalJSON implements json.Unmarshaler.
func (r *roomNames) UnmarshalJSON(data []byte) error {
	var one string
	if json.Unmarshal(data, &one) == nil {
		*r = roomNames{one}
		return nil
	}
	return json.Unmarshal(data, (*[]string)(r))
}

// selfRooms returns the sorted rooms of s, its own id written as self.
func selfRooms(s *socketio.Socket) []string {
	rooms := s.Rooms()
	rooms[0] = "self"
	slices.Sort(rooms)
	return rooms
}

// relay returns a handler that emits its arguments, after skip ones, to the
// sockets that choose selects. The first relayed argument is the event's name.
func relay(skip int, choose func(s *socketio.Socket, e *socketio.Event) (socketio.Selection, error)) socketio.Handler {
	return func(ctx context.Context, s *socketio.Socket, e *socketio.Event) error {
		name, ok := e.Arg(skip).Text()
		if !ok {
			return errArguments
		}
		to, err := choose(s, e)
		if err != nil {
			return err
		}
		return to.Emit(ctx, name, e.Args[skip+1:]...)
	}
}

// toRooms returns a chooser by the rooms in the first argument.
func toRooms(choose func(s *socketio.Socket, rooms []string) socketio.Selection) func(*socketio.Socket, *socketio.Event) (socketio.Selection, error) {
	return func(s *socketio.Socket, e *socketio.Event) (socketio.Selection, error) {
		var rooms roomNames
		err := decode(e, &rooms)
		return choose(s, rooms), err
	}
}

func everybody(s *socketio.Socket, _ *socketio.Event) (socketio.Selection, error) {
	return s.Namespace().To(), nil
}

func to(s *socketio.Socket, rooms []string) socketio.Selection { return s.To(rooms...) }

func in(s *socketio.Socket, rooms []string) socketio.Selection { return s.Namespace().To(rooms...) }

func except(s *socketio.Socket, rooms []string) socketio.Selection {
	return s.Namespace().Except(rooms...)
}

func join(ctx context.Context, s *socketio.Socket, e *socketio.Event) error {
	var rooms roomNames
	if err := decode(e, &rooms); err != nil {
		return err
	}
	s.Join(rooms...)
	return e.Ack(ctx)
}

func leave(ctx context.Context, s *socketio.Socket, e *socketio.Event) error {
	var rooms roomNames
	if err := decode(e, &rooms); err != nil {
		return err
	}
	s.Leave(rooms...)
	return e.Ack(ctx)
}

// bye disconnects the sender: from the namespace, or altogether if its argument
// is what JavaScript takes for true.
func bye(_ context.Context, s *socketio.Socket, e *socketio.Event) error {
	switch string(e.Arg(0).JSON) {
	case "", "false", "null", "0", `""`:
		s.Disconnect()
	default:
		s.Client().Close()
	}
	return nil
}
