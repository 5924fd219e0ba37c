// Package printer is a sink to begin with: it prints every event. It is compiled into a build of evosink of your own, see the README.
package printer

import (
	"context"
	"fmt"
	"io"
	"os"
	"sync"

	"github.com/evosink/evosink/core/sink"
)

// Config is the section sinks.printer.
type Config struct {
	Enabled bool      `koanf:"enabled" env:"PRINTER_ENABLED" help:"print events"`
	Prefix  string    `koanf:"prefix" env:"PRINTER_PREFIX" help:"what each line begins with"`
	Out     io.Writer `koanf:"-"` // where to; nil is standard output
}

// Spec describes the sink to main's table.
var Spec = sink.Spec[Config]{
	Name: "printer", Mode: sink.Queued,
	Defaults: func() Config { return Config{Prefix: "event"} },
	Enabled:  func(c *Config) bool { return c.Enabled },
	Rule:     func(*Config) sink.Rule { return sink.Rule{Global: true} }, // all events of all instances
	New:      func(c Config, _ sink.Host) (sink.Sink, error) { return &Sink{config: c}, nil },
}

// A Sink prints.
type Sink struct {
	config Config
	mu     sync.Mutex // of the output
}

// Start implements [sink.Sink].
func (s *Sink) Start(context.Context) error { return nil }

// Deliver implements [sink.Sink].
func (s *Sink) Deliver(_ context.Context, d *sink.Delivery) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := s.config.Out
	if out == nil {
		out = os.Stdout
	}
	_, err := fmt.Fprintf(out, "%s %s %s of %s: %s\n", s.config.Prefix, d.Event.ID, d.Event.Name, d.Event.Instance, d.Event.Data)
	return err
}

// Close implements [sink.Sink].
func (s *Sink) Close(context.Context) error { return nil }
