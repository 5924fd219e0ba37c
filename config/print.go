package config

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"unicode"

	"github.com/knadh/koanf/parsers/yaml"
	"github.com/knadh/koanf/providers/confmap"
	"github.com/knadh/koanf/v2"
)

// Print writes the effective configuration without its secrets:
//
//	table    key, value and origin of every key
//	origins  the same, and below each key the values that it overrides
//	yaml     a file that loads again; secrets read *** in it and are not taken from there
//	json     the same tree
func (c *Config) Print(w io.Writer, format string) error {
	switch format {
	case "table":
		return c.printTable(w, false)
	case "origins":
		return c.printTable(w, true)
	case "yaml":
		return c.printYAML(w)
	case "json":
		return writeJSON(w, c.tree)
	}
	return fmt.Errorf("unknown format %q: want table, origins, yaml or json", format)
}

func (c *Config) printTable(w io.Writer, overridden bool) error {
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	_, _ = fmt.Fprintln(t, "KEY\tVALUE\tORIGIN")
	for _, k := range c.rows {
		_, _ = fmt.Fprintf(t, "%s\t%s\t%s\n", cell(k.Name), cell(k.Value), cell(k.Origin))
		if !overridden {
			continue
		}
		for _, s := range k.Overridden {
			_, _ = fmt.Fprintf(t, "\t%s\t%s, overridden\n", cell(s.Value), cell(s.Origin))
		}
	}
	return t.Flush() // the tabwriter keeps every line until here, and the first error with it
}

// cell keeps text on one line, and control characters away from the terminal.
func cell(s string) string {
	if strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return strconv.Quote(s)
	}
	return s
}

func (c *Config) printYAML(w io.Writer) error {
	k := koanf.New(".")
	if err := k.Load(confmap.Provider(c.tree, ""), nil); err != nil {
		return err
	}
	b, err := k.Marshal(yaml.Parser())
	if err != nil {
		return err
	}
	_, err = w.Write(b)
	return err
}

func writeJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(v)
}
