// Package logs makes the process's logger from Evolution API's LOG_ variables.
package logs

import (
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"
)

// Config is the section "log".
type Config struct {
	Level  []string `koanf:"level" env:"LOG_LEVEL" help:"trace, debug, info, warn or error; or Evolution API's list, of which the most talkative counts" reload:"true"`
	Format string   `koanf:"format" env:"LOG_FORMAT" help:"console, json, or auto: console on a terminal, json elsewhere"`
	Color  bool     `koanf:"color" env:"LOG_COLOR" help:"colours, in the console format"`
}

// Default returns the defaults.
func Default() Config { return Config{Level: []string{"info"}, Format: "auto", Color: true} }

// levels are the names of both worlds. Evolution API's topics (WEBHOOKS, ...) print payloads there; nothing does here.
var levels = map[string]zerolog.Level{
	"trace": zerolog.TraceLevel, "debug": zerolog.DebugLevel, "info": zerolog.InfoLevel, "warn": zerolog.WarnLevel,
	"error": zerolog.ErrorLevel, "verbose": zerolog.DebugLevel, "log": zerolog.InfoLevel, "dark": zerolog.InfoLevel,
	"webhooks": zerolog.ErrorLevel, "websocket": zerolog.ErrorLevel,
}

// Validate reports names that are none.
func (c *Config) Validate() error {
	for _, name := range c.Level {
		if _, ok := levels[strings.ToLower(name)]; !ok {
			return fmt.Errorf("level %q is none of trace, debug, info, warn, error", name)
		}
	}
	switch c.Format {
	case "auto", "console", "json":
		return nil
	}
	return fmt.Errorf("format must be auto, console or json, not %q", c.Format)
}

// A Level is the level of a logger that is in use. Any number of goroutines may use it at once.
type Level struct{ lowest atomic.Int32 }

// Set makes the level of c, which is valid, that of the logger and of all that were derived from it.
func (l *Level) Set(c Config) {
	level := zerolog.ErrorLevel
	for _, name := range c.Level {
		level = min(level, levels[strings.ToLower(name)])
	}
	if len(c.Level) == 0 {
		level = zerolog.InfoLevel
	}
	l.lowest.Store(int32(level))
}

// Sample implements [zerolog.Sampler], which is asked before a line is made.
func (l *Level) Sample(level zerolog.Level) bool { return level >= zerolog.Level(l.lowest.Load()) }

// New returns a logger that writes to w, with the time of every line, and its level, which may be changed while it is
// in use.
func New(w io.Writer, terminal bool, c Config) (zerolog.Logger, *Level) {
	if c.Format == "console" || c.Format == "auto" && terminal {
		w = zerolog.ConsoleWriter{Out: w, NoColor: !c.Color, TimeFormat: time.TimeOnly}
	}
	level := &Level{}
	level.Set(c)
	return zerolog.New(w).Level(zerolog.TraceLevel).Sample(level).With().Timestamp().Logger(), level
}
