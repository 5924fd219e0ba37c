package cli

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/mattn/go-isatty"
)

// Exit codes of Main.
const (
	ExitOK    = 0
	ExitFail  = 1 // the command ran and failed
	ExitUsage = 2 // the command line is wrong
)

// Command is one thing evosink can be told to do.
type Command struct {
	// Name is one word or several ("config print"). The command without a name runs when no word is given.
	Name    string
	Summary string // one line for the list of commands
	Usage   string // what follows the name: "[--json|--yaml]"
	// Run gets what follows the name. It returns nil, an error, or a UsageError; the frame prints it.
	Run func(ctx context.Context, env *Env, args []string) error
}

// Env is what a command may touch of the process.
type Env struct {
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	Terminal       bool     // Stderr is a terminal: progress may be drawn on it
	Args           []string // without the program's name and without the configuration's flags
	// Flags, if set, writes the list of the configuration's flags below the help.
	Flags func(io.Writer) error
	// Nearest, if set, returns the known word closest to a mistyped one, or "".
	Nearest func(word string, known []string) string
}

// Process returns what commands may touch of this process: its streams and its command line.
func Process() *Env {
	return &Env{
		Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, Args: os.Args[1:], Terminal: isatty.IsTerminal(os.Stderr.Fd()),
	}
}

// UsageError says that the command line is wrong, not that the command failed.
type UsageError struct{ Reason string }

func (e *UsageError) Error() string { return e.Reason }

// Usagef makes a UsageError.
func Usagef(format string, args ...any) error {
	return &UsageError{Reason: fmt.Sprintf(format, args...)}
}

// Main runs the command that env.Args names and returns the exit code. --help or -h anywhere before a -- prints help
// instead; so does "help". Errors go to Stderr, once.
func Main(ctx context.Context, env *Env, commands []Command) int {
	return exit(env, dispatch(ctx, env, commands))
}

func dispatch(ctx context.Context, env *Env, commands []Command) error {
	words, help := withoutHelp(env.Args)
	if help {
		return writeHelp(env, commands, leading(words))
	}
	c, args := find(commands, words)
	if c == nil {
		return unknown(env, commands, leading(words))
	}
	err := c.Run(ctx, env, args)
	var usage *UsageError
	if errors.As(err, &usage) {
		return fmt.Errorf("%w\nUsage: %s", err, c.line())
	}
	return err
}

// exit prints an error and chooses the code.
func exit(env *Env, err error) int {
	if err == nil {
		return ExitOK
	}
	_, _ = fmt.Fprintf(env.Stderr, "evosink: %v\n", err)
	var usage *UsageError
	if errors.As(err, &usage) {
		return ExitUsage
	}
	return ExitFail
}

// find returns the command with the longest name that args begin with. The nameless command takes no words: it would
// swallow every mistyped one.
func find(commands []Command, args []string) (found *Command, rest []string) {
	best := -1
	for i := range commands {
		words := strings.Fields(commands[i].Name)
		if len(words) <= best || len(words) > len(args) || strings.Join(args[:len(words)], " ") != commands[i].Name {
			continue
		}
		if len(words) == 0 && len(leading(args)) > 0 {
			continue
		}
		best, found = len(words), &commands[i]
	}
	if found == nil {
		return nil, args
	}
	return found, args[best:]
}

// leading returns the words before the first flag.
func leading(args []string) []string {
	for i, a := range args {
		if strings.HasPrefix(a, "-") {
			return args[:i]
		}
	}
	return args
}

// withoutHelp takes the requests for help out of args.
func withoutHelp(args []string) (words []string, help bool) {
	for i, a := range args {
		switch {
		case a == "--":
			return append(words, args[i:]...), help
		case a == "-h" || a == "--help" || i == 0 && a == "help":
			help = true
		default:
			words = append(words, a)
		}
	}
	return words, help
}

// ParseFlags reads a command's own flags from args and returns the words between and after them. Its errors are
// UsageErrors.
func ParseFlags(flags *flag.FlagSet, args []string) (words []string, err error) {
	flags.SetOutput(io.Discard)
	flags.Usage = func() {}
	for len(args) > 0 {
		if err := flags.Parse(args); err != nil {
			return nil, Usagef("%v", err)
		}
		parsed := len(args) - flags.NArg()
		if parsed > 0 && args[parsed-1] == "--" {
			return append(words, flags.Args()...), nil
		}
		if args = flags.Args(); len(args) > 0 {
			words, args = append(words, args[0]), args[1:]
		}
	}
	return words, nil
}

// NoWords refuses arguments that a command does not take.
func NoWords(words []string) error {
	if len(words) > 0 {
		return Usagef("unexpected argument %q", words[0])
	}
	return nil
}
