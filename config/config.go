package config

import (
	"slices"
)

// Config is what a Load found: every key with its value and origin, for a user's eyes and for a reload's comparison. It
// does not change, and may be used by several goroutines at once. The program reads its own sections, not this.
type Config struct {
	table    *table
	rows     []Key
	tree     map[string]any // effective values, redacted
	defaults map[string]any // the same of the defaults
	secrets  map[string]any // not redacted; only while loading
	warnings []string
	rest     []string
	help     bool
}

// Key is one line of the table. A map gives one line for each entry.
type Key struct {
	Name   string // "sinks.websocket.enabled"
	Value  string // as a variable would hold it; secrets read "***"
	Origin string // "default", "config.yaml", ".env", "environment WEBSOCKET_ENABLED", "flag --server.port"
	Help   string
	// Found tells that the value stands in a file of the working directory (.env, config.yaml), or in one that .env
	// there names: what the directory says, not what its user has typed or set. Outside tells that it was read from a
	// file outside of that directory nevertheless.
	Found, Outside bool

	Live bool // it can change while the program runs: its field has the tag reload:"true"
	// Overridden are the values that lost, the strongest first.
	Overridden []Source

	print uint64 // fingerprint of the value itself
}

// Source is a value and where it stands.
type Source struct {
	Value, Origin string
}

// Keys returns every key, in the order of the sections.
func (c *Config) Keys() []Key { return slices.Clone(c.rows) }

// Key returns the line of one key.
func (c *Config) Key(name string) (Key, bool) {
	i := slices.IndexFunc(c.rows, func(k Key) bool { return k.Name == name })
	if i < 0 {
		return Key{}, false
	}
	return c.rows[i], true
}

// Warnings returns what is worth telling the user and stops nothing.
func (c *Config) Warnings() []string { return slices.Clone(c.warnings) }

// Rest returns the arguments that are no flags of ours: a command and what belongs to it.
func (c *Config) Rest() []string { return slices.Clone(c.rest) }

// Help reports --help or -h among the arguments. They are in Rest too.
func (c *Config) Help() bool { return c.help }

// Diff returns the keys whose values differ between two Configs of the same sections, sorted. Values are
// compared, not origins, and secrets as they are, not as they print.
func Diff(before, after *Config) []string {
	values := func(c *Config) map[string]uint64 {
		m := make(map[string]uint64, len(c.rows))
		for _, k := range c.rows {
			m[k.Name] = k.print
		}
		return m
	}
	old, now := values(before), values(after)
	var changed []string
	for name, print := range now {
		if was, ok := old[name]; !ok || was != print {
			changed = append(changed, name)
		}
	}
	for name := range old {
		if _, ok := now[name]; !ok {
			changed = append(changed, name)
		}
	}
	slices.Sort(changed)
	return changed
}

// Changes divides the keys that differ into those that can change while the program runs ([Key.Live]) and those that
// need a restart.
func Changes(before, after *Config) (live, restart []string) {
	for _, name := range Diff(before, after) {
		key, ok := after.Key(name)
		if !ok { // an entry that is not there any more
			key, _ = before.Key(name)
		}
		if key.Live {
			live = append(live, name)
		} else {
			restart = append(restart, name)
		}
	}
	return live, restart
}
