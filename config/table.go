package config

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
)

// prefix may stand before every variable of ours: EVOSINK_BUS_URL is BUS_URL.
const prefix = "EVOSINK_"

// fileSuffix makes a secret's variable name a file that holds it (Docker and Kubernetes secrets).
const fileSuffix = "_FILE"

// Section is one part of the configuration, handed in by the package that it configures.
type Section struct {
	// Path is where the section stands: "sinks.websocket"; empty is the top of the file.
	Path string
	// Into points to a struct that already holds its defaults. Each exported field has a tag
	//
	//	koanf:"uri" env:"RABBITMQ_URI,AMQP_URL" help:"where the broker listens" unit:"ms"
	//
	// and secret:"true" for text whose struct cannot know the type [Secret], reload:"true" for what can change while
	// the program runs; of these only koanf is required ("-" leaves the field out, ",squash" lifts an embedded struct).
	// A method Validate() error is called after decoding; its errors speak keys relative to Path.
	Into any
}

// table is every key there is, and every variable name that leads to one.
type table struct {
	root     *node
	sections []Section
	leaves   []*node // those inside entries carry "*" in their path
	keys     []string
	exact    map[string]claim
	patterns []pattern
	prefixes []string // of variables: "WEBSOCKET_"
}

// claim is what a variable sets: a leaf, from its text or (file) from the file it names.
type claim struct {
	leaf *node
	file bool
}

// newTable reads the types of the sections. Its errors are mistakes in those types.
func newTable(sections []Section) (*table, error) {
	t := &table{root: &node{}, sections: sections, exact: map[string]claim{}}
	for _, s := range sections {
		if err := t.addSection(s); err != nil {
			return nil, err
		}
	}
	t.root.leaves(func(n *node) { t.leaves = append(t.leaves, n); t.keys = append(t.keys, n.key()) })
	return t, t.claimAll()
}

func (t *table) addSection(s Section) error {
	v := reflect.ValueOf(s.Into)
	if v.Kind() != reflect.Pointer || v.IsNil() || v.Elem().Kind() != reflect.Struct {
		return fmt.Errorf("config: section %q: Into is %T, want a pointer to a struct", s.Path, s.Into)
	}
	at, err := t.group(s.Path)
	if err != nil {
		return err
	}
	if at.root.IsValid() || at.shape != shapeGroup || at.index != nil {
		return fmt.Errorf("config: two sections at %q", s.Path)
	}
	at.root, at.typ = v.Elem(), v.Elem().Type()
	return at.addFields(at.typ, nil)
}

// group returns the node at path, made with those above it when there is none.
func (t *table) group(path string) (*node, error) {
	n := t.root
	if path == "" {
		return n, nil
	}
	for i, word := range strings.Split(path, ".") {
		if !keyWord.MatchString(word) {
			return nil, fmt.Errorf("config: section %q: want lower-case words joined by dots", path)
		}
		if n.shape != shapeGroup {
			return nil, fmt.Errorf("config: section %q stands below the key %s", path, n.key())
		}
		next := n.child(word)
		if next == nil {
			next = &node{path: strings.Split(path, ".")[:i+1]}
			n.children = append(n.children, next)
		}
		n = next
	}
	return n, nil
}

// claimAll gives every key its variables and reports all names that two keys claim.
func (t *table) claimAll() error {
	t.exact[prefix+"CONFIG"] = claim{}
	t.prefixes = []string{prefix}
	var errs []error
	var visit func(*node)
	visit = func(n *node) {
		for _, name := range n.variables() {
			errs = append(errs, t.claim(n, name))
		}
		for _, c := range n.children {
			visit(c)
		}
	}
	visit(t.root)
	slices.SortStableFunc(t.patterns, func(a, b pattern) int { return len(b.before) - len(a.before) })
	return errors.Join(errs...)
}

// variables returns the names that lead to n: its tag's, or its path in capitals.
func (n *node) variables() []string {
	switch {
	case n.shape == shapeGroup || slices.Equal(n.names, []string{"-"}):
		return nil
	case len(n.names) > 0:
		return n.names
	case n.shape == shapeEntries || n.shape == shapeOpaque:
		return nil // free-form: only a pattern can fill it
	}
	return []string{strings.ToUpper(strings.Join(n.path, "_"))}
}

func (t *table) claim(n *node, name string) error {
	if word, _, ok := strings.Cut(name, "_"); ok && !slices.Contains(t.prefixes, word+"_") {
		t.prefixes = append(t.prefixes, word+"_")
	}
	if strings.Contains(name, "*") {
		return t.claimPattern(n, name)
	}
	if n.shape == shapeEntries || n.shape == shapeOpaque {
		return fmt.Errorf("config: key %s: variable %s needs a * for the name of the entry", n.key(), name)
	}
	for _, form := range forms(name) {
		if err := t.claimExact(form, claim{leaf: n}); err != nil {
			return err
		}
		if n.shape != shapeSecret {
			continue
		}
		if err := t.claimExact(form+fileSuffix, claim{leaf: n, file: true}); err != nil {
			return err
		}
	}
	return nil
}

func (t *table) claimExact(name string, c claim) error {
	other, taken := t.exact[name]
	if taken && other.leaf == nil {
		return fmt.Errorf("config: key %s claims the variable %s, which names the file", c.leaf.key(), name)
	}
	if taken {
		return fmt.Errorf("config: keys %s and %s both claim the variable %s", other.leaf.key(), c.leaf.key(), name)
	}
	t.exact[name] = c
	return nil
}

// forms are the spellings of a variable, the stronger first.
func forms(name string) []string {
	if strings.HasPrefix(name, prefix) {
		return []string{name}
	}
	return []string{prefix + name, name}
}

// find returns the leaf or the map entry that a key names, and its path with the names of entries
// in it. A map takes the whole rest of the key as one name; a free-form map nests at each dot.
func (t *table) find(key string) (*node, []string) {
	path := strings.Split(key, ".")
	if slices.Contains(path, "") {
		return nil, nil
	}
	n := t.root
	for i, word := range path {
		switch n.shape {
		case shapeGroup:
			n = n.child(word)
		case shapeEntries:
			n = n.entry
		case shapeMap:
			return n.elem, append(slices.Clone(path[:i]), strings.Join(path[i:], "."))
		case shapeOpaque:
			return n, path
		default:
			n = nil
		}
		if n == nil {
			return nil, nil
		}
	}
	if n.shape == shapeOpaque || !n.shape.leaf() {
		return nil, nil
	}
	return n, path
}
