// Command evosink takes the events of a WhatsApp-style, multi-instance API and delivers them to sinks.
//
// Copy me to make your own build: this file only puts rooms together. The table of sinks is what most
// builds change.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"unicode/utf8"

	"github.com/mattn/go-isatty"
	"github.com/rs/zerolog"

	"github.com/evosink/evosink/adapters/cli"
	"github.com/evosink/evosink/adapters/commands"
	"github.com/evosink/evosink/adapters/evolution"
	"github.com/evosink/evosink/adapters/httpapi"
	"github.com/evosink/evosink/adapters/logs"
	"github.com/evosink/evosink/adapters/memory"
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
	http      httpapi.Config
	auth      auth
	log       logs.Config
	envelope  evolution.Envelope
	engine    sqlite.Config
	delivery  queue.Config
	commands  commands.Config
	plugins   exec.Config
	websocket *websocket.Config
	webhook   *webhook.Config
	sinks     []*sink.Factory
}

// auth is the section of all keys.
type auth struct {
	APIKey         config.Secret `koanf:"api_key" env:"AUTHENTICATION_API_KEY,GLOBAL_API_KEY" help:"the global key, 16 characters or more; without one, one is generated at the first start and shown once, and the server listens on loopback only"`
	PreviousAPIKey config.Secret `koanf:"previous_api_key" env:"AUTHENTICATION_API_KEY_PREVIOUS" help:"a second global key, which opens everything too: the one that api_key replaces, until everything that uses it has the new one"`
	httpapi.Auth   `koanf:",squash"`
}

// Validate speaks keys relative to the section.
func (a *auth) Validate() error {
	switch {
	case a.PreviousAPIKey == "":
		return nil
	case a.APIKey == "":
		return errors.New("previous_api_key is set without api_key (AUTHENTICATION_API_KEY), the key that replaces it")
	case a.APIKey == a.PreviousAPIKey:
		return errors.New("previous_api_key is the same as api_key; leave it out")
	}
	return nil
}

