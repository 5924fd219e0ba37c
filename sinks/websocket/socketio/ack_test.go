package socketio_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/evosink/evosink/sinks/websocket/socketio"
)

func TestAnAcknowledgementIsSentOnce(t *testing.T) {
	srv, url := serve(t, nil)
	srv.Handle("/", socketio.Hooks{Event: echo(socketio.Mux{
		"twice": func(ctx context.Context, _ *socketio.Socket, e *socketio.Event) error {
			if !e.WantsAck() {
				t.Error("no acknowledgement is wanted")
			}
			return errors.Join(e.Ack(ctx, num(1)), e.Ack(ctx, num(2)))
		},
		"none": func(ctx context.Context, _ *socketio.Socket, e *socketio.Event) error {
			if e.WantsAck() {
				t.Error("an acknowledgement is wanted")
			}
			return e.Ack(ctx, num(1))
		},
	})})
	p := dial(t, url)
	p.join("/")
	p.send(`2007["twice"]`, `2["none"]`, `29007199254740992["echo",null]`)
	p.expect(`37[1]`, `39007199254740992[null]`)
	p.expectNothing()
}

func TestAnAcknowledgementWithoutPayloadHasNoArguments(t *testing.T) {
	srv, url := serve(t, nil)
	n := srv.Handle("/", socketio.Hooks{})
	p := dial(t, url)
	s := n.Socket(p.join("/"))
	a, err := s.Request(ctx, "call")
	if err != nil {
		t.Fatal(err)
	}
	p.expect(`20["call"]`)
	p.send(`30`)
	if args, err := a.Wait(ctx); err != nil || len(args) != 0 {
		t.Errorf("acknowledged with %v, %v", args, err)
	}
}

func TestTheServerAsksForAcknowledgements(t *testing.T) {
	srv, url := serve(t, nil)
	n := srv.Handle("/n", socketio.Hooks{Event: echo(nil)})
	transports(t, func(t *testing.T, connect func(testing.TB, string) *peer) {
		p := connect(t, url)
		s := n.Socket(p.join("/n"))
		first, err1 := s.Request(ctx, "call", num(1))
		second, err2 := s.Request(ctx, "call", socketio.Binary([]byte("x")))
		if err := errors.Join(err1, err2); err != nil {
			t.Fatal(err)
		}
		var id1, id2 int
		fmt.Sscanf(p.next(), `2/n,%d["call",1]`, &id1)
		fmt.Sscanf(p.next(), `51-/n,%d["call",{"_placeholder":true,"num":0}]`, &id2)
		p.expect("<x>")
		if id1 == id2 {
			t.Error("ids are not unique")
		}
		p.send(fmt.Sprintf(`61-/n,%d["b",{"_placeholder":true,"num":0}]`, id2))
		p.sendBinary("bin")
		p.send(fmt.Sprintf(`3/n,%d["a"]`, id1), fmt.Sprintf(`3/n,%d["again"]`, id1), `3/n,4711[]`)
		args, err := second.Wait(ctx)
		if err != nil || len(args) != 2 {
			t.Fatal(args, err)
		}
		if b, _ := args[1].Bytes(); string(b) != "bin" {
			t.Errorf("got %s", args[1].JSON)
		}
		if args, err := first.Wait(ctx); err != nil || string(args[0].JSON) != `"a"` {
			t.Error(args, err)
		}
	})
}

// A deadline is a context whose time is up when the test says so.
type deadline struct {
	context.Context
	up chan struct{}
}

func newDeadline() deadline { return deadline{ctx, make(chan struct{})} }

func (d deadline) pass() { close(d.up) }

func (d deadline) Done() <-chan struct{} { return d.up }

func (d deadline) Err() error {
	select {
	case <-d.up:
		return context.DeadlineExceeded
	default:
		return nil
	}
}

