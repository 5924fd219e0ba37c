// Command evosink takes the events of a WhatsApp-style, multi-instance API and delivers them to sinks.
//
// Copy me to make your own build: this file only puts rooms together. The table of sinks is what most
// builds change.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/mattn/go-isatty"
	"github.com/rs/zerolog"

	"github.com/evosink/evosink/adapters/cli"
	"github.com/evosink/evosink/adapters/commands"
	"github.com/evosink/evosink/adapters/evolution"
	"github.com/evosink/evosink/adapters/httpapi"
	"github.com/evosink/evosink/adapters/logs"
	"github.com/evosink/evosink/adapters/signals"
	"github.com/evosink/evosink/adapters/sqlite"
	"github.com/evosink/evosink/config"
	"github.com/evosink/evosink/core"
	"github.com/evosink/evosink/core/instances"
	"github.com/evosink/evosink/core/queue"
	"github.com/evosink/evosink/core/sink"
	"github.com/evosink/evosink/plugins/exec"
	"github.com/evosink/evosink/plugins/exec/plugintest"
	"github.com/evosink/evosink/plugins/exec/scaffold"
	"github.com/evosink/evosink/sinks/kafka"
	"github.com/evosink/evosink/sinks/nats"
	"github.com/evosink/evosink/sinks/pusher"
	"github.com/evosink/evosink/sinks/rabbitmq"
	"github.com/evosink/evosink/sinks/sqs"
	"github.com/evosink/evosink/sinks/webhook"
	"github.com/evosink/evosink/sinks/websocket"
)

// version is set by the linker: -X main.version=1.2.3.
var version string

// settings is the whole configuration, a section per room.
type settings struct {
	http httpapi.Config
	auth struct {
		APIKey       config.Secret `koanf:"api_key" env:"AUTHENTICATION_API_KEY,GLOBAL_API_KEY" help:"the global key; without one, one is generated at the first start and shown once, and the server listens on loopback only"`
		httpapi.Auth `koanf:",squash"`
	}
	log       logs.Config
	envelope  evolution.Envelope
	engine    sqlite.Config
	delivery  queue.Config
	commands  commands.Config
	plugins   exec.Config
	websocket *websocket.Config
	sinks     []*sink.Factory
}

// defaults returns the settings before any layer, and the table of sinks of this build.
func defaults() *settings {
	ws := sink.Use(websocket.Spec)
	return &settings{
		http: httpapi.Default(), log: logs.Default(), envelope: evolution.DefaultEnvelope(), engine: sqlite.DefaultConfig(),
		delivery: queue.DefaultConfig(), commands: commands.Default(),
		websocket: ws.Config.(*websocket.Config),
		sinks: []*sink.Factory{
			ws,
			sink.Use(webhook.Spec),
			sink.Use(rabbitmq.Spec),
			sink.Use(nats.Spec),
			sink.Use(kafka.Spec),
			sink.Use(sqs.Spec),
			sink.Use(pusher.Spec),
		},
	}
}

func (s *settings) sections() []config.Section {
	out := []config.Section{
		{Path: "server", Into: &s.http.Server}, {Path: "cors", Into: &s.http.CORS}, {Path: "events", Into: &s.http.Events},
		{Path: "auth", Into: &s.auth}, {Path: "envelope", Into: &s.envelope}, {Path: "log", Into: &s.log}, {Path: "sqlite", Into: &s.engine},
		{Path: "delivery", Into: &s.delivery}, {Path: "commands", Into: &s.commands},
		{Path: "metrics", Into: &s.http.Metrics}, {Path: "", Into: &s.plugins},
	}
	for _, f := range s.sinks {
		out = append(out, config.Section{Path: "sinks." + f.Name, Into: f.Config})
	}
	return out
}

// addPlugins appends the configured plugins to the table of sinks.
func (s *settings) addPlugins() error {
	var taken []string
	for _, f := range s.sinks {
		taken = append(taken, f.Name)
	}
	plugins, err := s.plugins.Factories(taken...)
	s.sinks = append(s.sinks, plugins...)
	return err
}

// share hands settings of the whole server to the rooms that need them.
func (s *settings) share() {
	s.http.Auth = s.auth.Auth
	s.websocket.Origins = s.http.CORS.Origin
	if s.auth.APIKey == "" && s.http.Server.Host == "" {
		s.http.Server.Host = "127.0.0.1"
	}
}

// load fills the settings from files, the environment and flags.
func (s *settings) load() (*config.Config, error) {
	loaded, err := config.Load(config.Options{
		Sections: s.sections(), Args: os.Args[1:], Environ: os.Environ(), Accepted: evolution.Variables(),
	})
	if err == nil {
		err = s.addPlugins()
	}
	s.share()
	return loaded, err
}

func main() {
	exec.Guard()
	ctx := signals.Interrupted(context.Background(), os.Stderr)
	s := defaults()
	loaded, err := s.load()
	if loaded == nil {
		fmt.Fprintln(os.Stderr, "evosink:", err)
		os.Exit(cli.ExitFail)
	}
	serve := cli.Command{Summary: "Take events and deliver them", Run: func(ctx context.Context, _ *cli.Env, _ []string) error {
		if err != nil {
			return err
		}
		return s.serve(ctx, loaded)
	}}
	all := append([]cli.Command{serve, cli.Version(version)}, cli.ConfigCommands(loaded, err)...)
	all = append(all, cli.ServerCommands(cli.Server{URL: s.http.Server.Local(), Key: s.auth.APIKey.Reveal()})...)
	all = append(all, cli.PluginCommands(cli.Plugins{New: newPlugin, Test: testPlugin})...)
	env := &cli.Env{Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, Args: loaded.Rest(), Flags: loaded.Usage, Nearest: config.Nearest}
	os.Exit(cli.Main(ctx, env, all))
}

// serve runs until ctx ends, then drains.
func (s *settings) serve(ctx context.Context, loaded *config.Config) error {
	hangup := signals.Hangup()
	log, level := logs.New(os.Stderr, terminal(os.Stderr), s.log)
	for _, w := range loaded.Warnings() {
		log.Warn().Msg(w)
	}
	certificate := &httpapi.Certificate{}
	if err := certificate.Load(s.http.Server); err != nil {
		return err
	}
	db, err := sqlite.Open(ctx, s.engine, log.With().Str("engine", "sqlite").Logger())
	if err != nil {
		return err
	}
	hub, api, err := s.build(ctx, db, log)
	if err != nil {
		return errors.Join(err, db.Close(context.WithoutCancel(ctx)))
	}
	reload := func() {
		next := defaults()
		now, err := next.load()
		if err == nil {
			err = certificate.Load(next.http.Server)
		}
		if err != nil {
			log.Error().Err(err).Msg("SIGHUP: the configuration has mistakes, so everything stays as it was")
			return
		}
		level.Set(next.log)
		live, restart := config.Changes(loaded, now)
		log.Info().Strs("taken_over", live).Strs("needs_restart", restart).
			Msg("SIGHUP: configuration and certificate were read again; these keys differ from those of the start")
	}
	return httpapi.Process{
		Hub: hub, API: api, Server: s.http.Server, Certificate: certificate, Engine: db.Close, Logger: log, Hangup: hangup, Reload: reload,
	}.Run(ctx)
}

// build puts the hub and its API together.
func (s *settings) build(ctx context.Context, db *sqlite.DB, log zerolog.Logger) (*core.Hub, *httpapi.API, error) {
	registry, err := s.registry(ctx, db)
	if err != nil {
		return nil, nil, err
	}
	hub, err := core.New(core.Options{
		Bus: db, Instances: registry, Log: db, Queue: db.Queue(), Delivery: &s.delivery, Sinks: s.sinks, Logger: log,
		Envelope:  s.envelope.Codec(s.auth.ExposeInFetchInstances),
		ServerURL: s.http.Server.URL, OnlyKnown: !s.http.Events.CreateUnknownInstances, DrainTimeout: s.http.Server.DrainTimeout(),
	})
	if err != nil {
		return nil, nil, err
	}
	api, err := httpapi.New(httpapi.Options{
		Config: s.http, Emitter: hub, Registry: registry, Sinks: s.sinks, Version: version, Logger: log,
		Ingest: map[string]httpapi.Decoder{"evolution": s.envelope.DecodeAPI, "evolution-go": evolution.DecodeGo},
		Ready:  hub.Check, SinkHealth: hub.SinkHealth, Settle: hub.Settle,
		Queue: hub.Queue(), Stats: hub.Stats, Metrics: httpapi.NewMetrics(),
	})
	if err != nil {
		return nil, nil, err
	}
	relay, err := commands.New(s.commands)
	if err != nil {
		return nil, nil, err
	}
	relay.Handle(hub)
	for _, m := range hub.Mounts() {
		api.Mount(m.Pattern(), m)
	}
	return hub, api, nil
}

// registry opens the instances, and shows a global key that was generated.
func (s *settings) registry(ctx context.Context, store instances.Store) (*instances.Registry, error) {
	digest, generated, err := instances.GlobalKey(ctx, store, s.auth.APIKey.Reveal())
	if err != nil {
		return nil, err
	}
	if generated != "" {
		fmt.Fprintf(os.Stderr, "\nNo AUTHENTICATION_API_KEY is set. This key was generated and is shown only now:\n\n    %s\n\n", generated)
	}
	return instances.Open(ctx, store, digest)
}

func newPlugin(n cli.PluginNew) ([]string, error) {
	n.Version = version
	return scaffold.Write(scaffold.Plugin(n))
}

func testPlugin(ctx context.Context, t cli.PluginTest, report func(cli.PluginRule)) error {
	return plugintest.Run(ctx, plugintest.Subject(t), func(r plugintest.Result) { report(cli.PluginRule(r)) })
}

func terminal(f *os.File) bool { return isatty.IsTerminal(f.Fd()) }
