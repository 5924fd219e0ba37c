package config

import (
	"fmt"
	"io"
	"log/slog"
)

// redacted stands wherever a secret would be shown. A value that reads like this
// is never taken for the secret itself: see [Load].
const redacted = "***"

// Secret is text that must not be shown: a key, a token, a password. Whatever prints it
// (fmt with any verb, encoding/json, YAML, slog, zerolog's Any and Stringer) shows "***",
// or nothing when it is empty, so that "not set" stays visible. [Secret.Reveal] is the only way out.
//
// fmt cannot call methods on unexported fields: a struct that keeps a Secret in one
// must not be printed with %v. Nor is a Secret a map's key: encoding/json writes those as they are.
type Secret string

// Reveal returns the text itself, for the one call that needs it.
func (s Secret) Reveal() string { return string(s) }

// String returns "***", or "" when nothing is set.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return redacted
}

// GoString is String: %#v shows no more than %v.
func (s Secret) GoString() string { return s.String() }

// Format covers every verb, also those fmt would otherwise complain about by printing the value.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, s.String()) }

// MarshalText serves JSON, YAML and TOML encoders.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// MarshalJSON says the same as MarshalText, for callers that ask for json.Marshaler.
func (s Secret) MarshalJSON() ([]byte, error) { return []byte(`"` + s.String() + `"`), nil }

// LogValue serves log/slog.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }
