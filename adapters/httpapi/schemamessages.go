package httpapi

import (
	"encoding/json"
	"fmt"
	"math/big"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"
)

// schemaMessages says what an error means in the wording of jsonschema 1.5.0, one text per violation.
func schemaMessages(e *jsonschema.ValidationError) []string {
	at := e.InstanceLocation
	one := func(format string, args ...any) []string { return []string{stack(at, fmt.Sprintf(format, args...))} }
	switch k := e.ErrorKind.(type) {
	case *kind.Required:
		return each(at, `requires property %s`, k.Missing)
	case *kind.AdditionalProperties:
		return each(at, `is not allowed to have the additional property %s`, k.Properties)
	case *kind.Type:
		return one("is not of a type(s) %s", strings.Join(k.Want, ","))
	case *kind.Enum:
		return one("is not one of enum values: %s", list(k.Want))
	case *kind.Const:
		return one("does not exactly match expected constant: %s", list([]any{k.Want}))
	case *kind.Pattern:
		return one("does not match pattern %s", quote(k.Want))
	case *kind.Format:
		return one("does not conform to the %s format", quote(k.Want))
	case *kind.UniqueItems:
		return one("contains duplicate item")
	case *kind.MinLength:
		if k.Want == 1 && len(at) > 0 { // the description in Evolution API's schemas
			return []string{fmt.Sprintf(`The "%s" cannot be empty`, at[len(at)-1])}
		}
		return one("does not meet minimum length of %d", k.Want)
	case *kind.MaxLength:
		return one("does not meet maximum length of %d", k.Want)
	case *kind.MinItems:
		return one("does not meet minimum length of %d", k.Want)
	case *kind.MaxItems:
		return one("does not meet maximum length of %d", k.Want)
	case *kind.MinProperties:
		return one("does not meet minimum property length of %d", k.Want)
	case *kind.MaxProperties:
		return one("does not meet maximum property length of %d", k.Want)
	case *kind.Minimum:
		return one("must be greater than or equal to %s", number(k.Want))
	case *kind.Maximum:
		return one("must be less than or equal to %s", number(k.Want))
	case *kind.ExclusiveMinimum:
		return one("must be strictly greater than %s", number(k.Want))
	case *kind.ExclusiveMaximum:
		return one("must be strictly less than %s", number(k.Want))
	}
	if keyword := e.ErrorKind.KeywordPath(); len(keyword) > 0 {
		return one("does not satisfy %s", quote(keyword[0]))
	}
	return one("is not allowed")
}

func each(at []string, format string, names []string) []string {
	names = names[:min(len(names), maxViolations+1)]
	out := make([]string, len(names))
	for i, name := range names {
		out[i] = stack(at, fmt.Sprintf(format, quote(shortened(name))))
	}
	return out
}

func quote(s string) string {
	b, _ := json.Marshal(s) // a string always marshals
	return string(b)
}

// list writes values as JavaScript joins them.
func list(values []any) string {
	out := make([]string, len(values))
	for i, v := range values {
		if s, ok := v.(string); ok {
			out[i] = s
			continue
		}
		b, _ := json.Marshal(v) // came out of JSON
		out[i] = string(b)
	}
	return strings.Join(out, ",")
}

func number(r *big.Rat) string {
	if r.IsInt() {
		return r.Num().String()
	}
	f, _ := r.Float64()
	return fmt.Sprint(f)
}
