package cli

import (
	"context"
	"flag"
	"fmt"
	"io"
)

// Config is what the config commands ask of the configuration that was loaded.
type Config interface {
	// Print writes the effective values as "table", "origins", "yaml" or "json", secrets redacted.
	Print(w io.Writer, format string) error
	// Schema writes the JSON schema of the configuration file.
	Schema(w io.Writer) error
	// EnvExample writes every variable with its help and default.
	EnvExample(w io.Writer) error
	// Warnings are what the user should know and stops nothing.
	Warnings() []string
}

// ConfigCommands returns the config commands over what was loaded, and the error that came with it: print and check
// report the error, schema and env need no valid configuration. check runs what a start would check beyond c; it
// returns what the user should know, and what would end the start.
func ConfigCommands(c Config, loaded error, check func(context.Context) (warnings []string, err error)) []Command {
	return []Command{
		{
			Name: "config print", Usage: "[--json | --yaml | --origin]",
			Summary: "Print the effective configuration and where each value comes from; secrets are redacted",
			Run: func(_ context.Context, env *Env, args []string) error {
				return printConfig(env, args, c, loaded)
			},
		},
		{
			Name:    "config check",
			Summary: "Check the configuration: exit 0 when evosink would start with it",
			Run: func(ctx context.Context, env *Env, args []string) error {
				if err := NoWords(args); err != nil {
					return err
				}
				warnings := c.Warnings()
				if loaded == nil {
					var more []string
					more, loaded = check(ctx)
					warnings = append(warnings, more...)
				}
				return tellConfig(env, warnings, loaded)
			},
		},
		writer("config schema", "Print the JSON schema of the configuration file", c.Schema),
		writer("config env", "Print an .env.example: every variable with its help and default", c.EnvExample),
	}
}

// writer is a command that takes nothing and writes one document.
func writer(name, summary string, write func(io.Writer) error) Command {
	return Command{Name: name, Summary: summary, Run: func(_ context.Context, env *Env, args []string) error {
		if err := NoWords(args); err != nil {
			return err
		}
		return write(env.Stdout)
	}}
}

func printConfig(env *Env, args []string, c Config, loaded error) error {
	flags := flag.NewFlagSet("config print", flag.ContinueOnError)
	chosen := map[string]*bool{
		"json":    flags.Bool("json", false, "the tree as JSON"),
		"yaml":    flags.Bool("yaml", false, "a file that loads again"),
		"origins": flags.Bool("origin", false, "the table, with the values that were overridden"),
	}
	words, err := ParseFlags(flags, args)
	if err != nil {
		return err
	}
	if err := NoWords(words); err != nil {
		return err
	}
	if loaded != nil {
		return loaded
	}
	format := ""
	for name, on := range chosen {
		if *on && format != "" {
			return Usagef("--json, --yaml and --origin exclude each other")
		}
		if *on {
			format = name
		}
	}
	if format == "" {
		format = "table"
	}
	return c.Print(env.Stdout, format)
}

func tellConfig(env *Env, warnings []string, wrong error) error {
	for _, w := range warnings {
		if _, err := fmt.Fprintf(env.Stdout, "warning: %s\n", w); err != nil {
			return err
		}
	}
	if wrong != nil {
		return fmt.Errorf("the configuration has errors:\n%w", wrong)
	}
	_, err := fmt.Fprintf(env.Stdout, "the configuration is valid (warnings: %d)\n", len(warnings))
	return err
}
