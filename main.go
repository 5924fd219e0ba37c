// Command evosink takes the events of a WhatsApp-style, multi-instance API and delivers them to sinks.
//
// Copy me to make your own build. The table of sinks is what most builds change.
package main

import (
	"context"
	"errors"
	"os"

	"github.com/evosink/evosink/adapters/cli"
	"github.com/evosink/evosink/adapters/daemon"
	"github.com/evosink/evosink/adapters/httpapi"
	"github.com/evosink/evosink/adapters/logs"
	"github.com/evosink/evosink/adapters/signals"
	"github.com/evosink/evosink/adapters/sqlite"
	"github.com/evosink/evosink/config"
	"github.com/evosink/evosink/core"
	"github.com/evosink/evosink/core/sink"
	"github.com/evosink/evosink/plugins/exec"
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

// defaults returns what this build is made of, before any layer of configuration.
func defaults() (*daemon.Daemon, *sqlite.Config) {
	engine := sqlite.DefaultConfig()
	section := daemon.Engine{Section: config.Section{Path: "sqlite", Into: &engine}, MaxEventBytes: &engine.MaxEventBytes}
	return daemon.New(version, section,
		sink.Use(websocket.Spec),
		sink.Use(webhook.Spec),
		sink.Use(rabbitmq.Spec),
		sink.Use(nats.Spec),
		sink.Use(kafka.Spec),
		sink.Use(sqs.Spec),
		sink.Use(pusher.Spec),
	), &engine
}

func main() {
	exec.Guard()
	ctx := signals.Interrupted(context.Background(), os.Stderr)
	d, engine := defaults()
	os.Exit(d.Main(ctx, cli.Process(), os.Environ(), func(ctx context.Context, env *cli.Env) error {
		return serve(ctx, env, d, *engine)
	}))
}

// serve opens the engine, builds everything on it and runs it until ctx ends; then all ends in the order that
// [httpapi.Process] has, the engine last.
func serve(ctx context.Context, env *cli.Env, d *daemon.Daemon, engine sqlite.Config) error {
	hangup := signals.Hangup()
	log, level := logs.New(env.Stderr, env.Terminal, d.Log)
	for _, w := range d.Warnings() {
		log.Warn().Msg(w)
	}
	certificate := &httpapi.Certificate{}
	if err := certificate.Load(d.HTTP.Server); err != nil {
		return err
	}
	db, err := sqlite.Open(ctx, engine, log.With().Str("engine", "sqlite").Logger())
	if err != nil {
		return err
	}
	registry, err := d.HTTP.Auth.OpenRegistry(ctx, db, env.Stderr)
	if err != nil {
		return errors.Join(err, db.Close(context.WithoutCancel(ctx)))
	}
	hub, api, err := d.Build(core.Options{Bus: db, Instances: registry, Log: db, Queue: db.Queue(), Logger: log})
	if err != nil {
		return errors.Join(err, db.Close(context.WithoutCancel(ctx)))
	}
	reload := func() {
		next, _ := defaults()
		d.Reload(next, certificate, level, log)
	}
	return httpapi.Process{
		Hub: hub, API: api, Server: d.HTTP.Server, Certificate: certificate, Engine: db.Close, Logger: log, Hangup: hangup, Reload: reload,
	}.Run(ctx)
}
