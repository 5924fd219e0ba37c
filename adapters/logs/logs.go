// Package logs makes the process's logger from Evolution API's LOG_ variables.
package logs

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/rs/zerolog"
)

// Config is the section "log".
type Config struct {
	Level  []string `koanf:"level" env:"LOG_LEVEL" help:"trace, debug, info, warn or error; or Evolution API's list, of which the most talkative counts"`
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

// New returns a logger that writes to w, with the time of every line.
func New(w io.Writer, terminal bool, c Config) zerolog.Logger {
	level := zerolog.ErrorLevel
	for _, name := range c.Level {
		level = min(level, levels[strings.ToLower(name)])
	}
	if len(c.Level) == 0 {
		level = zerolog.InfoLevel
	}
	if c.Format == "console" || c.Format == "auto" && terminal {
		w = zerolog.ConsoleWriter{Out: w, NoColor: !c.Color, TimeFormat: time.TimeOnly}
	}
	return zerolog.New(w).Level(level).With().Timestamp().Logger()
}
