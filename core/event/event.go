// Package event holds what evosink carries: an [Event], the names it may have, and the
// JSON envelope it travels in to a consumer. It knows nobody else of the project.
package event

import (
	"encoding/json"
	"errors"
	"fmt"
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
)

// An Event is something that happened to an instance of the API. It is immutable once
// emitted: sinks share it, so nobody may change it or the bytes of Data.
type Event struct {
	ID        string          // UUIDv7 unless the producer chose one; the first half of every idempotency key
	Name      string          // wire name, "messages.upsert"; names outside the catalogue pass through
	Instance  string          // name of the instance
	Time      time.Time       // when it happened, millisecond precision
	Sender    string          // own JID of the instance, "" before its first connection
	ServerURL string          // public address of the API, "" if unset
	Origin    string          // who emitted it: "api", "evolution", "evosink", ...; informative
	APIKey    string          // the instance's token as the producer gave it; leaves only where configured
	Sinks     []string        // only these sinks; empty means all ("integration" in Evolution API)
	Data      json.RawMessage // the producer's bytes, never re-marshalled; empty means null
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
		text("server_url", e.ServerURL, 2048),
		e.validateSinks(),
		e.validateData(),
	)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrInvalid, err)
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

func (e *Event) validateData() error {
	switch {
	case len(e.Data) == 0:
		return nil
	case !json.Valid(e.Data):
		return errors.New("data is not valid JSON")
	case !utf8.Valid(e.Data): // json.Valid lets it pass; a websocket does not
		return errors.New("data is not valid UTF-8")
	}
	return nil
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
