package exec

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"
)

// Limits of a plugin's schema. With them, and without references, checking a value costs no more than their sizes multiplied.
const (
	maxSchema      = 64 << 10 // bytes
	maxSchemaDepth = 32
)

// A schema is what a plugin says about values that it accepts. nil accepts everything.
type schema struct {
	raw      map[string]any
	compiled *jsonschema.Schema
}

// newSchema compiles a plugin's schema; nothing gives nil. A schema comes from outside:
// it is bounded, and never read from elsewhere.
func newSchema(raw json.RawMessage) (*schema, error) {
	if len(raw) == 0 {
		return nil, nil
	}
	if len(raw) > maxSchema {
		return nil, fmt.Errorf("the schema has %d bytes, at most %d are allowed", len(raw), maxSchema)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	if err != nil {
		return nil, errors.New("the schema is not JSON")
	}
	tree, ok := doc.(map[string]any)
	if !ok {
		return nil, errors.New("the schema must be a JSON object")
	}
	if err := checkBounds(tree, 0); err != nil {
		return nil, err
	}
	return compile(tree)
}

func compile(tree map[string]any) (s *schema, err error) {
	defer func() {
		if p := recover(); p != nil { // the compiler's, on input that it did not expect
			s, err = nil, fmt.Errorf("the schema cannot be compiled: %v", p)
		}
	}()
	c := jsonschema.NewCompiler()
	c.UseLoader(jsonschema.SchemeURLLoader{})
	c.AssertFormat()
	if err := c.AddResource("evosink:///plugin", tree); err != nil {
		return nil, err
	}
	compiled, err := c.Compile("evosink:///plugin")
	if err != nil {
		return nil, fmt.Errorf("the schema is not valid: %s", firstLine(err))
	}
	return &schema{tree, compiled}, nil
}

func firstLine(err error) string {
	line, _, _ := strings.Cut(err.Error(), "\n")
	return line[:min(len(line), 200)]
}

// references are the keywords that make a schema more than a tree.
var references = []string{"$ref", "$dynamicRef", "$recursiveRef", "$id", "id", "$anchor", "$dynamicAnchor", "$recursiveAnchor"}

// checkBounds refuses what makes the cost of a check unbounded.
func checkBounds(v any, depth int) error {
	if depth > maxSchemaDepth {
		return fmt.Errorf("the schema is nested deeper than %d levels", maxSchemaDepth)
	}
	switch v := v.(type) {
	case map[string]any:
		for key, below := range v {
			if _, text := below.(string); text && slices.Contains(references, key) {
				return fmt.Errorf("the schema uses %s; write out what it stands for", key)
			}
			if err := checkBounds(below, depth+1); err != nil {
				return err
			}
		}
	case []any:
		for _, below := range v {
			if err := checkBounds(below, depth+1); err != nil {
				return err
			}
		}
	}
	return nil
}

// check returns what is wrong with a value, in words that never repeat it: it may be a secret. at is what the user calls the value.
func (s *schema) check(at string, value any) error {
	if s == nil {
		return nil
	}
	b, err := json.Marshal(value)
	if err != nil {
		return err
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(b))
	if err != nil {
		return err
	}
	var invalid *jsonschema.ValidationError
	switch err := s.compiled.Validate(doc); {
	case err == nil:
		return nil
	case errors.As(err, &invalid):
		return errors.Join(faults(at, invalid)...)
	default:
		return err
	}
}

// faults returns the innermost errors; those below a choice are alternatives, not faults.
func faults(at string, e *jsonschema.ValidationError) (errs []error) {
	switch e.ErrorKind.(type) {
	case *kind.AnyOf, *kind.OneOf, *kind.Not:
	default:
		if len(e.Causes) > 0 {
			for _, cause := range e.Causes {
				errs = append(errs, faults(at, cause)...)
			}
			return errs
		}
	}
	return []error{fmt.Errorf("%s %s", strings.Join(append([]string{at}, e.InstanceLocation...), "."), fault(e.ErrorKind))}
}

func fault(k jsonschema.ErrorKind) string {
	switch k := k.(type) {
	case *kind.Required:
		return "lacks " + strings.Join(k.Missing, ", ")
	case *kind.Type:
		return "must be " + strings.Join(k.Want, " or ") + ", not " + k.Got
	case *kind.AdditionalProperties:
		return "must not have " + strings.Join(k.Properties, ", ")
	case *kind.Enum:
		return fmt.Sprintf("must be one of %v", k.Want)
	case *kind.Format:
		return "must be a valid " + k.Want
	}
	return "does not meet " + strconv.Quote(strings.Join(k.KeywordPath(), ".")) + " of the plugin's schema"
}

// coerce turns texts into what the schema wants there, as far as they are that: variables are always text. It copies what it changes.
func (s *schema) coerce(config map[string]any) map[string]any {
	if s == nil || config == nil {
		return config
	}
	return convert(config, s.raw).(map[string]any)
}

func convert(v any, by map[string]any) any {
	switch v := v.(type) {
	case map[string]any:
		properties, _ := by["properties"].(map[string]any)
		out := make(map[string]any, len(v))
		for key, value := range v {
			property, _ := properties[key].(map[string]any)
			out[key] = convert(value, property)
		}
		return out
	case string:
		if wanted := typesOf(by); len(wanted) > 0 && !slices.Contains(wanted, "string") {
			return fromText(v, wanted, by)
		}
	}
	return v
}

func typesOf(by map[string]any) (types []string) {
	switch t := by["type"].(type) {
	case string:
		return []string{t}
	case []any:
		for _, one := range t {
			if name, ok := one.(string); ok {
				types = append(types, name)
			}
		}
	}
	return types
}

// fromText reads a text as the first of the types that it can be; a list may have commas instead of brackets.
func fromText(text string, types []string, by map[string]any) any {
	for _, t := range types {
		var v any
		err := json.Unmarshal([]byte(text), &v)
		switch v := v.(type) {
		case float64:
			if t == "number" || t == "integer" {
				return json.Number(strings.TrimSpace(text))
			}
		case map[string]any:
			if t == "object" {
				return v
			}
		case []any:
			if t == "array" {
				return v
			}
		}
		switch {
		case t == "boolean" && isBool(text) != nil:
			return *isBool(text)
		case t == "array" && err != nil:
			return list(text, by)
		}
	}
	return text
}

func isBool(text string) *bool {
	switch strings.ToLower(text) {
	case "true", "yes", "on", "1":
		return new(true)
	case "false", "no", "off", "0":
		return new(false)
	}
	return nil
}

func list(text string, by map[string]any) any {
	items, _ := by["items"].(map[string]any)
	out := []any{}
	for word := range strings.SplitSeq(text, ",") {
		if word = strings.TrimSpace(word); word != "" {
			out = append(out, convert(word, items))
		}
	}
	return out
}

// CheckSchema reports why a plugin's schema of settings or configuration would be refused. No schema is fine.
func CheckSchema(raw json.RawMessage) error {
	_, err := newSchema(raw)
	return err
}
