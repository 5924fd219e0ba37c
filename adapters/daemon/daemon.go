// Package daemon makes the rooms of evosink one process: it gives each its section of one configuration, builds hub and
// API of them, and has the commands of the binary. Engine and table of sinks are handed in. What a section means, how
// instances open and how everything ends belong to the rooms themselves: httpapi, logs, core, ...
package daemon

import (
	"errors"
	"runtime"

	"github.com/evosink/evosink/adapters/commands"
	"github.com/evosink/evosink/adapters/evolution"
	"github.com/evosink/evosink/adapters/httpapi"
	"github.com/evosink/evosink/adapters/logs"
	"github.com/evosink/evosink/config"
	"github.com/evosink/evosink/core"
	"github.com/evosink/evosink/core/queue"
	"github.com/evosink/evosink/core/sink"
	"github.com/evosink/evosink/plugins/exec"
)

// A Daemon is the configuration of a process, a section per room. Make it with [New], then [Daemon.Load] it. It is not
// for several goroutines at once.
type Daemon struct {
	Version  string // of the program; "" if it is none that was released
	HTTP     httpapi.Config
	Log      logs.Config
	Envelope evolution.Envelope
	Engine   Engine
	Delivery queue.Config
	Commands commands.Config
	Plugins  exec.Config
	Sinks    []*sink.Factory // the table of sinks, and from Load on the configured plugins

	loaded        *config.Config // by Load
	args, environ []string       // what it was loaded from
}

// An Engine is the section of the engine that events are kept in. The zero value is one that the configuration says
// nothing about.
type Engine struct {
	config.Section
	MaxEventBytes *int // the key max_event_bytes in it; nil if there is none
}

// ballast is memory that the garbage collector counts and nothing ever writes to, so it takes none. The collector runs
// when the heap has grown by as much more: evosink holds little and makes much garbage, and it would run many times a
// second else.
var ballast = make([]byte, 16<<20)

// New returns a daemon before any layer of configuration: the defaults of all rooms.
func New(version string, engine Engine, sinks ...*sink.Factory) *Daemon {
	runtime.KeepAlive(ballast)
	return &Daemon{
		Version: version, Engine: engine, Sinks: sinks,
		HTTP: httpapi.Default(), Log: logs.Default(), Envelope: evolution.DefaultEnvelope(),
		Delivery: queue.DefaultConfig(), Commands: commands.Default(),
	}
}

// Load fills all sections from the files of the working directory, the environment and the command line, adds the
// configured plugins to Sinks and puts the HTTP server in front of them. args are without the program's name, environ is
// as os.Environ gives it. After an error the sections hold anything; commands that need no valid configuration still run.
func (d *Daemon) Load(args, environ []string) error {
	d.args, d.environ = args, environ
	sections := []config.Section{
		{Path: "server", Into: &d.HTTP.Server}, {Path: "cors", Into: &d.HTTP.CORS}, {Path: "events", Into: &d.HTTP.Events},
		{Path: "auth", Into: &d.HTTP.Auth}, {Path: "envelope", Into: &d.Envelope}, {Path: "log", Into: &d.Log},
	}
	if d.Engine.Into != nil {
		sections = append(sections, d.Engine.Section)
	}
	sections = append(sections,
		config.Section{Path: "delivery", Into: &d.Delivery}, config.Section{Path: "commands", Into: &d.Commands},
		config.Section{Path: "metrics", Into: &d.HTTP.Metrics}, config.Section{Path: "", Into: &d.Plugins})
	var names []string
	for _, f := range d.Sinks {
		sections = append(sections, config.Section{Path: "sinks." + f.Name, Into: f.Config})
		names = append(names, f.Name)
	}
	var err error
	d.loaded, err = config.Load(config.Options{Sections: sections, Args: args, Environ: environ, Accepted: evolution.Variables()})
	if err == nil {
		var plugins []*sink.Factory
		plugins, err = d.Plugins.Factories(names...)
		d.Sinks = append(d.Sinks, plugins...)
	}
	d.HTTP.Front(d.Sinks...)
	if err != nil {
		return err
	}
	var wrong []error
	for _, f := range d.Sinks {
		wrong = append(wrong, f.Validate()) // again, now that it knows the server
	}
	return errors.Join(wrong...)
}

// Build makes the hub with its sinks and the API before it, on the engine that o holds: Bus, Instances, Log and Queue.
// It starts nothing.
func (d *Daemon) Build(o core.Options) (*core.Hub, *httpapi.API, error) {
	o.Delivery, o.Sinks, o.Envelope = &d.Delivery, d.Sinks, d.Envelope.Codec(d.HTTP.Auth.ExposeInFetchInstances)
	o.ServerURL, o.OnlyKnown = d.HTTP.Server.URL, !d.HTTP.Events.CreateUnknownInstances
	o.DrainTimeout = d.HTTP.Server.DrainTimeout()
	hub, err := core.New(o)
	if err != nil {
		return nil, nil, err
	}
	api, err := httpapi.New(httpapi.Options{
		Config: d.HTTP, Emitter: hub, Registry: o.Instances, Sinks: d.Sinks, Version: d.Version, Logger: o.Logger, Nearest: config.Nearest,
		Ingest: map[string]httpapi.Decoder{"evolution": d.Envelope.DecodeAPI, "evolution-go": evolution.DecodeGo},
		Ready:  hub.Check, SinkHealth: hub.SinkHealth, Settle: hub.Settle, Erase: hub.Erase,
		Queue: hub.Queue(), Stats: hub.Stats, Metrics: httpapi.NewMetrics(),
	})
	if err != nil {
		return nil, nil, err
	}
	relay, err := commands.New(d.Commands)
	if err != nil {
		return nil, nil, err
	}
	relay.Handle(hub)
	for _, m := range hub.Mounts() {
		api.Mount(m.Pattern(), m)
	}
	return hub, api, nil
}
