package httpapi

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"

	"github.com/evosink/evosink/core/event"
	"github.com/evosink/evosink/core/sink"
)

// A schema checks a body that holds blocks of sinks under their names.
type schema struct {
	compiled *jsonschema.Schema
	sinks    []string // whose "events" are checked beyond the schema
}

// maxEvents bounds the list of events that an instance may want of a sink.
const maxEvents = 500

// newSettings compiles the schema of POST /{sink}/set/{instance}.
func newSettings(f *sink.Factory) (*settings, error) {
	block, err := jsonschema.UnmarshalJSON(bytes.NewReader(f.Settings.Schema))
	if err != nil {
		return nil, err
	}
	s := &settings{Factory: f, block: block, properties: map[string]bool{}}
	keys, _ := block.(map[string]any)
	properties, _ := keys["properties"].(map[string]any)
	for key := range properties {
		s.properties[key] = true
	}
	s.schema, err = compile([]*settings{s}, map[string]any{}, f.Name)
	return s, err
}

// createSchema compiles the schema of POST /instance/create.
func createSchema(sinks []*settings) (*schema, error) {
	optional := map[string]any{"type": []any{"string", "null"}}
	return compile(sinks, map[string]any{
		"instanceName": map[string]any{"type": "string"}, "token": optional, "integration": optional,
	}, "instanceName")
}

// compile makes the schema of an object with the given properties and the blocks of sinks. Each block is a document of
// its own, so that references in it stay within it; nothing is ever loaded from outside.
func compile(sinks []*settings, properties map[string]any, required string) (*schema, error) {
	c := jsonschema.NewCompiler()
	c.UseLoader(jsonschema.SchemeURLLoader{})
	c.AssertFormat()
	out := &schema{}
	for _, s := range sinks {
		address := "evosink:///" + s.Name
		if err := c.AddResource(address, s.block); err != nil {
			return nil, err
		}
		properties[s.Name] = map[string]any{"$ref": address}
		out.sinks = append(out.sinks, s.Name)
	}
	root := map[string]any{"type": "object", "properties": properties, "required": []any{required}}
	if err := c.AddResource("evosink:///body", root); err != nil {
		return nil, err
	}
	var err error
	out.compiled, err = c.Compile("evosink:///body")
	return out, err
}

// maxValues bounds the values in a body that is checked against a schema, and maxLength the length of any list or
// object in it. Both hold before the body is decoded: what a validator makes of a document is many times its size.
const (
	maxValues = 10_000
	maxLength = 2000
)

// checkSize refuses a body with too many values, in all or in one list or object. Of a body that is no JSON it may say
// anything.
func checkSize(body []byte) error {
	values := 1
	var lengths []int // of the lists and objects around
	for i := 0; i < len(body); i++ {
		switch body[i] {
		case '"':
			for i++; i < len(body) && body[i] != '"'; i++ {
				if body[i] == '\\' {
					i++
				}
			}
		case '[', '{':
			values++
			lengths = append(lengths, 1)
		case ']', '}':
			lengths = lengths[:max(len(lengths)-1, 0)]
		case ',':
			values++
			if n := len(lengths); n > 0 {
				if lengths[n-1]++; lengths[n-1] > maxLength {
					return badRequest(fmt.Sprintf("A list or object in the body has more than the %d entries that are allowed", maxLength))
				}
			}
		}
		if values > maxValues {
			return badRequest(fmt.Sprintf("The body has more than the %d values that are allowed", maxValues))
		}
	}
	return nil
}

// parse reads a body that is one JSON value.
func parse(body []byte) (any, error) {
	if err := checkSize(body); err != nil {
		return nil, err
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(event.WithoutBOM(body)))
	switch {
	case errors.Is(err, io.EOF):
		return nil, badRequest("The body is empty; it must be a JSON object")
	case errors.Is(err, io.ErrUnexpectedEOF):
		return nil, badRequest("Malformed JSON: the body ends in the middle of a value")
	case err != nil:
		return nil, badRequest("Malformed JSON: " + err.Error())
	}
	return doc, nil
}

