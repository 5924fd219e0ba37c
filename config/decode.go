package config

import (
	"cmp"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/knadh/koanf/v2"
)

// Error is one value that cannot be used. Load joins all of them.
type Error struct {
	Key    string // "sinks.websocket.enabled"
	Origin string // "environment WEBSOCKET_ENABLED"
	Reason string // what it is, and what is accepted
}

func (e *Error) Error() string { return fmt.Sprintf("%s: %s (%s)", e.Key, e.Reason, e.Origin) }

// decoder writes the merged layers into the sections. What only the defaults hold is left as it stands there.
type decoder struct {
	table    *table
	layers   layers
	errs     []error
	failed   map[*node]bool // sections with a value that cannot be used
	warnings []string
	section  *node
}

func (d *decoder) decode(merged *koanf.Koanf) {
	d.failed = map[*node]bool{}
	d.node(d.table.root, reflect.Value{}, merged.Raw(), nil)
}

func (d *decoder) fail(path []string, err error) {
	key := strings.Join(path, ".")
	from, _ := d.layers.origin(key)
	d.errs = append(d.errs, &Error{Key: key, Origin: from.detail(), Reason: err.Error()})
	d.failed[d.section] = true
}

// node decodes raw into n's value below parent.
func (d *decoder) node(n *node, parent reflect.Value, raw any, path []string) {
	if n.root.IsValid() {
		defer func(outer *node) { d.section = outer }(d.section)
		d.section = n
	}
	if n != d.table.root {
		if _, set := d.layers.origin(strings.Join(path, ".")); !set {
			return
		}
	}
	v := n.value(parent, true)
	switch n.shape {
	case shapeGroup:
		d.group(n, v, raw, path)
	case shapeEntries:
		d.entries(n, v, raw, path)
	case shapeMap:
		d.mapped(n, v, raw, path)
	case shapeOpaque:
		d.opaque(v, raw, path)
	case shapeList:
		d.list(n, v, raw, path)
	default:
		d.scalar(n, v, raw, path)
	}
}

// asSection returns raw as a map, or reports that it is none.
func (d *decoder) asSection(raw any, path []string) map[string]any {
	m, ok := raw.(map[string]any)
	if !ok {
		d.fail(path, fmt.Errorf("a %s stands where a section with keys below it is expected", kindOf(raw)))
	}
	return m
}

func (d *decoder) group(n *node, v reflect.Value, raw any, path []string) {
	m := d.asSection(raw, path)
	for _, c := range n.children {
		if e, ok := m[c.name()]; ok {
			d.node(c, v, e, append(slices.Clone(path), c.name()))
		}
	}
}

// entries decodes a map of structs. An entry that the defaults do not hold starts from its type's Defaults.
func (d *decoder) entries(n *node, v reflect.Value, raw any, path []string) {
	m := d.asSection(raw, path)
	own(v)
	for _, name := range sortedKeys(m) {
		e := reflect.New(n.entry.typ).Elem()
		k := reflect.ValueOf(name).Convert(n.typ.Key())
		if old := v.MapIndex(k); old.IsValid() {
			e.Set(old)
		} else if defaults, ok := e.Addr().Interface().(interface{ Defaults() }); ok {
			defaults.Defaults()
		}
		d.group(n.entry, e, m[name], append(slices.Clone(path), name))
		v.SetMapIndex(k, e)
	}
}

func (d *decoder) mapped(n *node, v reflect.Value, raw any, path []string) {
	m := d.asSection(raw, path)
	own(v)
	for _, name := range sortedKeys(m) {
		at := append(slices.Clone(path), name)
		if _, set := d.layers.origin(strings.Join(at, ".")); !set {
			continue
		}
		e := reflect.New(n.elem.typ).Elem()
		if d.scalar(n.elem, e, m[name], at) {
			v.SetMapIndex(reflect.ValueOf(name).Convert(n.typ.Key()), e)
		}
	}
}

// own replaces a map by a copy: the caller's defaults may be shared.
func own(v reflect.Value) {
	m := reflect.MakeMap(v.Type())
	for k, e := range v.Seq2() {
		m.SetMapIndex(k, e)
	}
	v.Set(m)
}

func (d *decoder) opaque(v reflect.Value, raw any, path []string) {
	m := d.asSection(raw, path)
	if m == nil {
		return
	}
	kept, _ := dropRedacted(m)
	v.Set(reflect.ValueOf(kept).Convert(v.Type()))
}

func (d *decoder) list(n *node, v reflect.Value, raw any, path []string) {
	items, ok := raw.([]any)
	if !ok {
		items = []any{raw}
		if text, ok := raw.(string); ok {
			items = commaList(text)
		}
	}
	list := reflect.MakeSlice(v.Type(), 0, len(items))
	for _, item := range items {
		e := reflect.New(n.elem.typ).Elem()
		if !d.scalar(n.elem, e, item, path) {
			return
		}
		list = reflect.Append(list, e)
	}
	v.Set(list)
}

// scalar reports whether v now holds raw. A value that we printed redacted is not one.
func (d *decoder) scalar(n *node, v reflect.Value, raw any, path []string) bool {
	from, _ := d.layers.origin(strings.Join(path, "."))
	if text, ok := raw.(string); ok && isRedacted(text) {
		d.warnings = append(d.warnings, fmt.Sprintf("%s is written %s, the way a secret is printed: it is not used (%s)", strings.Join(path, "."), redactText(text), from.detail()))
		return false
	}
	fresh := reflect.New(v.Type()).Elem()
	if err := n.setScalar(fresh, raw, cmp.Or(unitOf(from.name), n.unit)); err != nil {
		d.fail(path, err)
		return false
	}
	v.Set(fresh)
	return true
}

// validate asks every section that decoded, and puts its path before what it says.
func (d *decoder) validate() {
	for _, s := range d.table.sections {
		at, _ := d.table.group(s.Path)
		v, ok := s.Into.(interface{ Validate() error })
		if !ok || d.failed[at] {
			continue
		}
		if err := v.Validate(); err != nil {
			d.invalid(s.Path, err)
		}
	}
}

// invalid reports each of joined errors by itself, with the place where the key is set, or the variable that sets it.
func (d *decoder) invalid(path string, err error) {
	joined, ok := err.(interface{ Unwrap() []error })
	if ok && errors.Join(joined.Unwrap()...).Error() == err.Error() {
		for _, e := range joined.Unwrap() {
			d.invalid(path, e)
		}
		return
	}
	if path != "" {
		err = fmt.Errorf("%s.%w", path, err)
	}
	word, _, _ := strings.Cut(err.Error(), " ")
	key := strings.TrimSuffix(word, ":")
	if from, set := d.layers.origin(key); set {
		err = fmt.Errorf("%w (%s)", err, from.detail())
	} else if n, _ := d.table.find(key); n != nil && len(n.names) > 0 && !strings.Contains(err.Error(), n.names[0]) {
		err = fmt.Errorf("%w (%s)", err, n.names[0])
	}
	d.errs = append(d.errs, err)
}
