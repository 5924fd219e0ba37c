package cli

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"path/filepath"
	"strings"
	"time"
)

// Plugins is what the plugin commands ask of the host of plugins.
type Plugins struct {
	// New writes a plugin to begin with and returns its files. Test holds an executable to the protocol and reports each rule.
	New  func(PluginNew) ([]string, error)
	Test func(ctx context.Context, t PluginTest, report func(PluginRule)) error
}

// PluginNew is what "plugin new" was asked for.
type PluginNew struct {
	Language string
	Name     string
	Dir      string // empty: named like the plugin
	SDK      string // a checkout of evosink to build with; empty: a released version
	Version  string // of this evosink; empty if it is none that was released
}

// PluginTest is what "plugin test" was asked for.
type PluginTest struct {
	Path     string // absolute
	Args     []string
	Env      []string // names of variables that the plugin needs
	Name     string
	Config   map[string]any
	Settings json.RawMessage
	Accept   bool // a refused event is a violation
	Timeout  time.Duration
}

// PluginRule is the outcome of one rule.
type PluginRule struct {
	Rule string
	Why  string // what goes wrong in production when it is broken
	Note string // what was seen and is no violation
	Err  error  // the violation
}

// PluginCommands returns the plugin commands.
func PluginCommands(p Plugins) []Command {
	return []Command{
		{
			Name: "plugin new", Usage: "<go|node|python> <name> [--dir folder] [--sdk checkout]",
			Summary: "Write a plugin to begin with: a sink of your own that runs as its own process",
			Run:     func(_ context.Context, env *Env, args []string) error { return newPlugin(env, args, p.New) },
		},
		{
			Name: "plugin test", Usage: "<path> [--set key=value]... [--settings json] [--env name]... [--accept] [--timeout 10s] [-- arguments]",
			Summary: "Hold a plugin in any language to the protocol, and explain each rule that it breaks",
			Run:     func(ctx context.Context, env *Env, args []string) error { return testPlugin(ctx, env, args, p.Test) },
		},
	}
}

func newPlugin(env *Env, args []string, write func(PluginNew) ([]string, error)) error {
	var n PluginNew
	flags := flag.NewFlagSet("plugin new", flag.ContinueOnError)
	flags.StringVar(&n.Dir, "dir", "", "folder to write to")
	flags.StringVar(&n.SDK, "sdk", "", "checkout of evosink that a Go plugin is built with")
	words, err := ParseFlags(flags, args)
	if err != nil {
		return err
	}
	if len(words) != 2 {
		return Usagef("plugin new needs a language and a name")
	}
	n.Language, n.Name = words[0], words[1]
	files, err := write(n)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(env.Stdout, "%s\nRead %s first.\n", strings.Join(files, "\n"), filepath.Join(filepath.Dir(files[0]), "README.md"))
	return err
}

func testPlugin(ctx context.Context, env *Env, args []string, hold func(context.Context, PluginTest, func(PluginRule)) error) error {
	t, err := pluginTest(args)
	if err != nil {
		return err
	}
	var lost error // the output
	err = hold(ctx, t, func(r PluginRule) {
		if text := r.text(); lost == nil {
			_, lost = fmt.Fprint(env.Stdout, text)
		}
	})
	if err != nil {
		return err
	}
	if lost == nil {
		_, lost = fmt.Fprintln(env.Stdout, "the plugin keeps all rules")
	}
	return lost
}

// pluginTest reads the command line.
func pluginTest(args []string) (PluginTest, error) {
	t := PluginTest{Config: map[string]any{}}
	flags := flag.NewFlagSet("plugin test", flag.ContinueOnError)
	flags.Func("set", "a key of the plugin's configuration", func(s string) error {
		key, value, ok := strings.Cut(s, "=")
		if !ok || key == "" {
			return fmt.Errorf("want key=value")
		}
		t.Config[key] = valueOf(value)
		return nil
	})
	flags.Func("settings", "settings of an instance, as JSON", func(s string) error {
		if t.Settings = json.RawMessage(s); !json.Valid(t.Settings) {
			return fmt.Errorf("want JSON")
		}
		return nil
	})
	flags.Func("env", "a variable that the plugin needs", func(s string) error { t.Env = append(t.Env, s); return nil })
	flags.BoolVar(&t.Accept, "accept", false, "a refused event is a violation")
	flags.DurationVar(&t.Timeout, "timeout", 10*time.Second, "longest wait")
	words, err := ParseFlags(flags, args)
	if err != nil {
		return t, err
	}
	if len(words) == 0 {
		return t, Usagef("plugin test needs the path of an executable")
	}
	if t.Timeout <= 0 {
		return t, Usagef("--timeout must be above 0")
	}
	t.Args = words[1:]
	if t.Path, err = filepath.Abs(words[0]); err != nil {
		return t, err
	}
	t.Name = strings.TrimSuffix(filepath.Base(t.Path), filepath.Ext(t.Path))
	return t, nil
}

// valueOf takes what reads as JSON for that, and anything else for a text.
func valueOf(s string) any {
	var v any
	if json.Unmarshal([]byte(s), &v) != nil {
		return s
	}
	return v
}

func (r PluginRule) text() string {
	if r.Err != nil {
		return fmt.Sprintf("FAIL  %s\n      %s\n      why: %s\n", r.Rule, strings.ReplaceAll(r.Err.Error(), "\n", "\n      "), r.Why)
	}
	if r.Note != "" {
		return fmt.Sprintf("ok    %s\n      %s\n", r.Rule, r.Note)
	}
	return fmt.Sprintf("ok    %s\n", r.Rule)
}
