// Package event holds what evosink carries: an [Event], the names it may have, and the JSON envelope it travels in to a
// consumer. It imports no other package of the project.
package event

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"
	"unicode/utf8"
)

// Limits of an event's fields, in bytes.
const (
	MaxName     = 128
	MaxInstance = 255
	MaxID       = 128
	MaxSender   = 256
	MaxSinks    = 64
	MaxURL      = 2048
	MaxExtras   = 64 << 10 // of all keys of Extras together; there are at most [MaxKeys]
)

// An Event is something that happened to an instance of the API. Once emitted it must not be changed: sinks share it.
// The bytes of Data and Extras must not be changed from the time on that it was decoded or validated, for they are
// checked once; another slice in their place is checked again.
type Event struct {
	// ID is a UUIDv7 unless the producer chose one. It is the first part of every idempotency key. Two instances may
	// use the same.
	ID       string
	Name     string // wire name, "messages.upsert"; names outside the catalogue pass through
	Instance string // name of the instance
	// InstanceID is the id of the instance's record when the event was accepted, so that a later instance of that name
	// inherits nothing. The hub sets it; "" if the instance has no record, and for events of former versions of evosink.
	InstanceID string
	Time       time.Time       // when it happened, millisecond precision
	Sender     string          // own JID of the instance, "" before its first connection
	ServerURL  string          // public address of the API, "" if unset
	Origin     string          // where it came from: "api", "evolution", "evosink", ...; informative
	APIKey     string          // the instance's token as the producer gave it; leaves only where configured
	Sinks      []string        // only these sinks; empty means all ("integration" in Evolution API)
	Data       json.RawMessage // the producer's bytes, never re-marshalled; empty means null
	Extras     json.RawMessage // further keys of the envelope, a JSON object: {"isLatest":true}; empty means none

	checked struct{ data, extras json.RawMessage } // as they were when they were found to be valid
}

// ErrInvalid marks every error of [Event.Validate].
var ErrInvalid = errors.New("invalid event")

// Validate reports everything that is wrong with e, in words for its producer.
// Every error it returns wraps [ErrInvalid].
func (e *Event) Validate() error {
	err := errors.Join(
		ValidateName(e.Name),
		ValidateInstance(e.Instance),
		text("id", e.ID, MaxID),
		text("sender", e.Sender, MaxSender),
		text("server_url", e.ServerURL, MaxURL),
		e.validateTime(),
		e.validateSinks(),
		e.validateData(),
		e.validateExtras(),
	)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return nil
}

// validateTime lets pass what every engine and sink can hold: nanoseconds since 1970 in 64 bits. Zero is filled in
// later.
func (e *Event) validateTime() error {
	if !e.Time.IsZero() && (e.Time.Year() < 1970 || e.Time.Year() > 2261) {
		return fmt.Errorf("date_time must lie between the years 1970 and 2261, not in %d", e.Time.Year())
	}
	return nil
}

func (e *Event) validateSinks() error {
	if len(e.Sinks) > MaxSinks {
		return fmt.Errorf("sinks has %d entries, at most %d are allowed", len(e.Sinks), MaxSinks)
	}
	for _, s := range e.Sinks {
		if s == "" {
			return errors.New("sinks must not hold an empty name")
		}
		if err := text("sinks", s, 64); err != nil {
			return err
		}
	}
	return nil
}

// validateData looks at the same data once only: what has passed is remembered.
func (e *Event) validateData() error {
	switch {
	case len(e.Data) == 0, same(e.Data, e.checked.data):
		return nil
	case !valid(e.Data):
		return errors.New("data is not valid JSON")
	case !utf8.Valid(e.Data): // JSON may be anything else in a string; a websocket's text may not
		return errors.New("data is not valid UTF-8")
	}
	e.checked.data = e.Data
	return nil
}

// same reports whether a and b are the same bytes in memory.
func same(a, b []byte) bool { return len(a) == len(b) && (len(a) == 0 || &a[0] == &b[0]) }

