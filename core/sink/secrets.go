package sink

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Mask stands for a secret in settings that are shown. In settings that are set it stands for the stored secret.
const Mask = "***"

// HideSecrets returns stored settings with [Mask] in place of every value that a decoded JSON schema marks as
// writeOnly. Everything else keeps its value and its place. What cannot be read gives an error, and must not be
// shown.
func HideSecrets(schema any, stored json.RawMessage) (json.RawMessage, error) {
	place := rootPlace(schema)
	if len(stored) == 0 || len(place.schemas) == 0 {
		return stored, nil
	}
	out, err := place.hide(nil, stored)
	if err != nil {
		return nil, fmt.Errorf("read stored settings: %w", err)
	}
	return out, nil
}

// RestoreSecrets puts the stored secrets back into a block as a client sends it, decoded, before the schema checks
// it: where it has [Mask] at a place that the schema marks as writeOnly, and where it lacks a writeOnly key at its
// top level. null there removes what is stored: the key is taken out of the block.
//
// Elements of a list are found by their "name" or "id". In a list of secrets, the first mask is the first stored
// secret, and so on. The error names each mask that stands for nothing, one a line.
func RestoreSecrets(schema, block any, stored json.RawMessage) error {
	place := rootPlace(schema)
	if len(place.schemas) == 0 {
		return nil
	}
	d := json.NewDecoder(bytes.NewReader(stored))
	d.UseNumber()
	var old any
	_ = d.Decode(&old) // what cannot be read holds no secret to restore
	if keys, ok := block.(map[string]any); ok {
		was, _ := old.(map[string]any)
		for key, value := range was {
			switch now, given := keys[key]; {
			case given && now != nil || !place.property(key).secret():
			case given:
				delete(keys, key)
			default:
				keys[key] = value
			}
		}
	}
	r := restoring{}
	r.value(place, block, old, nil)
	slices.Sort(r.missing)
	var errs []error
	for _, at := range r.missing {
		errs = append(errs, fmt.Errorf("%s is %q, which stands for a stored secret, but none is stored there: give the secret itself, or leave the key out", at, Mask))
	}
	return errors.Join(errs...)
}

// restoring is one RestoreSecrets on its way.
type restoring struct{ missing []string }

// maxMissing bounds the masks that an error lists.
const maxMissing = 20

// value returns what v is with the secrets of old, which stood at the same place.
func (r *restoring) value(p place, v, old any, path []string) any {
	if len(p.schemas) == 0 {
		return v
	}
	if p.secret() {
		if v != Mask {
			return v
		}
		if old == nil && len(r.missing) < maxMissing {
			r.missing = append(r.missing, strings.Join(path, "."))
		}
		return old
	}
	switch v := v.(type) {
	case map[string]any:
		was, _ := old.(map[string]any)
		for key, value := range v {
			v[key] = r.value(p.property(key), value, was[key], append(path, key))
		}
	case []any:
		was, _ := old.([]any)
		named := map[string]any{}
		for _, element := range was {
			if name := nameOf(element); name != "" {
				named[name] = element
			}
		}
		masks := 0
		for i, element := range v {
			var before any
			if element == Mask && masks < len(was) {
				before = was[masks]
				masks++
			} else if name := nameOf(element); name != "" {
				before = named[name]
			}
			v[i] = r.value(p.item(i), element, before, append(path, strconv.Itoa(i)))
		}
	}
	return v
}

// nameOf is what tells an element of a list from the others, "" if nothing does.
func nameOf(element any) string {
	keys, _ := element.(map[string]any)
	for _, key := range []string{"name", "id"} {
		if name, _ := keys[key].(string); name != "" {
			return name
		}
	}
	return ""
}

// A place is what the schema says about a value: every subschema that may apply to it. No schema says nothing about
// it.
type place struct {
	root    *document
	schemas []map[string]any
}

// A document is a schema as a whole, with its patterns compiled once for each use of it.
type document struct {
	schema   any
	patterns map[string]*regexp.Regexp // nil: cannot be compiled
}

func (d *document) matches(pattern, key string) bool {
	re, known := d.patterns[pattern]
	if !known {
		re, _ = regexp.Compile(pattern) // one that cannot be compiled matches everything: better hidden than shown
		d.patterns[pattern] = re
	}
	return re == nil || re.MatchString(key)
}

