package config

import (
	"bufio"
	"fmt"
	"io"
	"strings"
)

// Usage writes the list of flags, one for each key, with its help, default and variables.
func (c *Config) Usage(w io.Writer) error {
	out := bufio.NewWriter(w)
	_, _ = fmt.Fprintf(out, "  --config file\n        the configuration file, YAML or TOML (default: %s in the working directory) [%sCONFIG]\n", strings.Join(defaultFiles, " or "), prefix)
	for _, n := range c.table.leaves {
		_, _ = fmt.Fprintf(out, "  --%s%s\n", flagName(n), flagValue(n))
		if n.help != "" {
			_, _ = fmt.Fprintf(out, "        %s\n", n.help)
		}
		if notes := c.notes(n); notes != "" {
			_, _ = fmt.Fprintf(out, "        %s\n", notes)
		}
	}
	return out.Flush()
}

// flagName shows where the user's own names go.
func flagName(n *node) string {
	name := strings.ReplaceAll(n.key(), "*", "<name>")
	if n.shape == shapeMap || n.shape == shapeOpaque {
		name += ".<name>"
	}
	return name
}

func flagValue(n *node) string {
	switch {
	case n.shape == shapeBool:
		return ""
	case n.shape == shapeMap:
		n = n.elem
	}
	return "=" + n.word()
}

// word says in one word what a value looks like.
func (n *node) word() string {
	switch n.shape {
	case shapeBool:
		return "true|false"
	case shapeInt, shapeUint:
		return "number"
	case shapeFloat:
		return "0.5"
	case shapeDuration:
		return "30s"
	case shapeList:
		return n.elem.word() + ",…"
	case shapeSecret:
		return "secret"
	}
	if n.typ != nil && n.typ.Name() == "Bytes" {
		return "1MiB"
	}
	return "text"
}

// notes joins the default and the variables of a key.
func (c *Config) notes(n *node) string {
	var notes []string
	if d := textOf(lookup(c.defaults, n.path)); d != "" && d != "{}" {
		notes = append(notes, "(default "+cell(d)+")")
	}
	if names := n.variables(); len(names) > 0 && !strings.Contains(n.key(), "*") {
		notes = append(notes, "["+strings.Join(names, ", ")+"]")
	}
	return strings.Join(notes, " ")
}

// lookup finds what stands at a path in a tree, or nil.
func lookup(tree map[string]any, path []string) any {
	var at any = tree
	for _, word := range path {
		m, ok := at.(map[string]any)
		if !ok {
			return nil
		}
		at = m[word]
	}
	return at
}
