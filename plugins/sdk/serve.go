package sdk

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"runtime/debug"
	"sync"
)

// protocol is the version that this package speaks.
const protocol = 1

// defaultMaxInFlight is the default of Plugin.MaxInFlight.
const defaultMaxInFlight = 64

// message is a line of the host.
type message struct {
	Type     string
	ID       string
	Protocol int
	Config   json.RawMessage
	Error    string
	Delivery
}

// decode reads a line. The message shares the line's memory.
func (m *message) decode(line []byte) error {
	return members(line, func(key, value []byte) (err error) {
		switch string(key) {
		case "type":
			m.Type, err = unquote(value)
		case "id":
			m.ID, err = unquote(value)
		case "protocol":
			err = json.Unmarshal(value, &m.Protocol)
		case "config":
			m.Config = value
		case "error":
			m.Error, err = unquote(value)
		default:
			err = m.Delivery.set(string(key), value)
		}
		return err
	})
}

// reply is a line of the plugin.
type reply struct {
	Type        string          `json:"type"`
	ID          string          `json:"id,omitempty"`
	Error       string          `json:"error,omitempty"`
	Permanent   bool            `json:"permanent,omitempty"`
	Unavailable bool            `json:"unavailable,omitempty"`
	RetryAfter  *int64          `json:"retry_after_ms,omitempty"`
	Protocol    int             `json:"protocol,omitempty"`
	MaxInFlight int             `json:"max_in_flight,omitempty"`
	Config      json.RawMessage `json:"config_schema,omitempty"`
	Settings    json.RawMessage `json:"settings_schema,omitempty"`
}

// server is one conversation.
type server struct {
	plugin  Plugin
	out     *outbox
	life    context.Context // of the deliveries
	running sync.WaitGroup  // deliveries
	unfit   error           // why the configuration could not be decoded
}

// Serve speaks the protocol on in and out until in ends, which is how evosink ends a plugin, or until ctx does. When it returns, no Deliver runs any more.
func (p Plugin) Serve(ctx context.Context, in io.Reader, out io.Writer) error {
	if p.Deliver == nil {
		return errors.New("sdk: Plugin.Deliver is required")
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s := &server{plugin: p, out: newOutbox(out), life: ctx}
	err := s.read(in)
	cancel()
	s.running.Wait()
	return errors.Join(err, s.out.close())
}

func (s *server) read(in io.Reader) error {
	r := bufio.NewReaderSize(in, 64<<10)
	for s.life.Err() == nil {
		line, err := r.ReadBytes('\n')
		if len(bytes.TrimSpace(line)) > 0 {
			if err := s.handle(line); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read from evosink: %w", err)
		}
	}
	return s.life.Err()
}

// handle acts on one line. An error ends the plugin.
func (s *server) handle(line []byte) error {
	var m message
	if err := m.decode(line); err != nil {
		return fmt.Errorf("read from evosink: %w", err)
	}
	switch m.Type {
	case "init":
		return s.init(m)
	case "event":
		if s.unfit != nil {
			return s.unfit
		}
		s.running.Go(func() { s.deliver(&m) })
	case "ping":
		return s.out.send(reply{Type: "pong"})
	case "drain":
		return s.drain()
	case "error":
		log.Printf("evosink did not understand this plugin: %s", m.Error)
	default: // of a later version of the protocol
	}
	return nil
}

func (s *server) init(m message) error {
	if m.Protocol != protocol {
		return fmt.Errorf("evosink speaks protocol %d; this plugin speaks %d", m.Protocol, protocol)
	}
	if err := s.configure(m.Config); err != nil {
		return err
	}
	r := reply{Type: "ready", Protocol: protocol, MaxInFlight: s.plugin.MaxInFlight}
	if r.MaxInFlight <= 0 {
		r.MaxInFlight = defaultMaxInFlight
	}
	r.Config, r.Settings = []byte(s.plugin.ConfigSchema), []byte(s.plugin.SettingsSchema)
	return s.out.send(r)
}

// configure fills Plugin.Config. Variables are texts until evosink knows the schema, which it learns from ready: a configuration that cannot
// be decoded then ends the plugin with the first event only, because evosink will rather start it again with the configuration read by the schema.
func (s *server) configure(config json.RawMessage) error {
	if s.plugin.Config != nil {
		if err := json.Unmarshal(config, s.plugin.Config); err != nil {
			if s.unfit = fmt.Errorf("config: %w", err); s.plugin.ConfigSchema == "" {
				return s.unfit
			}
			return nil
		}
	}
	if s.plugin.Setup == nil {
		return nil
	}
	if err := s.plugin.Setup(s.life); err != nil {
		return fmt.Errorf("setup: %w", err)
	}
	return nil
}

// deliver answers every event, whatever Deliver does.
func (s *server) deliver(m *message) {
	err := s.call(m)
	if err != nil {
		_ = s.out.send(nack(m.ID, err)) // an output that is gone shows when it is closed
		return
	}
	s.out.ack(m.ID)
}

func (s *server) call(m *message) (err error) {
	defer func() {
		if p := recover(); p != nil {
			log.Printf("panic: %v\n%s", p, debug.Stack())
			err = fmt.Errorf("the plugin panicked: %v", p)
		}
	}()
	return s.plugin.Deliver(s.life, &m.Delivery)
}

func (s *server) drain() error {
	s.running.Wait()
	if s.plugin.Drain != nil {
		if err := s.plugin.Drain(s.life); err != nil {
			return fmt.Errorf("drain: %w", err)
		}
	}
	return s.out.send(reply{Type: "drained"})
}