func TestAnAcknowledgementThatComesTooLateDoesNoHarm(t *testing.T) {
	srv, url := serve(t, nil)
	n := srv.Handle("/", socketio.Hooks{Event: echo(nil)})
	p := dial(t, url)
	s := n.Socket(p.join("/"))
	limited := newDeadline()
	failed := make(chan error, 1)
	go func() { _, err := s.Call(limited, "never"); failed <- err }()
	p.expect(`20["never"]`)
	limited.pass()
	if err := within(t, failed); !errors.Is(err, socketio.ErrAckTimeout) || !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	p.send(`30[]`)
	p.expectNothing()
}

func TestWhoWaitsForAnAcknowledgementLearnsThatTheSocketLeft(t *testing.T) {
	srv, url := serve(t, nil)
	n := srv.Handle("/", socketio.Hooks{})
	p := dial(t, url)
	s := n.Socket(p.join("/"))
	a, err := s.Request(ctx, "call")
	if err != nil {
		t.Fatal(err)
	}
	p.wire.close()
	if _, err := a.Wait(ctx); !errors.Is(err, socketio.ErrDisconnected) {
		t.Error(err)
	}
	if _, err := s.Request(ctx, "call"); !errors.Is(err, socketio.ErrDisconnected) {
		t.Error(err)
	}
	if err := s.Emit(ctx, "x"); !errors.Is(err, socketio.ErrDisconnected) {
		t.Error(err)
	}
}

func TestAHandlerMayWaitForAnAcknowledgement(t *testing.T) {
	srv, url := serve(t, nil)
	srv.Handle("/", socketio.Hooks{Event: socketio.Mux{
		"call-me": func(ctx context.Context, s *socketio.Socket, e *socketio.Event) error {
			args, err := s.Call(ctx, "call", e.Args...)
			if err != nil {
				return err
			}
			return s.Emit(ctx, "result", args...)
		},
	}.Serve})
	p := dial(t, url)
	p.join("/")
	p.send(`2["call-me",1]`)
	p.expect(`20["call",1]`)
	p.send(`30["yes"]`)
	p.expect(`2["result","yes"]`)
}

func TestABroadcastCollectsAcknowledgements(t *testing.T) {
	srv, url := serve(t, nil)
	n := srv.Handle("/", socketio.Hooks{Event: echo(nil)})
	a, b, silent := dial(t, url), poll(t, url), dial(t, url)
	ids := map[string]string{a.join("/"): "a", b.join("/"): "b", silent.join("/"): "silent"}

	type result struct {
		answers []socketio.Answer
		err     error
	}
	ask := func(limited context.Context, sel socketio.Selection) chan result {
		done := make(chan result, 1)
		go func() {
			answers, err := sel.Call(limited, "ask")
			done <- result{answers, err}
		}()
		return done
	}
	answer := func(p *peer, name string) {
		packet := p.next()
		id, ok := strings.CutSuffix(strings.TrimPrefix(packet, "2"), `["ask"]`)
		if !ok {
			t.Fatal(packet)
		}
		p.send(`3` + id + `["` + name + `"]`)
	}

	done := ask(ctx, n.To(n.Sockets()[0].ID(), n.Sockets()[1].ID(), n.Sockets()[2].ID()))
	for name, p := range map[string]*peer{"a": a, "b": b, "silent": silent} {
		answer(p, name)
	}
	r := within(t, done)
	if r.err != nil || len(r.answers) != 3 {
		t.Fatal(r)
	}
	for _, answer := range r.answers {
		if got, _ := answer.Args[0].Text(); got != ids[answer.Socket.ID()] {
			t.Errorf("%s answered for %s", got, ids[answer.Socket.ID()])
		}
	}

	limited := newDeadline()
	done = ask(limited, n.To())
	answer(a, "a")
	answer(b, "b")
	a.expectNothing() // the server has the answers
	b.expectNothing()
	limited.pass()
	if r := within(t, done); !errors.Is(r.err, socketio.ErrAckTimeout) || len(r.answers) != 2 {
		t.Error(r)
	}
	silent.next()

	done = ask(ctx, n.To())
	answer(a, "a")
	answer(b, "b")
	silent.next()
	silent.wire.close()
	if r := within(t, done); !errors.Is(r.err, socketio.ErrDisconnected) || len(r.answers) != 2 {
		t.Error(r)
	}
	if answers, err := n.To("nobody").Call(ctx, "ask"); err != nil || len(answers) != 0 {
		t.Error(answers, err)
	}
}