// rootPlace is the place of the whole settings; it has no schemas if none of them is about secrets.
func rootPlace(schema any) place {
	if raw, err := json.Marshal(schema); err != nil || !bytes.Contains(raw, []byte(`"writeOnly"`)) {
		return place{}
	}
	p := place{root: &document{schema: schema, patterns: map[string]*regexp.Regexp{}}}
	p.add(schema)
	return p
}

// add notes a subschema and those that it refers to or combines, each once: references may form a circle. Whether a
// condition holds does not matter: a value that may be a secret is one.
func (p *place) add(schema any) {
	s, ok := schema.(map[string]any)
	same := func(other map[string]any) bool {
		return reflect.ValueOf(other).Pointer() == reflect.ValueOf(s).Pointer()
	}
	if !ok || slices.ContainsFunc(p.schemas, same) {
		return
	}
	p.schemas = append(p.schemas, s)
	if reference, ok := s["$ref"].(string); ok {
		p.add(pointed(p.root.schema, reference))
	}
	for _, key := range []string{"if", "then", "else"} {
		p.add(s[key])
	}
	for _, key := range []string{"allOf", "anyOf", "oneOf"} {
		list, _ := s[key].([]any)
		for _, one := range list {
			p.add(one)
		}
	}
	dependent, _ := s["dependentSchemas"].(map[string]any)
	for _, one := range dependent {
		p.add(one)
	}
}

// pointed follows a reference within a document: "#/$defs/secret".
func pointed(root any, reference string) any {
	pointer, local := strings.CutPrefix(reference, "#")
	if !local {
		return nil
	}
	at := root
	for _, segment := range strings.Split(pointer, "/")[1:] {
		keys, _ := at.(map[string]any)
		at = keys[strings.NewReplacer("~1", "/", "~0", "~").Replace(segment)]
	}
	return at
}

// secret reports whether the value at the place is one.
func (p place) secret() bool {
	return slices.ContainsFunc(p.schemas, func(s map[string]any) bool { return s["writeOnly"] == true })
}

// property is the place of a key of the object at p.
func (p place) property(key string) place {
	out := place{root: p.root}
	for _, s := range p.schemas {
		properties, _ := s["properties"].(map[string]any)
		own, known := properties[key]
		if known {
			out.add(own)
		}
		patterns, _ := s["patternProperties"].(map[string]any)
		for pattern, one := range patterns {
			if p.root.matches(pattern, key) {
				known = true
				out.add(one)
			}
		}
		if !known {
			out.add(s["additionalProperties"])
		}
	}
	return out
}

// item is the place of an element of the list at p.
func (p place) item(i int) place {
	out := place{root: p.root}
	for _, s := range p.schemas {
		if first, _ := s["prefixItems"].([]any); i < len(first) {
			out.add(first[i])
		} else {
			out.add(s["items"])
		}
	}
	return out
}

// hide appends a JSON value without its secrets.
func (p place) hide(dst []byte, value json.RawMessage) ([]byte, error) {
	value = bytes.TrimSpace(value)
	switch {
	case len(p.schemas) == 0 || len(value) == 0:
		return append(dst, value...), nil
	case p.secret():
		if string(value) == "null" || string(value) == `""` {
			return append(dst, value...), nil
		}
		return append(dst, `"`+Mask+`"`...), nil
	case value[0] != '{' && value[0] != '[':
		return append(dst, value...), nil
	}
	d := json.NewDecoder(bytes.NewReader(value))
	if _, err := d.Token(); err != nil {
		return nil, err
	}
	dst = append(dst, value[0])
	for i := 0; d.More(); i++ {
		if i > 0 {
			dst = append(dst, ',')
		}
		below := p.item(i)
		if value[0] == '{' {
			key, err := d.Token()
			if err != nil {
				return nil, err
			}
			quoted, _ := json.Marshal(key) // a string always marshals
			dst = append(append(dst, quoted...), ':')
			below = p.property(key.(string))
		}
		var raw json.RawMessage
		if err := d.Decode(&raw); err != nil {
			return nil, err
		}
		var err error
		if dst, err = below.hide(dst, raw); err != nil {
			return nil, err
		}
	}
	if _, err := d.Token(); err != nil {
		return nil, err
	}
	return append(dst, value[0]+2), nil // } and ] stand two behind { and [
}
