package config

import (
	"encoding"
	"fmt"
	"reflect"
	"time"
)

// shape says how a Go type is written in a file, a variable or a flag.
type shape int

const (
	shapeGroup   shape = iota // a struct, or a section's path: keys below it
	shapeEntries              // map[string]struct: the user names the entries
	shapeOpaque               // map[string]any: free form, for a later reader
	shapeMap                  // map[string]scalar
	shapeList                 // []scalar
	shapeText                 // encoding.TextUnmarshaler
	shapeSecret
	shapeString
	shapeBool
	shapeInt
	shapeUint
	shapeFloat
	shapeDuration
)

var (
	secretType      = reflect.TypeFor[Secret]()
	durationType    = reflect.TypeFor[time.Duration]()
	unmarshalerType = reflect.TypeFor[encoding.TextUnmarshaler]()
	marshalerType   = reflect.TypeFor[encoding.TextMarshaler]()
)

// scalar reports a shape that fits into one word of text.
func (s shape) scalar() bool { return s >= shapeText }

// leaf reports a shape that is one key of the table.
func (s shape) leaf() bool { return s >= shapeOpaque }

// shapeOf classifies a type without its pointer. A type that cannot be configured is the programmer's error.
func shapeOf(t reflect.Type) (shape, error) {
	switch t {
	case secretType:
		return shapeSecret, nil
	case durationType:
		return shapeDuration, nil
	}
	if reflect.PointerTo(t).Implements(unmarshalerType) {
		if !reflect.PointerTo(t).Implements(marshalerType) {
			return 0, fmt.Errorf("type %s reads text but cannot write it: give it MarshalText", t)
		}
		return shapeText, nil
	}
	switch t.Kind() {
	case reflect.Slice:
		return shapeList, scalarElem(t)
	case reflect.Map:
		return shapeOfMap(t)
	}
	if s, ok := kinds[t.Kind()]; ok {
		return s, nil
	}
	return 0, fmt.Errorf("type %s cannot be configured", t)
}

// kinds are the shapes that the kind alone decides.
var kinds = map[reflect.Kind]shape{
	reflect.Struct: shapeGroup, reflect.String: shapeString, reflect.Bool: shapeBool,
	reflect.Int: shapeInt, reflect.Int8: shapeInt, reflect.Int16: shapeInt, reflect.Int32: shapeInt, reflect.Int64: shapeInt,
	reflect.Uint: shapeUint, reflect.Uint8: shapeUint, reflect.Uint16: shapeUint, reflect.Uint32: shapeUint, reflect.Uint64: shapeUint,
	reflect.Float32: shapeFloat, reflect.Float64: shapeFloat,
}

func shapeOfMap(t reflect.Type) (shape, error) {
	if t.Key().Kind() != reflect.String {
		return 0, fmt.Errorf("type %s: the keys of a map must be strings", t)
	}
	if t.Elem().Kind() == reflect.Interface && t.Elem().NumMethod() == 0 {
		return shapeOpaque, nil
	}
	if s, err := shapeOf(t.Elem()); err == nil && s == shapeGroup {
		return shapeEntries, nil
	}
	return shapeMap, scalarElem(t)
}

// scalarElem refuses lists of lists and maps of maps.
func scalarElem(t reflect.Type) error {
	s, err := shapeOf(t.Elem())
	if err == nil && !s.scalar() {
		err = fmt.Errorf("type %s: its elements must be plain values", t)
	}
	return err
}