func TestCallFuncIsAnsweredInTheOrderOfTheClient(t *testing.T) {
	const n = 200
	srv, url := serve(t, nil)
	var order []string // the client's goroutine has it until it has left
	left := make(chan struct{})
	srv.Handle("/", socketio.Hooks{
		Event: echo(socketio.Mux{
			"go": func(ctx context.Context, s *socketio.Socket, _ *socketio.Event) error {
				for i := range n {
					then := func(args []socketio.Arg, err error) { order = append(order, fmt.Sprint(string(args[0].JSON), err)) }
					if err := s.CallFunc(ctx, then, "call", num(i)); err != nil {
						return err
					}
				}
				return nil
			},
			"between": func(_ context.Context, _ *socketio.Socket, e *socketio.Event) error {
				order = append(order, "event "+string(e.Args[0].JSON))
				return nil
			},
		}),
		Disconnect: func(*socketio.Socket, socketio.Reason) { close(left) },
	})
	p := dial(t, url)
	p.join("/")
	p.send(`2["go"]`)
	var want []string
	var answers []string
	for i := range n {
		id, _, _ := strings.Cut(strings.TrimPrefix(p.next(), "2"), "[")
		answers = append(answers, fmt.Sprintf(`3%s[%d]`, id, i), fmt.Sprintf(`2["between",%d]`, i))
		want = append(want, fmt.Sprintf("%d<nil>", i), fmt.Sprintf("event %d", i))
	}
	p.send(answers...)
	p.send(`1`)
	<-left
	if !slices.Equal(order, want) {
		t.Errorf("order %.300v", order)
	}
}

func TestCallFuncLearnsThatNoAnswerComes(t *testing.T) {
	srv, url := serve(t, nil)
	n := srv.Handle("/", socketio.Hooks{Event: echo(nil)})
	p := dial(t, url)
	s := n.Socket(p.join("/"))
	errs := make(chan error, 3)
	then := func(_ []socketio.Arg, err error) { errs <- err }
	brief, cancel := context.WithCancel(ctx)
	if err := s.CallFunc(brief, then, "call"); err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := within(t, errs); !errors.Is(err, socketio.ErrAckTimeout) || !errors.Is(err, context.Canceled) {
		t.Error("timeout:", err)
	}
	id, _, _ := strings.Cut(strings.TrimPrefix(p.next(), "2"), "[")
	p.send("3" + id + `["late"]`)
	if err := s.CallFunc(ctx, then, "call"); err != nil {
		t.Fatal(err)
	}
	p.wire.close()
	if err := within(t, errs); !errors.Is(err, socketio.ErrDisconnected) {
		t.Error("lost:", err)
	}
	if err := s.CallFunc(ctx, then, "call"); !errors.Is(err, socketio.ErrDisconnected) {
		t.Error("gone:", err)
	}
	if err := s.CallFunc(ctx, then, "connect"); !errors.Is(err, socketio.ErrReserved) {
		t.Error("reserved:", err)
	}
	if len(errs) > 0 {
		t.Error("called again:", <-errs)
	}
}

func TestAListHoldsWhatItsArgumentsHold(t *testing.T) {
	srv, url := serve(t, nil)
	n := srv.Handle("/", socketio.Hooks{})
	p := dial(t, url)
	p.join("/")
	n.Emit(ctx, "list", socketio.List(), socketio.List(num(1), socketio.Binary([]byte("a")), socketio.List(socketio.Binary([]byte("b")))), socketio.Binary([]byte("c")))
	p.expect(`53-["list",[],[1,{"_placeholder":true,"num":0},[{"_placeholder":true,"num":1}]],{"_placeholder":true,"num":2}]`, "<a>", "<b>", "<c>")
}
