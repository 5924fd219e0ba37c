package config

import (
	"bufio"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
)

const exampleHead = `# Every variable evosink reads, with its default. Copy this file to .env and uncomment what you change.
# An empty variable is one that is not set. Each name also works with the prefix EVOSINK_ (EVOSINK_SERVER_PORT),
# and for secrets with the suffix _FILE: the value is then read from that file.
# Stronger than a configuration file, weaker than the environment and flags.
`

// EnvExample writes an .env.example: every variable with its help and default, commented out so that
// a copy overrides nothing.
func (c *Config) EnvExample(w io.Writer) error {
	out := bufio.NewWriter(w)
	_, _ = out.WriteString(exampleHead)
	e := &exampling{out: out, defaults: c.defaults}
	e.node(c.table.root)
	return out.Flush()
}

type exampling struct {
	out      *bufio.Writer
	defaults map[string]any
	section  string
}

func (e *exampling) node(n *node) {
	if n.shape.leaf() || n.shape == shapeEntries {
		e.leaf(n)
		return
	}
	for _, c := range n.children {
		e.node(c)
	}
}

func (e *exampling) leaf(n *node) {
	names := n.variables()
	if len(names) == 0 {
		return
	}
	if section := strings.Join(n.path[:len(n.path)-1], "."); section != e.section {
		e.section = section
		_, _ = fmt.Fprintf(e.out, "\n# ---- %s ----\n", section)
	}
	_, _ = fmt.Fprintln(e.out)
	if n.help != "" {
		_, _ = fmt.Fprintf(e.out, "# %s\n", strings.ReplaceAll(n.help, "\n", "\n# "))
	}
	_, _ = fmt.Fprintf(e.out, "# %s\n", e.about(n, names))
	for _, name := range names {
		if strings.Contains(name, "*") {
			e.pattern(n, name)
			continue
		}
		_, _ = fmt.Fprintf(e.out, "# %s=%s\n", name, quoteDotenv(e.value(n, name)))
		return // the others are its aliases
	}
}

// about names the key of the file, and the other variables that set it.
func (e *exampling) about(n *node, names []string) string {
	about := "Key: " + n.key()
	var aliases []string
	for _, name := range names[1:] {
		if !strings.Contains(name, "*") {
			aliases = append(aliases, name)
		}
	}
	if len(aliases) > 0 {
		about += ". Also read from: " + strings.Join(aliases, ", ")
	}
	if n.live {
		about += ". Read again at SIGHUP"
	}
	return about
}

// pattern shows a variable with the user's own name in it. It is no assignment, so that it is not uncommented as it is.
func (e *exampling) pattern(n *node, name string) {
	word := "text"
	if n.shape == shapeMap {
		word = n.elem.word()
	}
	name = strings.Replace(name, "*", "<NAME>", 1)
	name = strings.Replace(name, "*", "<KEY>", 1)
	_, _ = fmt.Fprintf(e.out, "# %s: %s\n", name, word)
	m, _ := lookup(e.defaults, n.path).(map[string]any)
	for _, entry := range sortedKeys(m) {
		if n.shape == shapeMap && strings.HasSuffix(name, "<NAME>") {
			_, _ = fmt.Fprintf(e.out, "# %s=%s\n", strings.TrimSuffix(name, "<NAME>")+entry, quoteDotenv(textOf(m[entry])))
		}
	}
}

// value is the default as the variable of that name holds it: milliseconds for X_MS. A default that prints
// as a secret stays empty.
func (e *exampling) value(n *node, name string) string {
	value := lookup(e.defaults, n.path)
	if m, ok := value.(map[string]any); ok {
		return assignments(m)
	}
	text := textOf(value)
	if isRedacted(text) {
		return ""
	}
	unit := unitOf(name)
	if d, err := time.ParseDuration(text); err == nil && unit != 0 && n.shape == shapeDuration && d%unit == 0 {
		return strconv.FormatInt(int64(d/unit), 10)
	}
	return text
}

// assignments writes a map the way its variable holds it: "name=value,name=value".
func assignments(m map[string]any) string {
	words := make([]string, 0, len(m))
	for _, name := range sortedKeys(m) {
		if text := textOf(m[name]); !isRedacted(text) {
			words = append(words, name+"="+text)
		}
	}
	return strings.Join(words, ",")
}
