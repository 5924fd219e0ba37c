package cli_test

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/evosink/evosink/adapters/cli"
)

// result is what running a command line left behind.
type result struct {
	code        int
	out, errout string
}

// fake is a configuration that says what it was asked.
type fake struct{ warnings []string }

func (fake) Print(w io.Writer, format string) error {
	_, err := io.WriteString(w, "printed "+format)
	return err
}
func (fake) Schema(w io.Writer) error     { _, err := io.WriteString(w, "{schema}"); return err }
func (fake) EnvExample(w io.Writer) error { _, err := io.WriteString(w, "# example"); return err }
func (f fake) Warnings() []string         { return f.warnings }

// crossCheck is what a start would check beyond the configuration itself.
func crossCheck(context.Context) ([]string, error) {
	return []string{"two settings together do nothing"}, nil
}

// run gives args to a frame with all commands there are, and some of the test's own.
func run(c cli.Config, loaded error, args ...string) result {
	commands := append([]cli.Command{
		{Name: "", Summary: "Serve", Run: func(_ context.Context, env *cli.Env, args []string) error {
			_, err := fmt.Fprintf(env.Stdout, "served %q", args)
			return err
		}},
		{Name: "fail", Summary: "Fail", Run: func(context.Context, *cli.Env, []string) error { return errors.New("it broke") }},
		{Name: "queue", Summary: "Show the queue", Run: func(_ context.Context, env *cli.Env, args []string) error {
			flags := flag.NewFlagSet("queue", flag.ContinueOnError)
			n := flags.Int("n", 0, "")
			words, err := cli.ParseFlags(flags, args)
			if err == nil {
				_, err = fmt.Fprintf(env.Stdout, "queue %d %q", *n, words)
			}
			return err
		}},
		cli.Version("v1.2.3"),
	}, cli.ConfigCommands(c, loaded, crossCheck)...)
	var out, errout bytes.Buffer
	env := &cli.Env{
		Stdin: strings.NewReader(""), Stdout: &out, Stderr: &errout, Args: args,
		Flags: func(w io.Writer) error { _, err := io.WriteString(w, "  --server.port=number\n"); return err },
		Nearest: func(word string, known []string) string {
			for _, k := range known {
				if len(word) > 2 && k[:2] == word[:2] {
					return k
				}
			}
			return ""
		},
	}
	code := cli.Main(context.Background(), env, commands)
	return result{code, out.String(), errout.String()}
}

func TestACommandLineRunsItsCommand(t *testing.T) {
	for _, c := range []struct {
		args string
		code int
		out  string
	}{
		{"", cli.ExitOK, `served []`},
		{"version", cli.ExitOK, "evosink v1.2.3 go"},
		{"config print", cli.ExitOK, "printed table"},
		{"config print --json", cli.ExitOK, "printed json"},
		{"config print --yaml", cli.ExitOK, "printed yaml"},
		{"config print --origin", cli.ExitOK, "printed origins"},
		{"config schema", cli.ExitOK, "{schema}"},
		{"config env", cli.ExitOK, "# example"},
		{"config check", cli.ExitOK, "warning: w1\nwarning: two settings together do nothing\nthe configuration is valid (warnings: 2)\n"},
		{"queue", cli.ExitOK, `queue 0 []`},
		{"queue a -n 3 b -- -n 4", cli.ExitOK, `queue 3 ["a" "b" "-n" "4"]`},
		{"queue -- --help", cli.ExitOK, `queue 0 ["--help"]`},
	} {
		r := run(fake{[]string{"w1"}}, nil, strings.Fields(c.args)...)
		if r.code != c.code || !strings.HasPrefix(r.out, c.out) || r.errout != "" {
			t.Errorf("%q: %+v, want code %d and %q", c.args, r, c.code, c.out)
		}
	}
}

