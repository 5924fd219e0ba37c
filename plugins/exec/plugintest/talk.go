package plugintest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/evosink/evosink/core/event"
	"github.com/evosink/evosink/core/sink"
	"github.com/evosink/evosink/plugins/exec"
	"github.com/evosink/evosink/plugins/exec/child"
	"github.com/evosink/evosink/plugins/exec/wire"
)

// A talk is the host's side of a conversation with a fresh process, step by step.
type talk struct {
	ctx     context.Context
	subject Subject
	proc    *child.Process
	readers sync.WaitGroup
	heard   chan heard // closed when the output has ended
	ready   wire.Reply
	last    uint64 // number of the last event

	errs    tail          // the end of its standard error
	said    chan struct{} // closed when there is no more of that
	refused int
	refusal string
}

// heard is one line of the plugin.
type heard struct {
	reply wire.Reply
	err   error // it means nothing
}

// begin starts the plugin and waits until it is ready.
func begin(ctx context.Context, s Subject) (*talk, error) {
	proc, err := child.Start(child.Command{Path: s.Path, Args: s.Args, Env: s.Env})
	if err != nil {
		return nil, err
	}
	t := &talk{ctx: ctx, subject: s, proc: proc, heard: make(chan heard, 4096), said: make(chan struct{})}
	t.readers.Go(t.read)
	t.readers.Go(func() {
		defer close(t.said)
		_, _ = io.Copy(&t.errs, proc.Err)
	})
	if err := t.greet(); err != nil {
		t.end()
		return nil, t.explain(err)
	}
	return t, nil
}

func (t *talk) read() {
	defer close(t.heard)
	lines := wire.NewLines(t.proc.Out, wire.MaxReply)
	for {
		line, cut, err := lines.Next()
		if err != nil {
			return
		}
		h := heard{}
		if h.reply, h.err = wire.Decode(line); cut {
			h.err = fmt.Errorf("a line has more than %d bytes", wire.MaxReply)
		}
		if h.err != nil {
			h.err = fmt.Errorf("it printed %s: %w", wire.Quote(line), h.err)
		}
		select {
		case t.heard <- h:
		case <-t.proc.Done():
		}
	}
}

// greet sends init, with the configuration as the plugin's schema reads it.
func (t *talk) greet() error {
	config, err := json.Marshal(t.subject.Config)
	if err != nil {
		return err
	}
	if t.subject.Config == nil {
		config = nil
	}
	if err := t.send(wire.Init(t.subject.Name, "test", config)); err != nil {
		return err
	}
	t.ready, err = t.next()
	if err != nil {
		return err
	}
	if t.ready.Type != wire.Ready {
		return errors.New("the first answer to init must be ready")
	}
	return errors.Join(
		prefixed("settings_schema", exec.CheckSchema(t.ready.SettingsSchema)),
		prefixed("config_schema", exec.CheckSchema(t.ready.ConfigSchema)),
	)
}

func prefixed(with string, err error) error {
	if err != nil {
		err = fmt.Errorf("%s: %w", with, err)
	}
	return err
}

// send writes a line. It fails when the plugin does not read within the timeout.
func (t *talk) send(line []byte) error {
	_ = t.proc.In.SetWriteDeadline(time.Now().Add(t.subject.Timeout)) // where pipes have none, the plugin is trusted to read
	if _, err := t.proc.In.Write(line); err != nil {
		return fmt.Errorf("it does not read its standard input: %w", err)
	}
	return nil
}

// next returns what the plugin says next, apart from log lines.
func (t *talk) next() (wire.Reply, error) {
	patience := time.NewTimer(t.subject.Timeout)
	defer patience.Stop()
	for {
		select {
		case h, ok := <-t.heard:
			switch {
			case !ok:
				return wire.Reply{}, t.gone()
			case h.err != nil:
				return wire.Reply{}, h.err
			case h.reply.Type != wire.Log:
				return h.reply, nil
			}
		case <-patience.C:
			return wire.Reply{}, fmt.Errorf("it says nothing for %v", t.subject.Timeout)
		case <-t.ctx.Done():
			return wire.Reply{}, t.ctx.Err()
		}
	}
}

