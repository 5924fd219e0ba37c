package config

import (
	"strings"

	"github.com/knadh/koanf/providers/confmap"
	"github.com/knadh/koanf/v2"
)

// layer is one source of values, in a Koanf of its own so that it can say what it set.
type layer struct {
	source string // "config.yaml", ".env", "environment", "flag", "default"
	values *koanf.Koanf
	names  map[string]string // key -> the variable or flag that set it; a file has none
	// found tells that no flag and no variable of the user's names the file of this layer: it lies in the working
	// directory, or .env there names it. outside tells that such a file stands for one outside of that directory.
	found, outside bool
}

// newLayer loads a nested tree. Its keys are never split: a map's entry may hold dots.
func newLayer(source string, tree map[string]any, names map[string]string) (*layer, error) {
	l := &layer{source: source, values: koanf.New("."), names: names}
	return l, l.values.Load(confmap.Provider(tree, ""), nil)
}

// origin says where a value comes from. For found and outside see [Key].
type origin struct {
	source, name   string
	found, outside bool
}

// of returns the origin of a key that the layer sets.
func (l *layer) of(key string) origin {
	name := l.names[key]
	return origin{l.source, name, l.found, l.found && (l.outside || strings.HasSuffix(name, fileSuffix))}
}

// String is what a user reads in the table: "default", "config.yaml", ".env",
// "environment WEBSOCKET_ENABLED", "flag --server.port".
func (o origin) String() string {
	if o.name == "" || o.source == dotenvName {
		return o.source
	}
	return o.source + " " + o.name
}

// detail is String, and names the variable of a .env file too: an error needs the line.
func (o origin) detail() string {
	if o.name == "" {
		return o.source
	}
	return o.source + " " + o.name
}

// defaultOrigin is that of a value which no layer set.
var defaultOrigin = origin{source: "default"}

// layers are in order: each overrides those before it. The first holds the defaults.
type layers []*layer

// merged returns all layers in one: maps merge by entry, anything else is replaced.
func (ls layers) merged() (*koanf.Koanf, error) {
	k := koanf.New(".")
	for _, l := range ls {
		if err := k.Merge(l.values); err != nil {
			return nil, err
		}
	}
	return k, nil
}

// origin returns the last layer that set key, or something below it; false when only the defaults did.
func (ls layers) origin(key string) (origin, bool) {
	for i := len(ls) - 1; i > 0; i-- {
		if l := ls[i]; l.values.Exists(key) {
			return l.of(key), true
		}
	}
	return defaultOrigin, false
}

// setPath puts a value into a tree of maps, and makes the maps on the way.
func setPath(tree map[string]any, path []string, value any) {
	for _, word := range path[:len(path)-1] {
		next, ok := tree[word].(map[string]any)
		if !ok {
			next = map[string]any{}
			tree[word] = next
		}
		tree = next
	}
	tree[path[len(path)-1]] = value
}
