package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/rs/zerolog"

	"github.com/evosink/evosink/adapters/cli"
	"github.com/evosink/evosink/adapters/httpapi"
	"github.com/evosink/evosink/adapters/logs"
	"github.com/evosink/evosink/adapters/memory"
	"github.com/evosink/evosink/config"
	"github.com/evosink/evosink/core"
	"github.com/evosink/evosink/core/instances"
)

// Warnings are what the configuration itself warns of, and settings that are valid by themselves and together do
// nothing, or not what they say. The daemon is loaded.
func (d *Daemon) Warnings() []string { return append(d.loaded.Warnings(), d.together()...) }

// together are the warnings about settings of several rooms.
func (d *Daemon) together() []string {
	out := d.HTTP.Auth.Warnings(d.HTTP.Server)
	if most := d.Engine.MaxEventBytes; most != nil && d.HTTP.Events.MaxBytes > int64(*most) {
		out = append(out, fmt.Sprintf("events.max_bytes (%d) is above %s.max_event_bytes (%d): events between the two are answered with 413",
			d.HTTP.Events.MaxBytes, d.Engine.Path, *most))
	}
	var set []cli.Setting
	for _, k := range d.loaded.Keys() {
		set = append(set, cli.Setting{Key: k.Name, Value: k.Value, Origin: k.Origin})
	}
	return append(out, cli.Advice(set, d.Sinks, config.Nearest)...)
}

// check makes what a start makes, on an engine in memory, and starts nothing of it. It returns what the start would warn
// of beside [config.Config.Warnings], and what would end it.
func (d *Daemon) check(ctx context.Context) (warnings []string, err error) {
	warnings = d.together()
	if err := new(httpapi.Certificate).Load(d.HTTP.Server); err != nil {
		return warnings, err
	}
	engine, err := memory.New(memory.DefaultConfig())
	if err != nil {
		return warnings, err
	}
	bus := engine.Bus()
	defer func() { err = errors.Join(err, bus.Close(ctx)) }()
	registry, err := instances.Open(ctx, engine)
	if err != nil {
		return warnings, err
	}
	told := &told{}
	log := zerolog.New(told).Level(zerolog.WarnLevel)
	hub, _, err := d.Build(core.Options{Bus: bus, Instances: registry, Log: engine, Queue: engine.Queue(), Logger: log})
	warnings = append(warnings, told.lines...)
	if err != nil {
		return warnings, err
	}
	return warnings, hub.Close(ctx)
}

// told keeps the messages of a log.
type told struct{ lines []string }

func (t *told) Write(line []byte) (int, error) {
	var said struct{ Sink, Message string }
	if err := json.Unmarshal(line, &said); err != nil {
		return 0, err
	}
	if said.Sink != "" {
		said.Message = said.Sink + ": " + said.Message
	}
	t.lines = append(t.lines, said.Message)
	return len(line), nil
}

// Reload reads the configuration again, into next, and takes over what can change while the process runs: the level of
// the log and the certificate. The log tells which keys those were, and which need a restart. A configuration with
// mistakes changes nothing.
func (d *Daemon) Reload(next *Daemon, certificate *httpapi.Certificate, level *logs.Level, log zerolog.Logger) {
	err := next.Load(d.args, d.environ)
	if err == nil {
		err = certificate.Load(next.HTTP.Server)
	}
	if err != nil {
		log.Error().Err(err).Msg("SIGHUP: the configuration has mistakes, so everything stays as it was")
		return
	}
	level.Set(next.Log)
	live, restart := config.Changes(d.loaded, next.loaded)
	log.Info().Strs("taken_over", live).Strs("needs_restart", restart).
		Msg("SIGHUP: configuration and certificate were read again; these keys differ from those of the start")
}
