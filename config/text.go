package config

import (
	"encoding"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"
)

// fromText turns the text of a variable or a flag into what a file would hold there, so that
// layers merge alike: a list from commas, a map from "name=value,name=value" (a name alone means true).
// Scalars stay text.
func (n *node) fromText(text string) any {
	switch n.shape {
	case shapeList:
		return commaList(text)
	case shapeMap:
		entries := map[string]any{}
		for _, part := range commaList(text) {
			name, value, ok := strings.Cut(part.(string), "=")
			if !ok {
				value = "true"
			}
			entries[strings.TrimSpace(name)] = strings.TrimSpace(value)
		}
		return entries
	}
	return text
}

// commaList cuts at commas, and drops blanks around words and words that are empty.
func commaList(text string) []any {
	list := []any{}
	for part := range strings.SplitSeq(text, ",") {
		if part = strings.TrimSpace(part); part != "" {
			list = append(list, part)
		}
	}
	return list
}

// plain returns v as a file would hold it: text, bool, number, list or map. Secrets are not
// hidden here. A missing value is nil.
func (n *node) plain(v reflect.Value) (any, error) {
	if !v.IsValid() {
		return nil, nil
	}
	switch n.shape {
	case shapeText:
		return n.marshalled(v)
	case shapeSecret, shapeString:
		return v.String(), nil
	case shapeBool:
		return v.Bool(), nil
	case shapeDuration:
		return durationText(time.Duration(v.Int())), nil
	case shapeInt:
		return v.Int(), nil
	case shapeUint:
		return v.Uint(), nil
	case shapeFloat:
		return v.Float(), nil
	case shapeList:
		return n.plainList(v)
	case shapeMap:
		return n.plainMap(v)
	case shapeOpaque:
		return plainAny(v.Interface()), nil
	}
	return nil, fmt.Errorf("key %s is a section", n.key())
}

func (n *node) marshalled(v reflect.Value) (any, error) {
	p := reflect.New(v.Type())
	p.Elem().Set(v)
	text, err := p.Interface().(encoding.TextMarshaler).MarshalText()
	if err != nil {
		return nil, fmt.Errorf("key %s cannot be written: %w", n.key(), err)
	}
	return string(text), nil
}

func (n *node) plainList(v reflect.Value) (any, error) {
	list := make([]any, v.Len())
	for i := range list {
		var err error
		if list[i], err = n.elem.plain(v.Index(i)); err != nil {
			return nil, err
		}
	}
	return list, nil
}

func (n *node) plainMap(v reflect.Value) (any, error) {
	m := make(map[string]any, v.Len())
	for k, e := range v.Seq2() {
		p, err := n.elem.plain(e)
		if err != nil {
			return nil, err
		}
		m[k.String()] = p
	}
	return m, nil
}

// plainAny copies a free-form value and writes dates as text. It also settles what
// parsers leave behind: maps with other keys than text.
func plainAny(v any) any {
	switch v := v.(type) {
	case nil, string, bool, int, int64, uint64, float64:
		return v
	case time.Time:
		return v.Format(time.RFC3339Nano)
	case fmt.Stringer: // TOML's local dates and times
		return v.String()
	}
	r := reflect.ValueOf(v)
	switch r.Kind() {
	case reflect.Map:
		m := make(map[string]any, r.Len())
		for k, e := range r.Seq2() {
			m[fmt.Sprint(k.Interface())] = plainAny(e.Interface())
		}
		return m
	case reflect.Slice, reflect.Array:
		list := make([]any, r.Len())
		for i := range list {
			list[i] = plainAny(r.Index(i).Interface())
		}
		return list
	}
	return fmt.Sprint(v)
}

// durationText is Duration.String without the zeros at its end: 5m, not 5m0s.
func durationText(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// textOf writes a plain value on one line, as a variable or a flag takes it.
func textOf(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case []any:
		words := make([]string, len(v))
		for i, e := range v {
			words[i] = textOf(e)
		}
		return strings.Join(words, ",")
	case map[string]any:
		if b, err := json.Marshal(v); err == nil {
			return string(b)
		}
	}
	return fmt.Sprint(v)
}

// redact hides what must not be shown in a plain value of n.
func (n *node) redact(v any) any {
	switch n.shape {
	case shapeSecret:
		if v == "" || v == nil {
			return v
		}
		return redacted
	case shapeList:
		if list, ok := v.([]any); ok && n.elem.shape == shapeSecret {
			list = slices.Clone(list)
			for i := range list {
				list[i] = n.elem.redact(list[i])
			}
			return list
		}
		return redactTree(v, headersName.MatchString(n.name()))
	case shapeMap:
		if headersName.MatchString(n.name()) {
			return redactTree(v, true)
		}
		if m, ok := v.(map[string]any); ok && n.elem.shape == shapeSecret {
			out := make(map[string]any, len(m))
			for k, e := range m {
				out[k] = n.elem.redact(e)
			}
			return out
		}
	}
	return redactTree(v, false)
}
