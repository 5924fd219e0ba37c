package config

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

// normalizer makes a file's tree what the other layers look like: keys in lower case except
// the user's own, empty sections gone (a nil would erase what lies below it when
// merged), and every key known.
type normalizer struct {
	table  *table
	source string
	errs   []error
}

func (t *normalizer) fail(path []string, reason string) {
	t.errs = append(t.errs, &Error{Key: strings.Join(path, "."), Origin: t.source, Reason: reason})
}

// group copies src into dest key by key.
func (t *normalizer) group(n *node, src, dest map[string]any, path []string) {
	for _, word := range sortedKeys(src) {
		at := append(slices.Clone(path), strings.ToLower(word))
		c := n.child(strings.ToLower(word))
		if c == nil {
			t.unknown(n, at)
			continue
		}
		if _, twice := dest[c.name()]; twice {
			t.fail(at, "is there twice, in different spellings: keep one")
			continue
		}
		if v := t.value(c, src[word], at); v != nil {
			dest[c.name()] = v
		}
	}
}

// value normalizes what stands at n; nil means nothing is set there.
func (t *normalizer) value(n *node, v any, path []string) any {
	if n.shape.leaf() && !t.sound(v, path, 0) {
		return nil
	}
	if n.shape == shapeOpaque {
		return plainAny(v)
	}
	m, ok := asMap(v)
	if !ok {
		return v
	}
	dest := map[string]any{}
	switch n.shape {
	case shapeGroup:
		t.group(n, m, dest, path)
	case shapeEntries, shapeMap:
		below := n.entry
		if below == nil {
			below = n.elem
		}
		for _, name := range sortedKeys(m) {
			if e := t.value(below, m[name], append(slices.Clone(path), name)); e != nil {
				dest[name] = e
			}
		}
	default:
		return m // a scalar's place: decoding says what is wanted
	}
	return dest
}

// asMap returns a parsed map with its keys as text.
func asMap(v any) (map[string]any, bool) {
	switch m := v.(type) {
	case map[string]any:
		return m, true
	case map[any]any:
		out := make(map[string]any, len(m))
		for k, e := range m {
			out[fmt.Sprint(k)] = e
		}
		return out, true
	}
	return nil, false
}

// maxNesting bounds a value: what copies and prints it later recurses.
const maxNesting = 64

// sound refuses what no other notation has, infinite numbers, and nesting that no reader means.
func (t *normalizer) sound(v any, path []string, depth int) bool {
	if depth > maxNesting {
		t.fail(path[:min(len(path), 3)], fmt.Sprintf("is nested deeper than %d levels", maxNesting))
		return false
	}
	ok := true
	if m, isMap := asMap(v); isMap {
		for _, k := range sortedKeys(m) {
			ok = t.sound(m[k], append(slices.Clone(path), k), depth+1) && ok
		}
	}
	switch v := v.(type) {
	case float64:
		if ok = !math.IsNaN(v) && !math.IsInf(v, 0); !ok {
			t.fail(path, "is not a finite number")
		}
	case []any:
		for _, e := range v {
			ok = t.sound(e, path, depth+1) && ok
		}
	}
	return ok
}

// unknown reports a key that no section has, with the nearest one among its neighbours, then anywhere.
func (t *normalizer) unknown(n *node, path []string) {
	key := strings.Join(path, ".")
	if found, _ := t.table.find(key); found != nil {
		t.errs = append(t.errs, fmt.Errorf("key %q (%s) is written in one word: nest it, one section below the other", path[len(path)-1], t.source))
		return
	}
	var near []string
	for _, c := range n.children {
		near = append(near, strings.Join(append(slices.Clone(path[:len(path)-1]), c.name()), "."))
	}
	t.errs = append(t.errs, fmt.Errorf("unknown key %s (%s)%s", key, t.source, didYouMean(key, append(near, t.table.keys...))))
}