// violations returns what is wrong with a document, in the words of the validator that Evolution API uses (jsonschema
// 1.5.0), what lies deeper first. Of more than maxViolations it gives the number only.
func (s *schema) violations(doc any) []string {
	found := s.unknownEvents(doc)
	var invalid *jsonschema.ValidationError
	if err := s.compiled.Validate(doc); errors.As(err, &invalid) {
		found = append(found, leaves(invalid)...)
	}
	slices.SortStableFunc(found, func(a, b violation) int { return comparePaths(a.path, b.path) })
	var out []string
	for i, v := range found {
		out = slices.Compact(append(out, v.texts()...))
		if len(out) >= maxViolations && i+1 < len(found) {
			return append(out, fmt.Sprintf("... and %d more", len(found)-i-1))
		}
	}
	return atMost(maxViolations, out)
}

// A violation is what is wrong at one place. Its texts may be long, and are made only if they are shown.
type violation struct {
	path  []string
	texts func() []string
}

// unknownEvents finds names in lists of wanted events that are typing errors: a schema cannot tell them from custom
// names.
func (s *schema) unknownEvents(doc any) (found []violation) {
	body, _ := doc.(map[string]any)
	for _, name := range s.sinks {
		block, _ := body[name].(map[string]any)
		events, _ := block["events"].([]any)
		path := []string{name, "events"}
		if len(events) > maxEvents {
			found = append(found, violation{path, func() []string {
				return []string{stack(path, fmt.Sprintf("does not meet maximum length of %d", maxEvents))}
			}})
			continue
		}
		for i, e := range events {
			if wanted, ok := e.(string); ok && !event.CheckSubscription(wanted) {
				at := append(slices.Clone(path), strconv.Itoa(i))
				found = append(found, violation{at, func() []string {
					return []string{stack(at, "is not one of enum values: "+strings.Join(event.Settable(), ","))}
				}})
			}
		}
	}
	return found
}

// leaves returns the violations that an error stands for.
func leaves(e *jsonschema.ValidationError) (found []violation) {
	switch e.ErrorKind.(type) {
	case *kind.AnyOf, *kind.OneOf, *kind.Not: // their causes are alternatives, not faults
	default:
		if len(e.Causes) > 0 {
			for _, cause := range e.Causes {
				found = append(found, leaves(cause)...)
			}
			return found
		}
	}
	return append(found, violation{e.InstanceLocation, func() []string { return schemaMessages(e) }})
}

// stack puts the path before a text: "websocket.events[0] is not ...". The body as a whole is "instance".
func stack(path []string, text string) string {
	if len(path) == 0 {
		return "instance " + text
	}
	var b strings.Builder
	for i, segment := range path {
		segment = shortened(segment)
		switch {
		case isIndex(segment):
			b.WriteString("[" + segment + "]")
		case strings.ContainsAny(segment, ". []\"\n\t"):
			quoted, _ := json.Marshal(segment) // a string always marshals
			b.WriteString("[" + string(quoted) + "]")
		default:
			if i > 0 {
				b.WriteByte('.')
			}
			b.WriteString(segment)
		}
	}
	return b.String() + " " + text
}

// shortened cuts a name that a client has chosen, for a text that is shown to it.
func shortened(name string) string {
	if len(name) <= maxShown {
		return name
	}
	return strings.ToValidUTF8(name[:maxShown], "") + "…"
}

// maxShown is how many bytes of a name are shown.
const maxShown = 128

func isIndex(segment string) bool {
	// The error of strconv would copy a long name.
	if segment == "" || len(segment) > 10 || strings.Trim(segment, "0123456789") != "" {
		return false
	}
	_, err := strconv.ParseUint(segment, 10, 32)
	return err == nil
}

// comparePaths orders by place, what is inside before what it is inside of.
func comparePaths(a, b []string) int {
	for i := range min(len(a), len(b)) {
		if a[i] == b[i] {
			continue
		}
		if isIndex(a[i]) && isIndex(b[i]) {
			x, _ := strconv.Atoi(a[i])
			y, _ := strconv.Atoi(b[i])
			return cmp.Compare(x, y)
		}
		return cmp.Compare(a[i], b[i])
	}
	return cmp.Compare(len(b), len(a))
}
