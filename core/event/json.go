package event

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"
)

// MaxKeys bounds the keys of a JSON object that [Members] reads.
const MaxKeys = 256

var byteOrderMark = []byte("\xef\xbb\xbf")

// WithoutBOM returns b without the UTF-8 byte order mark that some programs begin a text with.
func WithoutBOM(b []byte) []byte { return bytes.TrimPrefix(b, byteOrderMark) }

// Members calls visit for each key of a JSON object, in order, with the bytes of its value, which share b's memory.
// Keys are exact: "Data" is not "data". b may begin with a byte order mark; null is an object without keys.
//
// Its own errors are for the producer: b is not valid JSON, is no object, has more than [MaxKeys] keys, or has a key
// twice: another reader might take the other value. Of what is not valid JSON nothing is visited.
func Members(b []byte, visit func(key string, value json.RawMessage) error) error {
	var o object
	if err := readObject(WithoutBOM(b), &o); err != nil {
		return err
	}
	return o.visit(func(key string, m member) error { return visit(key, m.value) })
}

// Find returns the values of keys of a JSON object, in one pass; nil for one that it does not have. Keys are exact, and
// of one that is given twice the last value counts. What is no valid object has none. The values share b's memory.
func Find(b []byte, keys ...string) []json.RawMessage {
	found := make([]json.RawMessage, len(keys))
	s := scan{b: bytes.Trim(b, space)}
	if s.at(0) != '{' {
		return found
	}
	end := s.each(0, func(m member) {
		if i := slices.Index(keys, unquote(m.quoted)); i >= 0 {
			found[i] = m.value
		}
	})
	if end < len(s.b) {
		clear(found)
	}
	return found
}

// CheckSpelling reports a key among those given that differs from a known one in capitals only, if that one is not
// given: its value would be lost without a word.
func CheckSpelling(given []string, known ...string) error {
	for _, want := range known {
		if slices.Contains(given, want) {
			continue
		}
		for _, key := range given {
			if strings.EqualFold(key, want) {
				return fmt.Errorf("the key %q must be written %q", key, want)
			}
		}
	}
	return nil
}

// Unmarshal is [json.Unmarshal] but for two things: keys match the fields of structs by their exact names ("Data" is
// not "data"), and b may begin with a byte order mark. Of a key that is given twice the last one counts.
func Unmarshal(b []byte, v any) error {
	b = WithoutBOM(b)
	if t := reflect.TypeOf(v); t != nil && valid(b) && blank(b, t, false) {
		b = bytes.Clone(b)
		blank(b, t, true)
	}
	return json.Unmarshal(b, v)
}

// blank finds the keys of valid JSON that encoding/json would take for a field of t although they are written
// otherwise. It reports whether there are any, and if asked to, overwrites them with spaces, which are no field's name.
func blank(b []byte, t reflect.Type, overwrite bool) (found bool) {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	b = bytes.Trim(b, space)
	if len(b) == 0 || reflect.PointerTo(t).Implements(unmarshaler) {
		return false
	}
	switch t.Kind() {
	case reflect.Struct:
		if b[0] != '{' {
			return false
		}
		fields := fieldsOf(t)
		s := scan{b: b}
		s.each(0, func(m member) {
			key := unquote(m.quoted)
			if of, ok := fields[key]; ok {
				found = blank(m.value, of, overwrite) || found
				return
			}
			for name := range fields {
				if !strings.EqualFold(name, key) {
					continue
				}
				found = true
				if overwrite {
					copy(m.quoted[1:], bytes.Repeat([]byte{' '}, len(m.quoted)-2))
				}
				break
			}
		})
	case reflect.Map, reflect.Slice, reflect.Array:
		if !composite(t.Elem()) || b[0] != '{' && b[0] != '[' {
			return false
		}
		s := scan{b: b}
		s.each(0, func(m member) { found = blank(m.value, t.Elem(), overwrite) || found })
	}
	return found
}

var unmarshaler = reflect.TypeFor[json.Unmarshaler]()