func TestAWrongCommandLineExitsWith2AndSaysWhatToDo(t *testing.T) {
	for args, want := range map[string]string{
		"verison":                      `unknown command "verison", did you mean "version"?`,
		"config prnt":                  `unknown command "config prnt", did you mean "config print"?`,
		"zzz yyy xxx":                  `unknown command "zzz yyy", see evosink --help`,
		"config":                       "config needs one of: config print, config check, config schema, config env",
		"help zzz":                     `unknown command "zzz"`,
		"version x":                    `unexpected argument "x"`,
		"config schema x":              `unexpected argument "x"`,
		"config check x":               `unexpected argument "x"`,
		"config print x":               `unexpected argument "x"`,
		"config print --jsn":           "flag provided but not defined: -jsn\nUsage: evosink config print [--json | --yaml | --origin]",
		"config print --json --yaml":   "exclude each other",
		"config print --origin --json": "exclude each other",
		"queue -n x":                   "invalid value",
	} {
		r := run(fake{}, nil, strings.Fields(args)...)
		if r.code != cli.ExitUsage || !strings.Contains(r.errout, "evosink: ") || !strings.Contains(r.errout, want) || r.out != "" {
			t.Errorf("%q: %+v, want code 2 and %q", args, r, want)
		}
	}
}

func TestAFailedCommandExitsWith1(t *testing.T) {
	if r := run(fake{}, nil, "fail"); r.code != cli.ExitFail || r.errout != "evosink: it broke\n" {
		t.Errorf("%+v", r)
	}
}

func TestABrokenConfigurationStopsPrintAndCheckOnly(t *testing.T) {
	broken := errors.Join(errors.New("server.port: bad"), errors.New("other: bad"))
	for args, code := range map[string]int{"config print": cli.ExitFail, "config check": cli.ExitFail, "config schema": cli.ExitOK, "config env": cli.ExitOK} {
		r := run(fake{[]string{"w1"}}, broken, strings.Fields(args)...)
		if r.code != code || (code == cli.ExitFail) != strings.Contains(r.errout, "server.port: bad\nother: bad") {
			t.Errorf("%q: %+v, want code %d", args, r, code)
		}
	}
}

func TestHelpListsCommandsAndFlags(t *testing.T) {
	for args, want := range map[string][]string{
		"--help":              {"Commands:", "(none)", "Serve", "config print", "version", "--server.port=number"},
		"help":                {"Commands:", "--server.port=number"},
		"-h":                  {"Commands:"},
		"config --help":       {"config print", "config check"},
		"config print --help": {"Print the effective configuration", "Usage: evosink config print [--json | --yaml | --origin]"},
		"help config print":   {"Usage: evosink config print"},
		"version -h x":        {"Usage: evosink version"},
	} {
		r := run(fake{}, nil, strings.Fields(args)...)
		if r.code != cli.ExitOK || r.errout != "" {
			t.Errorf("%q: %+v", args, r)
		}
		for _, w := range want {
			if !strings.Contains(r.out, w) {
				t.Errorf("%q does not print %q:\n%s", args, w, r.out)
			}
		}
	}
	if r := run(fake{}, nil, "config", "--help"); strings.Contains(r.out, "version") {
		t.Errorf("the help of a family lists others:\n%s", r.out)
	}
}

// failing is an output that is gone.
type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, errors.New("pipe closed") }

func TestALostOutputIsAFailure(t *testing.T) {
	for _, args := range []string{"--help", "version", "config print", "config check", "config schema", "config print --help"} {
		var errout bytes.Buffer
		env := &cli.Env{Stdout: failing{}, Stderr: &errout, Args: strings.Fields(args)}
		commands := append(cli.ConfigCommands(fake{}, nil, crossCheck), cli.Version(""))
		if code := cli.Main(context.Background(), env, commands); code != cli.ExitFail || !strings.Contains(errout.String(), "pipe closed") {
			t.Errorf("%q: code %d, %q", args, code, errout.String())
		}
	}
}

func TestWithoutANamelessCommandNoWordsIsAUsageError(t *testing.T) {
	var errout bytes.Buffer
	env := &cli.Env{Stderr: &errout}
	if code := cli.Main(context.Background(), env, []cli.Command{cli.Version("")}); code != cli.ExitUsage || !strings.Contains(errout.String(), "no command given") {
		t.Errorf("code %d, %q", code, errout.String())
	}
}
