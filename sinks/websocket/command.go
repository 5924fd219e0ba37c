package websocket

import (
	"context"
	"encoding/json"
	"time"

	"golang.org/x/time/rate"

	"github.com/evosink/evosink/core/event"
	"github.com/evosink/evosink/core/sink"
	"github.com/evosink/evosink/sinks/websocket/socketio"
)

// commandFailed is the event by which a client that asked for no acknowledgement is told that its command was not done.
const commandFailed = "command.error"

// commandLimits bound what clients may ask for.
type commandLimits struct {
	rate    float64 // per second
	bytes   int
	timeout time.Duration
}

// A reply is what a client gets for a command: as the acknowledgement, or, if it asked for none and the command was not
// done, as the event "command.error".
type reply struct {
	OK      bool               `json:"ok"`
	Command string             `json:"command,omitempty"` // in the event only
	Result  json.RawMessage    `json:"result,omitempty"`
	Error   *sink.CommandError `json:"error,omitempty"`
}

// command handles what a client emits. It is always answered, also where no commands are configured: a client
// that is not told waits for ever.
func (s *Sink) command(ctx context.Context, k *socketio.Socket, e *socketio.Event) error {
	result, err := s.do(ctx, k, e)
	r := reply{OK: err == nil, Result: result}
	if err != nil {
		r.Error = sink.AsCommandError(err)
		s.log.Debug().Err(err).Str("command", e.Name).Str("namespace", k.Namespace().Name()).Msg("command refused or failed")
	}
	if e.WantsAck() {
		return acknowledge(ctx, e, r)
	}
	if r.OK {
		return nil
	}
	r.Command = e.Name
	answer, err := socketio.JSON(r)
	if err != nil {
		return err
	}
	return k.Emit(ctx, commandFailed, answer)
}

func acknowledge(ctx context.Context, e *socketio.Event, r reply) error {
	answer, err := socketio.JSON(r)
	if err != nil {
		return err
	}
	return e.Ack(ctx, answer)
}

// do checks a command and has it done.
func (s *Sink) do(ctx context.Context, k *socketio.Socket, e *socketio.Event) (json.RawMessage, error) {
	if !s.allow(k.Client().Value.(*handshake)) {
		return nil, sink.CommandErrorf(sink.CodeTooFast, "more than %g commands per second", s.commands.rate)
	}
	if s.commander == nil || !s.commander.Handles() {
		return nil, sink.CommandErrorf(sink.CodeUnavailable,
			"this server takes no commands: its operator sets the main API's address, COMMANDS_URL")
	}
	c, err := s.check(k, e)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, s.commands.timeout)
	defer cancel()
	return s.commander.Do(ctx, c)
}

// check makes a command of what a client emitted, if the client may give it.
func (s *Sink) check(k *socketio.Socket, e *socketio.Event) (sink.Command, error) {
	m := k.Data().(*socketState)
	p, ok := s.directory.Authenticate(m.key) // once more: the key may have been replaced since
	if !ok {
		return sink.Command{}, sink.CommandErrorf(sink.CodeUnauthorized, "commands need a key: connect with auth {apikey: …}")
	}
	data, err := s.data(e)
	if err != nil {
		return sink.Command{}, err
	}
	if m.silent(k.Namespace().Name()) {
		return sink.Command{}, sink.CommandErrorf(sink.CodeForbidden, "on / commands need the global key; send this one in the namespace of the instance")
	}
	instance := instanceOf(k.Namespace().Name())
	if instance == "" {
		instance = instanceIn(data)
	}
	if _, exists := s.directory.Lookup(instance); !exists || !p.May(instance) {
		return sink.Command{}, sink.CommandErrorf(sink.CodeForbidden,
			"there is no instance %.255q that this key opens; on / name it in the data: {instance: …}", instance)
	}
	return sink.Command{ID: event.NewID(), Name: e.Name, Instance: instance, Data: data, Key: m.key, Global: p.Global}, nil
}

// allow counts a command against the client's rate. The hooks of one client run one at a time.
func (s *Sink) allow(h *handshake) bool {
	if h.commands == nil {
		h.commands = rate.NewLimiter(rate.Limit(s.commands.rate), max(1, int(2*s.commands.rate)))
	}
	return h.commands.Allow()
}

// data returns the one argument of a command.
func (s *Sink) data(e *socketio.Event) (json.RawMessage, error) {
	switch {
	case len(e.Args) > 1:
		return nil, sink.CommandErrorf(sink.CodeInvalid, "a command has one argument, an object; got %d", len(e.Args))
	case len(e.Args) == 0:
		return nil, nil
	case len(e.Args[0].Attachments) > 0:
		return nil, sink.CommandErrorf(sink.CodeInvalid, "a command cannot hold binary values; send them as base64")
	case len(e.Args[0].JSON) > s.commands.bytes:
		return nil, sink.CommandErrorf(sink.CodeTooLarge, "a command may have %d bytes, this one has %d", s.commands.bytes, len(e.Args[0].JSON))
	}
	return e.Args[0].JSON, nil
}

// instanceIn returns the instance that a command on the namespace / names.
func instanceIn(data json.RawMessage) string {
	var d struct {
		Instance string `json:"instance"`
	}
	if event.Unmarshal(data, &d) != nil {
		return ""
	}
	return d.Instance
}