func composite(t reflect.Type) bool {
	switch t.Kind() {
	case reflect.Struct, reflect.Map, reflect.Slice, reflect.Array, reflect.Pointer:
		return true
	}
	return false
}

var knownFields sync.Map // reflect.Type -> map[string]reflect.Type

// fieldsOf returns the keys by which encoding/json knows the fields of a struct, those of embedded ones among them.
func fieldsOf(t reflect.Type) map[string]reflect.Type {
	if known, ok := knownFields.Load(t); ok {
		return known.(map[string]reflect.Type)
	}
	fields := map[string]reflect.Type{}
	for _, f := range reflect.VisibleFields(t) {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case f.Tag.Get("json") == "-", !f.IsExported():
			continue
		case f.Anonymous && name == "":
			continue // its own fields are visible
		case name == "":
			name = f.Name
		}
		fields[name] = f.Type
	}
	knownFields.Store(t, fields)
	return fields
}

// space is JSON's white space.
const space = " \t\r\n"

// keyOf returns the text of a key as it is written. The keys of envelopes take no memory.
func keyOf(quoted []byte) string {
	for _, key := range envelopeKeys {
		if string(quoted[1:len(quoted)-1]) == key {
			return key
		}
	}
	return unquote(quoted)
}

func unquote(quoted []byte) string {
	if bytes.IndexByte(quoted, '\\') < 0 && utf8.Valid(quoted) {
		return string(quoted[1 : len(quoted)-1])
	}
	var s string
	_ = json.Unmarshal(quoted, &s) // a valid string
	return s
}

// JSONKind names what a JSON value is: "object", "array", "string", "number", "bool" or "null".
func JSONKind(value json.RawMessage) string {
	switch value = bytes.TrimLeft(value, space); {
	case len(value) == 0:
		return "nothing"
	case value[0] == '{':
		return "object"
	case value[0] == '[':
		return "array"
	case value[0] == '"':
		return "string"
	case value[0] == 't', value[0] == 'f':
		return "bool"
	case value[0] == 'n':
		return "null"
	}
	return "number"
}

// JSONText reads a JSON string, or null as the empty one. ok is false for anything else.
func JSONText(value json.RawMessage) (s string, ok bool) {
	switch JSONKind(value) {
	case "string":
		return unquote(value), true
	case "null":
		return "", true
	}
	return "", false
}

// AppendJSON appends valid JSON as it is, but for halves of UTF-16 surrogate pairs that stand alone in an escape
// (\ud800): these are no character, many languages refuse them, and they become \ufffd. Nothing, which is null, is
// appended as null.
func AppendJSON(dst []byte, raw json.RawMessage) []byte {
	if len(raw) == 0 {
		return append(dst, "null"...)
	}
	start := len(dst)
	dst = append(dst, raw...)
	if bytes.Contains(raw, []byte(`\ud`)) || bytes.Contains(raw, []byte(`\uD`)) {
		pairSurrogates(dst[start:])
	}
	return dst
}

// pairSurrogates overwrites escapes of surrogates that are not half of a pair.
func pairSurrogates(b []byte) {
	for i := 0; i < len(b); {
		n := bytes.IndexByte(b[i:], '\\')
		if n < 0 {
			return
		}
		i += n
		switch high := surrogate(b[i:]); {
		case high == 0:
			i += 2 // the escaped character cannot begin another escape
		case high < 'c' && surrogate(b[i+6:]) >= 'c':
			i += 12
		default:
			copy(b[i:], `\ufffd`)
			i += 6
		}
	}
}

// surrogate returns the lower-case digit behind the d of an escape \udXxx that b begins with if that is a surrogate:
// '8' to 'b' of the first of a pair, 'c' to 'f' of the second; 0 if b begins otherwise.
func surrogate(b []byte) byte {
	if len(b) < 6 || b[0] != '\\' || b[1] != 'u' || b[2]|0x20 != 'd' {
		return 0
	}
	if digit := b[3] | 0x20; b[3] >= '8' && digit <= 'f' {
		return digit
	}
	return 0
}
