package config

import (
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"time"
)

// node is one place in the tree of keys: a section, a struct inside it, or a leaf. It is
// built once from the types and never changed; the values stay in the sections.
type node struct {
	path  []string // full path; "*" stands for the name of an entry
	shape shape
	typ   reflect.Type  // without its pointer; nil for a path between sections
	index []int         // field of the struct above; nil at a section
	root  reflect.Value // the section's own struct, at its node only

	children []*node // of a group, in the order of their declaration
	entry    *node   // the shape of each entry of shapeEntries
	elem     *node   // the shape of each element of a list or a map

	help  string
	live  bool          // its tag says reload:"true": it can change while the program runs
	names []string      // environment names, the first wins
	unit  time.Duration // of a plain number in a duration; 0 when there is none
}

// key returns the path as the user writes it.
func (n *node) key() string { return strings.Join(n.path, ".") }

// name returns the last segment.
func (n *node) name() string { return n.path[len(n.path)-1] }

// child returns the node below n with that name, or nil.
func (n *node) child(name string) *node {
	for _, c := range n.children {
		if c.name() == name {
			return c
		}
	}
	return nil
}

// value finds n's value below its parent's. A nil pointer on the way gives the zero
// Value, or is filled when alloc is set.
func (n *node) value(parent reflect.Value, alloc bool) reflect.Value {
	if n.root.IsValid() {
		return n.root
	}
	if n.index == nil || !parent.IsValid() {
		return reflect.Value{}
	}
	v := parent.FieldByIndex(n.index)
	if v.Kind() != reflect.Pointer {
		return v
	}
	if v.IsNil() {
		if !alloc {
			return reflect.Value{}
		}
		v.Set(reflect.New(v.Type().Elem()))
	}
	return v.Elem()
}

// leaves calls fn for each leaf below n, in order. What the user will name stands as "*" in the path.
func (n *node) leaves(fn func(*node)) {
	if n.shape.leaf() {
		fn(n)
		return
	}
	if n.shape == shapeEntries {
		n.entry.leaves(fn)
	}
	for _, c := range n.children {
		c.leaves(fn)
	}
}

// keyWord is what a segment of a key may look like.
var keyWord = regexp.MustCompile(`^[a-z0-9_]+$`)

// maxDepth is deeper than any sensible tree of structs.
const maxDepth = 32

// newNode builds the tree of a type. The tag carries help, names and unit; t loses its pointer.
func newNode(path []string, t reflect.Type, tag reflect.StructTag) (*node, error) {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if len(path) > maxDepth {
		return nil, fmt.Errorf("config: key %s: type %s contains itself", strings.Join(path, "."), t)
	}
	s, err := shapeOf(t)
	if err != nil {
		return nil, fmt.Errorf("config: key %s: %w", strings.Join(path, "."), err)
	}
	if s, err = classified(s, tag); err != nil {
		return nil, fmt.Errorf("config: key %s: %w", strings.Join(path, "."), err)
	}
	n := &node{path: path, shape: s, typ: t, help: tag.Get("help"), live: tag.Get("reload") == "true"}
	n.unit = unitOf(n.name())
	switch u := tag.Get("unit"); u {
	case "":
	case "ms":
		n.unit = time.Millisecond
	case "s":
		n.unit = time.Second
	default:
		return nil, fmt.Errorf("config: key %s: unit %q: want ms or s", n.key(), u)
	}
	n.names = splitNames(tag.Get("env"))
	return n, n.grow()
}

// classified makes text a secret where the tag says so.
func classified(s shape, tag reflect.StructTag) (shape, error) {
	switch secret := tag.Get("secret"); {
	case secret == "":
		return s, nil
	case secret != "true" || s != shapeString && s != shapeSecret:
		return s, fmt.Errorf(`secret:%q: only text can be a secret, by secret:"true"`, secret)
	}
	return shapeSecret, nil
}

// grow adds what lies below n.
func (n *node) grow() (err error) {
	switch n.shape {
	case shapeGroup:
		return n.addFields(n.typ, nil)
	case shapeEntries:
		n.entry, err = newNode(append(slices.Clone(n.path), "*"), n.typ.Elem(), "")
	case shapeList, shapeMap:
		n.elem, err = newNode(append(slices.Clone(n.path), "*"), n.typ.Elem(), "")
		if err == nil {
			n.elem.unit = n.unit
		}
	}
	return err
}

// addFields adds the fields of struct t, which stands at index in n's own struct.
func (n *node) addFields(t reflect.Type, index []int) error {
	for f := range t.Fields() {
		at := append(slices.Clone(index), f.Index...)
		name, option, _ := strings.Cut(f.Tag.Get("koanf"), ",")
		var err error
		switch {
		case name == "-" || !f.IsExported() && !f.Anonymous:
			continue
		case option == "squash" && f.Type.Kind() == reflect.Struct:
			err = n.addFields(f.Type, at)
		case !keyWord.MatchString(name):
			err = fmt.Errorf("config: field %s.%s: koanf tag %q: want lower-case letters, digits and _, or - to leave the field out", t, f.Name, name)
		default:
			err = n.addChild(name, at, f)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (n *node) addChild(name string, index []int, f reflect.StructField) error {
	path := append(slices.Clone(n.path), name)
	if n.child(name) != nil {
		return fmt.Errorf("config: two fields claim the key %s", strings.Join(path, "."))
	}
	c, err := newNode(path, f.Type, f.Tag)
	if err != nil {
		return err
	}
	c.index = index
	n.children = append(n.children, c)
	return nil
}

// unitOf tells the unit that a name ends in: REQUEST_TIMEOUT_MS counts milliseconds.
func unitOf(name string) time.Duration {
	name = strings.ToUpper(name)
	switch {
	case strings.HasSuffix(name, "_MS"):
		return time.Millisecond
	case strings.HasSuffix(name, "_SECONDS"):
		return time.Second
	}
	return 0
}

func splitNames(tag string) []string {
	var names []string
	for name := range strings.SplitSeq(tag, ",") {
		if name = strings.TrimSpace(name); name != "" {
			names = append(names, name)
		}
	}
	return names
}