// reserved are keys of Evolution API's envelopes that are never carried: where a webhook was sent, which may hold a
// key, and the server's global key.
var reserved = []string{"destination", "api_key"}

// shadows returns the key of ours that a reader may mistake key for: the same in whatever capitals; "" if there is
// none.
func shadows(key string, ours ...[]string) string {
	for _, list := range append(ours, Keys, []string{"sinks"}, reserved) {
		for _, own := range list {
			if strings.EqualFold(own, key) {
				return own
			}
		}
	}
	return ""
}

// AddExtra adds a key of the producer's envelope, and its value, to Extras. Keys that the envelope has itself, in
// whatever capitals, are left out, and so are those that must not travel: "destination" and "api_key" of Evolution API.
func (e *Event) AddExtra(key string, value json.RawMessage) {
	if shadows(key) != "" {
		return
	}
	if len(e.Extras) == 0 {
		e.Extras = append(e.Extras, '{')
	} else {
		e.Extras[len(e.Extras)-1] = ','
	}
	e.Extras = append(append(AppendString(e.Extras, key), ':'), value...)
	e.Extras = append(e.Extras, '}')
}

func (e *Event) validateExtras() error {
	switch {
	case len(e.Extras) == 0, same(e.Extras, e.checked.extras):
		return nil
	case len(e.Extras) > MaxExtras:
		return fmt.Errorf("the keys beside data that evosink does not know have %d bytes, at most %d are allowed; "+
			"put them into data", len(e.Extras), MaxExtras)
	case !utf8.Valid(e.Extras):
		return errors.New("a key beside data is not valid UTF-8")
	case JSONKind(e.Extras) != "object":
		return errors.New("extras must be a JSON object")
	}
	err := Members(e.Extras, func(key string, _ json.RawMessage) error {
		if own := shadows(key); own != "" {
			return fmt.Errorf("extras must not hold %q: the envelope has %q", key, own)
		}
		return nil
	})
	if err == nil {
		e.checked.extras = e.Extras
	}
	return err
}

// ValidateServerURL reports whether s may be an event's server_url: an absolute http or https URL without user, query
// and fragment, for consumers put paths behind it.
func ValidateServerURL(s string) error {
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.User != nil ||
		strings.ContainsAny(s, "?# ") {
		return fmt.Errorf(`server_url must be a URL like "https://api.example", not %.80q`, s)
	}
	return text("server_url", s, MaxURL)
}

// ValidateName reports whether name may name an event: 1 to [MaxName] bytes of UTF-8
// without white space, control characters or commas. Custom names are allowed.
func ValidateName(name string) error {
	switch {
	case name == "":
		return errors.New(`event must not be empty; give its name, like "messages.upsert"`)
	case strings.ContainsAny(name, " ,\""):
		return errors.New("event must not contain spaces, commas or quotes")
	}
	return text("event", name, MaxName)
}

// ValidateInstance reports whether name may name an instance: 1 to [MaxInstance] bytes of
// UTF-8, without control characters, without white space at its ends, and without
// the characters that cannot stand in a socket.io namespace or one URL path segment (/ \ , ? #).
func ValidateInstance(name string) error {
	switch {
	case name == "":
		return errors.New("instance must not be empty")
	case name == "." || name == "..":
		return errors.New(`instance must not be "." or ".."`)
	case strings.TrimSpace(name) != name:
		return errors.New("instance must not begin or end with white space")
	case strings.ContainsAny(name, `/\,?#`):
		return errors.New(`instance must not contain any of / \ , ? #`)
	}
	return text("instance", name, MaxInstance)
}

// text checks one short field: length, UTF-8, no control characters.
func text(field, s string, limit int) error {
	if len(s) > limit {
		return fmt.Errorf("%s has %d bytes, at most %d are allowed", field, len(s), limit)
	}
	if !utf8.ValidString(s) {
		return fmt.Errorf("%s is not valid UTF-8", field)
	}
	for _, r := range s {
		if r < 0x20 || r == 0x7f {
			return fmt.Errorf("%s must not contain control characters", field)
		}
	}
	return nil
}
