package config

import (
	"fmt"
	"strings"

	"github.com/knadh/koanf/v2"
)

// pattern is a variable name with room for names of the user's: WEBHOOK_EVENTS_* fills a map, and
// PLUGIN_*__* fills the free-form map of an entry.
type pattern struct {
	node    *node  // shapeMap, shapeOpaque or shapeEntries
	before  string // "WEBHOOK_EVENTS_", "PLUGIN_"
	between string // "__"; empty when there is one star
	into    *node  // the free-form map of an entry
}

// claimPattern registers name, which holds a star, for n.
func (t *table) claimPattern(n *node, name string) error {
	parts := strings.Split(name, "*")
	p := pattern{node: n, before: parts[0]}
	bad := fmt.Errorf("config: key %s: variable %s: want NAME_* on a map, or NAME_*__* on a map of structs with one map[string]any tagged env:\"*\"", n.key(), name)
	if p.before == "" || parts[len(parts)-1] != "" {
		return bad
	}
	switch n.shape {
	case shapeMap, shapeOpaque:
		if len(parts) != 2 {
			return bad
		}
	case shapeEntries:
		if p.into = n.entry.receiver(); len(parts) != 3 || parts[1] == "" || p.into == nil {
			return bad
		}
		p.between = parts[1]
	default:
		return bad
	}
	for _, other := range t.patterns {
		if other.before == p.before {
			return fmt.Errorf("config: keys %s and %s both claim the variables %s", other.node.key(), n.key(), name)
		}
	}
	t.patterns = append(t.patterns, p)
	return nil
}

// receiver finds the free-form map that takes an entry's variables.
func (n *node) receiver() *node {
	for _, c := range n.children {
		if c.shape == shapeOpaque && len(c.names) == 1 && c.names[0] == "*" {
			return c
		}
	}
	return nil
}

// match finds the pattern that a variable fills, and the path it sets. The layers below lend their
// spelling to names that capitals cannot express: PLUGIN_MY_SLACK__URL finds the plugin my-slack.
func (t *table) match(name string, below *koanf.Koanf) (*pattern, []string) {
	name = strings.TrimPrefix(name, prefix)
	for i := range t.patterns {
		p := &t.patterns[i]
		rest, ok := strings.CutPrefix(name, p.before)
		if !ok || rest == "" {
			continue
		}
		if p.node.shape != shapeEntries {
			return p, append(p.node.path[:len(p.node.path):len(p.node.path)], rest)
		}
		if entry, key, ok := strings.Cut(rest, p.between); ok && entry != "" && key != "" {
			return p, p.entryPath(entry, key, below)
		}
	}
	return nil, nil
}

func (p *pattern) entryPath(entry, key string, below *koanf.Koanf) []string {
	path := append([]string{}, p.node.path...)
	path = append(path, spelled(entry, below.MapKeys(strings.Join(path, "."))))
	path = append(path, p.into.name())
	return append(path, spelled(key, below.MapKeys(strings.Join(path, "."))))
}

// spelled returns the known name that reads as word in capitals, or word in lower case.
func spelled(word string, known []string) string {
	for _, k := range known {
		if capitals(k) == strings.ToUpper(word) {
			return k
		}
	}
	return strings.ToLower(word)
}

// capitals spells a name as a variable may: MY_SLACK for my-slack.
func capitals(name string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' {
			return r
		}
		return '_'
	}, strings.ToUpper(name))
}