// gone says why the output has ended.
func (t *talk) gone() error {
	select {
	case <-t.proc.Done():
		return errors.New(t.proc.Exit())
	case <-time.After(t.subject.Timeout):
		return errors.New("it has closed its standard output")
	}
}

// event sends an event with this data and returns its number.
func (t *talk) event(data string) (uint64, error) {
	t.last++
	return t.last, t.send(t.line(t.last, t.last, 1, data))
}

// line is the event number id, sent under the number n.
func (t *talk) line(n, id uint64, attempt int, data string) []byte {
	name := fmt.Sprintf("evosink-plugin-test-%d", id)
	return wire.Event(n, &sink.Delivery{
		Event: &event.Event{
			ID: name, Name: "messages.upsert", Instance: fmt.Sprintf("test-%d", id), Time: time.Now(), Sender: "5511999999999@s.whatsapp.net",
			ServerURL: "https://api.example", Data: json.RawMessage(data),
		},
		Scope: sink.Instance, Target: "instance", Settings: t.subject.Settings, Attempt: attempt, Key: name + "/instance",
	})
}

// answered waits until each of these events has been answered, in any order, and nothing else was said.
func (t *talk) answered(numbers ...uint64) error {
	open := map[uint64]bool{}
	for _, n := range numbers {
		open[n] = true
	}
	for len(open) > 0 {
		r, err := t.next()
		if err != nil {
			return fmt.Errorf("%d of %d events are not answered: %w", len(open), len(numbers), err)
		}
		if r.Type != wire.Ack && r.Type != wire.Nack {
			return fmt.Errorf("it says something else while %d events are not answered", len(open))
		}
		if !open[r.Delivery] {
			return fmt.Errorf("it answers %s, which is not in flight: it was answered before, or never sent", wire.ID(r.Delivery))
		}
		delete(open, r.Delivery)
		if err := t.count(r); err != nil {
			return err
		}
	}
	return nil
}

func (t *talk) count(r wire.Reply) error {
	if r.Type == wire.Ack {
		return nil
	}
	t.refused++
	t.refusal = r.Error
	if t.subject.Accept {
		return fmt.Errorf("it refused an event: %s", r.Error)
	}
	return nil
}

// pong asks for a ping's answer, which must be the next thing said.
func (t *talk) pong() error {
	if err := t.send(wire.Ping); err != nil {
		return err
	}
	r, err := t.next()
	if err == nil && r.Type != wire.Pong {
		err = errors.New("it says something else instead of pong")
	}
	return err
}

// over waits for the end of the process, which must come of itself and be a success.
func (t *talk) over() error {
	select {
	case <-t.proc.Done():
		if t.proc.Exit() != "it exited with code 0" {
			return errors.New(t.proc.Exit())
		}
		return nil
	case <-time.After(t.subject.Timeout):
		return fmt.Errorf("it still runs %v after its standard input was closed", t.subject.Timeout)
	case <-t.ctx.Done():
		return t.ctx.Err()
	}
}

func (t *talk) note() string {
	if t.refused == 0 {
		return ""
	}
	return fmt.Sprintf("%d events were refused, which is an answer too; the last one: %s", t.refused, t.refusal)
}

// lastWords is how long a plugin that breaks a rule may take to say why.
const lastWords = time.Second

// explain adds what the plugin has said on standard error, for it may say why.
func (t *talk) explain(err error) error {
	select {
	case <-t.said:
	case <-time.After(lastWords):
	}
	if said := t.errs.String(); said != "" {
		return fmt.Errorf("%w\nits standard error ends with: %s", err, said)
	}
	return err
}

// end leaves nothing of the process.
func (t *talk) end() {
	t.proc.Kill()
	<-t.proc.Done()
	t.readers.Wait()
	t.proc.Close()
}

// tail keeps the end of what is written to it.
type tail struct {
	mu sync.Mutex
	b  []byte
}

func (e *tail) Write(p []byte) (int, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	const kept = 1000
	e.b = append(e.b, p...)
	e.b = bytes.Clone(e.b[max(0, len(e.b)-kept):])
	return len(p), nil
}

func (e *tail) String() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return wire.Printable(e.b)
}
