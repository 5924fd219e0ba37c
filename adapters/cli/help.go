package cli

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// line is how a command is called.
func (c *Command) line() string {
	return strings.Join(strings.Fields("evosink "+c.Name+" "+c.Usage), " ")
}

// under returns the commands whose names begin with words.
func under(commands []Command, words []string) []Command {
	var found []Command
	start := strings.Join(words, " ")
	for _, c := range commands {
		if start == "" || c.Name == start || strings.HasPrefix(c.Name, start+" ") {
			found = append(found, c)
		}
	}
	return found
}

// writeHelp explains one command, a family of them ("config"), or all.
func writeHelp(env *Env, commands []Command, words []string) error {
	if c, _ := find(commands, words); c != nil && c.Name != "" {
		_, err := fmt.Fprintf(env.Stdout, "%s\n\nUsage: %s\n", c.Summary, c.line())
		return err
	}
	family := under(commands, words)
	if len(family) == 0 {
		return unknown(env, commands, words)
	}
	if err := list(env.Stdout, family); err != nil || env.Flags == nil || len(words) > 0 {
		return err
	}
	if _, err := fmt.Fprint(env.Stdout, "\nConfiguration (each key is a flag; a file, a .env and variables set the same keys):\n"); err != nil {
		return err
	}
	return env.Flags(env.Stdout)
}

// list writes the commands in the order of their table.
func list(w io.Writer, commands []Command) error {
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	_, _ = fmt.Fprintln(t, "Usage: evosink [command] [flags]\n\nCommands:")
	for _, c := range commands {
		name := c.Name
		if name == "" {
			name = "(none)"
		}
		_, _ = fmt.Fprintf(t, "  %s\t%s\n", name, c.Summary)
	}
	return t.Flush() // the tabwriter keeps the first error until here
}

// unknown says what was not understood, and what could have been meant.
func unknown(env *Env, commands []Command, words []string) error {
	if len(words) == 0 {
		return Usagef("no command given, see evosink --help")
	}
	if family := under(commands, words[:1]); len(family) > 0 && len(words) == 1 {
		return Usagef("%s needs one of: %s", words[0], strings.Join(names(family), ", "))
	}
	typed := strings.Join(words[:min(len(words), 2)], " ")
	if env.Nearest != nil {
		for _, word := range []string{typed, words[0]} {
			if n := env.Nearest(word, names(commands)); n != "" {
				return Usagef("unknown command %q, did you mean %q?", typed, n)
			}
		}
	}
	return Usagef("unknown command %q, see evosink --help", typed)
}

// names returns the commands' names, but not that of the nameless one.
func names(commands []Command) []string {
	var list []string
	for _, c := range commands {
		if c.Name != "" {
			list = append(list, c.Name)
		}
	}
	return list
}
