package config

import (
	"fmt"
	"strings"
)

// arguments is what the command line says. Every key is a flag: --server.port=8080, --server.port 8080,
// and for a bool --websocket.enabled alone.
type arguments struct {
	table *table
	tree  map[string]any
	names map[string]string
	file  string   // --config
	rest  []string // commands, and what belongs to them
	help  bool     // --help or -h, which stay in rest too
	errs  []error

	warnings []string
}

// parseArgs reads the command line without the program's name. What is no flag stays in rest; so does, once a
// command was named, every flag without a dot, which is the command's own, and everything after --.
func (t *table) parseArgs(args []string) *arguments {
	a := &arguments{table: t, tree: map[string]any{}, names: map[string]string{}}
	for len(args) > 0 {
		arg := args[0]
		args = args[1:]
		switch {
		case arg == "--":
			a.rest = append(append(a.rest, arg), args...)
			return a
		case arg == "-h" || arg == "--help":
			a.help = true
			a.rest = append(a.rest, arg)
		case arg == "-" || !strings.HasPrefix(arg, "-"):
			a.rest = append(a.rest, arg)
		default:
			args = a.flag(arg, args)
		}
	}
	return a
}

// flag reads one flag, and its value from the arguments after it when it needs one.
func (a *arguments) flag(arg string, after []string) []string {
	name, value, has := strings.Cut(strings.TrimPrefix(arg, "--"), "=")
	n, path := a.table.find(name)
	if arg[1] != '-' {
		n, path = nil, nil // one dash is no key of ours
	}
	isFile := name == "config" && arg[1] == '-'
	switch {
	case n == nil && !isFile && a.belongsToCommand(name):
		a.rest = append(a.rest, arg)
		return after
	case n == nil && !isFile:
		a.errs = append(a.errs, a.unknown(arg, name))
		return after
	case !has && !isFile && n.shape == shapeBool:
		value = "true"
	case !has && (len(after) == 0 || strings.HasPrefix(after[0], "--")):
		a.errs = append(a.errs, fmt.Errorf("flag --%s needs a value: --%s=…", name, name))
		return after
	case !has:
		value, after = after[0], after[1:]
	}
	if isFile {
		a.file = value
		return after
	}
	a.set(n, path, name, value)
	return after
}

func (a *arguments) set(n *node, path []string, name, text string) {
	value := n.fromText(text)
	setPath(a.tree, path, value)
	a.names[name] = "--" + name
	if isRedacted(textOf(n.redact(value))) {
		a.warnings = append(a.warnings, fmt.Sprintf("--%s: every user and process of this machine can read a secret on the command line; set it by a variable, a file, or NAME_FILE", name))
	}
	if entries, ok := value.(map[string]any); ok {
		for e := range entries {
			a.names[name+"."+e] = "--" + name
		}
	}
}

// belongsToCommand: a command was named, and no key of ours lacks a dot unless a section stands at the top.
func (a *arguments) belongsToCommand(name string) bool {
	return !strings.Contains(name, ".") && len(a.rest) > 0 && !strings.HasPrefix(a.rest[0], "-")
}

func (a *arguments) unknown(arg, name string) error {
	if arg[1] != '-' {
		return fmt.Errorf("unknown flag %s: flags begin with two dashes, see --help", arg)
	}
	if k := Nearest(name, append([]string{"config", "help"}, a.table.keys...)); k != "" {
		return fmt.Errorf("unknown flag --%s, did you mean --%s?", name, k)
	}
	return fmt.Errorf("unknown flag --%s, see --help", name)
}
