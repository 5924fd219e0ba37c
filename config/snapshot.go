package config

import (
	"errors"
	"hash/maphash"
	"maps"
	"reflect"
	"slices"
	"strings"
)

// seed makes fingerprints that mean nothing outside this process.
var seed = maphash.MakeSeed()

// snapshotting walks the sections and writes down what they hold.
type snapshotting struct {
	layers layers
	out    *Config
	errs   []error
}

// snapshot takes down every value as it is now. layers tell the origins; without them all is default.
func (t *table) snapshot(ls layers) (*Config, error) {
	s := &snapshotting{layers: ls, out: &Config{table: t, tree: map[string]any{}, secrets: map[string]any{}}}
	s.node(t.root, reflect.Value{}, nil)
	if ls != nil {
		s.out.secrets = nil // only the layer of defaults needs them
	}
	return s.out, errors.Join(s.errs...)
}

func (s *snapshotting) node(n *node, parent reflect.Value, path []string) {
	v := n.value(parent, false)
	switch {
	case n.shape == shapeGroup:
		s.group(n, v, path)
	case n.shape == shapeEntries && v.IsValid():
		for _, k := range sortedValues(v) {
			e := reflect.New(n.entry.typ).Elem()
			e.Set(v.MapIndex(k))
			s.group(n.entry, e, append(slices.Clone(path), k.String()))
		}
	case n.shape.leaf():
		s.leaf(n, v, path)
	}
}

func (s *snapshotting) group(n *node, v reflect.Value, path []string) {
	for _, c := range n.children {
		s.node(c, v, append(slices.Clone(path), c.name()))
	}
}

// leaf writes one row, or for a map one row for each entry.
func (s *snapshotting) leaf(n *node, v reflect.Value, path []string) {
	value, err := n.plain(v)
	if err != nil {
		s.errs = append(s.errs, err)
		return
	}
	shown := n.redact(value)
	if value != nil {
		setPath(s.out.secrets, path, value)
		setPath(s.out.tree, path, shown)
	}
	m, isMap := value.(map[string]any)
	if !isMap || len(m) == 0 {
		s.row(n, path, "", value, shown)
		return
	}
	for _, name := range sortedKeys(m) {
		s.row(n, append(slices.Clone(path), name), name, m[name], shown.(map[string]any)[name])
	}
}

// row writes the line of a leaf, or of the entry of a map when it is named.
func (s *snapshotting) row(n *node, path []string, entry string, value, shown any) {
	key := strings.Join(path, ".")
	from, _ := s.layers.origin(key)
	s.out.rows = append(s.out.rows, Key{
		Name: key, Value: textOf(shown), Origin: from.String(), Found: from.found, Outside: from.outside, Help: n.help, Live: n.live,
		Overridden: s.layers.overridden(n, key, entry, from),
		print:      maphash.String(seed, textOf(value)),
	})
}

// overridden lists the values below the one that counts, the strongest first; empty ones say nothing.
func (ls layers) overridden(n *node, key, entry string, effective origin) []Source {
	var out []Source
	for i := len(ls) - 1; i >= 0; i-- {
		l := ls[i]
		from := l.of(key)
		if from == effective || !l.values.Exists(key) {
			continue
		}
		if text := textOf(n.redactEntry(entry, l.values.Get(key))); text != "" {
			out = append(out, Source{Value: text, Origin: from.String()})
		}
	}
	return out
}

// redactEntry redacts the value of n, or of its entry when one is named.
func (n *node) redactEntry(entry string, value any) any {
	if entry == "" {
		return n.redact(value)
	}
	return n.redact(map[string]any{entry: value}).(map[string]any)[entry]
}

func sortedKeys(m map[string]any) []string { return slices.Sorted(maps.Keys(m)) }

func sortedValues(m reflect.Value) []reflect.Value {
	return slices.SortedFunc(slices.Values(m.MapKeys()), func(a, b reflect.Value) int {
		return strings.Compare(a.String(), b.String())
	})
}
