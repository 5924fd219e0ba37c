package daemon

import (
	"context"
	"fmt"

	"github.com/evosink/evosink/adapters/cli"
	"github.com/evosink/evosink/config"
	"github.com/evosink/evosink/plugins/exec/plugintest"
	"github.com/evosink/evosink/plugins/exec/scaffold"
)

// Main loads the configuration, runs the command that the command line names, in the process's environment env, and
// returns the exit code. Without a command it is serve, which gets a valid configuration and runs until ctx ends.
func (d *Daemon) Main(ctx context.Context, env *cli.Env, environ []string, serve func(context.Context, *cli.Env) error) int {
	wrong := d.Load(env.Args, environ)
	if d.loaded == nil { // there is not even a table of keys
		_, _ = fmt.Fprintln(env.Stderr, "evosink:", wrong)
		return cli.ExitFail
	}
	env.Args, env.Flags, env.Nearest = d.loaded.Rest(), d.loaded.Usage, config.Nearest
	all := []cli.Command{
		{Summary: "Take events and deliver them", Run: func(ctx context.Context, env *cli.Env, _ []string) error {
			if wrong != nil {
				return wrong
			}
			return serve(ctx, env)
		}},
		cli.Version(d.Version),
	}
	all = append(all, cli.ConfigCommands(d.loaded, wrong, d.check)...)
	all = append(all, cli.ServerCommands(d.server())...)
	all = append(all, cli.PluginCommands(cli.Plugins{New: d.newPlugin, Test: testPlugin})...)
	return cli.Main(ctx, env, all)
}

// server is what the commands know of the server of this configuration.
func (d *Daemon) server() cli.Server {
	out := cli.Server{URL: d.HTTP.Server.Local(), Key: d.HTTP.Auth.APIKey}
	if d.HTTP.Server.TLS() {
		out.Certificate = d.HTTP.Server.Certificate
	}
	for _, name := range []string{"server.host", "server.port", "server.type"} {
		if k, _ := d.loaded.Key(name); k.Found {
			out.URLFrom = cli.Origin{Text: k.Origin, Found: true}
		}
	}
	if k, _ := d.loaded.Key("auth.api_key"); d.HTTP.Auth.APIKey != "" {
		out.KeyFrom = cli.Origin{Text: k.Origin, Found: k.Found, Outside: k.Outside}
	}
	return out
}

func (d *Daemon) newPlugin(n cli.PluginNew) ([]string, error) {
	n.Version = d.Version
	return scaffold.Write(scaffold.Plugin(n))
}

func testPlugin(ctx context.Context, t cli.PluginTest, report func(cli.PluginRule)) error {
	return plugintest.Run(ctx, plugintest.Subject(t), func(r plugintest.Result) { report(cli.PluginRule(r)) })
}