// defaults returns the settings before any layer, and the table of sinks of this build.
func defaults() *settings {
	ws, hooks := sink.Use(websocket.Spec), sink.Use(webhook.Spec)
	return &settings{
		http: httpapi.Default(), log: logs.Default(), envelope: evolution.DefaultEnvelope(), engine: sqlite.DefaultConfig(),
		delivery: queue.DefaultConfig(), commands: commands.Default(),
		websocket: ws.Config.(*websocket.Config), webhook: hooks.Config.(*webhook.Config),
		sinks: []*sink.Factory{
			ws,
			hooks,
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
	s.websocket.Origins, s.websocket.Credentials = s.http.CORS.Origin, s.http.CORS.Credentials
	s.http.Server.TrustedProxies = append(s.http.Server.TrustedProxies, s.websocket.TrustedProxies...)
	s.websocket.TrustedProxies = s.http.Server.TrustedProxies
	if s.auth.APIKey == "" && s.http.Server.Host == "" {
		s.http.Server.Host = "127.0.0.1"
	}
	s.websocket.LocalKeyless = s.auth.APIKey == "" && s.http.Server.Loopback()
	s.webhook.Server = webhook.Server{URL: s.http.Server.URL, Host: s.http.Server.Host, Port: s.http.Server.Port}
}

// load fills the settings from files, the environment and flags. config is nil if there is not even a table of keys.
func (s *settings) load() (*config.Config, error) {
	loaded, err := config.Load(config.Options{
		Sections: s.sections(), Args: os.Args[1:], Environ: os.Environ(), Accepted: evolution.Variables(),
	})
	if err == nil {
		err = s.addPlugins()
	}
	s.share()
	if err == nil {
		if wrong := s.webhook.Validate(); wrong != nil { // again, now that it knows the server
			err = fmt.Errorf("sinks.webhook: %w", wrong)
		}
	}
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
	check := func(ctx context.Context) ([]string, error) { return s.check(ctx, loaded) }
	all := append([]cli.Command{serve, cli.Version(version)}, cli.ConfigCommands(loaded, err, check)...)
	all = append(all, cli.ServerCommands(s.server(loaded))...)
	all = append(all, cli.PluginCommands(cli.Plugins{New: newPlugin, Test: testPlugin})...)
	env := &cli.Env{
		Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, Terminal: terminal(os.Stderr),
		Args: loaded.Rest(), Flags: loaded.Usage, Nearest: config.Nearest,
	}
	os.Exit(cli.Main(ctx, env, all))
}

// server is what the commands know of the server of this configuration.
func (s *settings) server(c *config.Config) cli.Server {
	out := cli.Server{URL: s.http.Server.Local(), Key: s.auth.APIKey.Reveal()}
	if s.http.Server.TLS() {
		out.Certificate = s.http.Server.Certificate
	}
	for _, name := range []string{"server.host", "server.port", "server.type"} {
		if k, _ := c.Key(name); k.Found {
			out.URLFrom = cli.Origin{Text: k.Origin, Found: true}
		}
	}
	if k, _ := c.Key("auth.api_key"); s.auth.APIKey != "" {
		out.KeyFrom = cli.Origin{Text: k.Origin, Found: k.Found, Outside: k.Outside}
	}
	return out
}

// warnings are about settings that are valid by themselves and together do nothing, or not what they say.
func (s *settings) warnings(c *config.Config) (out []string) {
	for i, key := range []config.Secret{s.auth.APIKey, s.auth.PreviousAPIKey} {
		if n := utf8.RuneCountInString(key.Reveal()); n > 0 && n < httpapi.MinKey && !s.http.Server.Loopback() {
			out = append(out, fmt.Sprintf(
				"auth.%s has %d characters and can be guessed by whatever reaches %s: take %d or more, for example from: openssl rand -hex 16",
				[]string{"api_key", "previous_api_key"}[i], n, s.http.Server.Address(), httpapi.MinKey))
		}
	}
	if s.http.Events.MaxBytes > int64(s.engine.MaxEventBytes) {
		out = append(out, fmt.Sprintf("events.max_bytes (%d) is above sqlite.max_event_bytes (%d): events between the two are answered with 413",
			s.http.Events.MaxBytes, s.engine.MaxEventBytes))
	}
	var set []cli.Setting
	for _, k := range c.Keys() {
		set = append(set, cli.Setting{Key: k.Name, Value: k.Value, Origin: k.Origin})
	}
	return append(out, cli.Advice(set, s.sinks, config.Nearest)...)
}

// check makes what a start makes, on an engine in memory, and starts nothing of it. It returns what the start would warn
// of, and what would end it.
func (s *settings) check(ctx context.Context, c *config.Config) (warnings []string, err error) {
	warnings = s.warnings(c)
	if err := new(httpapi.Certificate).Load(s.http.Server); err != nil {
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
	hub, _, err := s.build(core.Options{Bus: bus, Instances: registry, Log: engine, Queue: engine.Queue(), Logger: log})
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

// serve runs until ctx ends, then drains.
func (s *settings) serve(ctx context.Context, loaded *config.Config) error {
	hangup := signals.Hangup()
	log, level := logs.New(os.Stderr, terminal(os.Stderr), s.log)
	for _, w := range append(loaded.Warnings(), s.warnings(loaded)...) {
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
	fail := func(err error) error { return errors.Join(err, db.Close(context.WithoutCancel(ctx))) }
	registry, err := s.registry(ctx, db)
	if err != nil {
		return fail(err)
	}
	hub, api, err := s.build(core.Options{Bus: db, Instances: registry, Log: db, Queue: db.Queue(), Logger: log})
	if err != nil {
		return fail(err)
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

// build makes the hub with its sinks and the API before it, on the engine that o holds. It starts nothing.
func (s *settings) build(o core.Options) (*core.Hub, *httpapi.API, error) {
	o.Delivery, o.Sinks, o.Envelope = &s.delivery, s.sinks, s.envelope.Codec(s.auth.ExposeInFetchInstances)
	o.ServerURL, o.OnlyKnown = s.http.Server.URL, !s.http.Events.CreateUnknownInstances
	o.DrainTimeout = s.http.Server.DrainTimeout()
	hub, err := core.New(o)
	if err != nil {
		return nil, nil, err
	}
	api, err := httpapi.New(httpapi.Options{
		Config: s.http, Emitter: hub, Registry: o.Instances, Sinks: s.sinks, Version: version, Logger: o.Logger, Nearest: config.Nearest,
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
	open := []instances.Digest{digest}
	if s.auth.PreviousAPIKey != "" {
		open = append(open, instances.Sum(s.auth.PreviousAPIKey.Reveal()))
	}
	return instances.Open(ctx, store, open...)
}

func newPlugin(n cli.PluginNew) ([]string, error) {
	n.Version = version
	return scaffold.Write(scaffold.Plugin(n))
}

func testPlugin(ctx context.Context, t cli.PluginTest, report func(cli.PluginRule)) error {
	return plugintest.Run(ctx, plugintest.Subject(t), func(r plugintest.Result) { report(cli.PluginRule(r)) })
}

func terminal(f *os.File) bool { return isatty.IsTerminal(f.Fd()) }
