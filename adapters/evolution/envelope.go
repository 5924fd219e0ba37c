package evolution

import (
	"fmt"
	"time"
	_ "time/tzdata" // names of time zones, also in a container that has none

	"github.com/evosink/evosink/core/event"
)

// Envelope says which clock envelopes show. Evolution API writes the local clock of its process and labels it Z,
// which is right only where that is UTC.
type Envelope struct {
	TimeZone string `koanf:"time_zone" env:"ENVELOPE_TIME_ZONE" help:"time zone of date_time. UTC is what its Z says; for consumers that count on Evolution API's old form, the local clock with the same Z: Local, the zone of this machine (TZ), or a name like America/Sao_Paulo"`
}

// DefaultEnvelope returns true UTC.
func DefaultEnvelope() Envelope { return Envelope{TimeZone: "UTC"} }

// Validate reports a time zone that is not known.
func (e Envelope) Validate() error {
	_, err := e.location()
	return err
}

// Codec returns what makes envelopes of that form, see [event.Codec]. The configuration must be valid.
func (e Envelope) Codec(exposeAPIKey bool) event.Codec {
	c := event.Codec{ExposeAPIKey: exposeAPIKey}
	if zone, err := e.location(); err == nil && zone != time.UTC {
		c.LocalTime = zone
	}
	return c
}

func (e Envelope) location() (*time.Location, error) {
	zone, err := time.LoadLocation(e.TimeZone)
	if err != nil {
		return nil, fmt.Errorf("time_zone: %q is none; want UTC, Local or a name like America/Sao_Paulo", e.TimeZone)
	}
	return zone, nil
}

// DecodeAPI reads the body of an Evolution API webhook as the function [DecodeAPI] does, but takes its date_time for
// what it is where the server's zone is not UTC: a local clock, of this zone.
func (e Envelope) DecodeAPI(body []byte) (*event.Event, error) {
	out, err := DecodeAPI(body)
	if err != nil || out.Time.IsZero() {
		return out, err
	}
	if zone := e.Codec(false).LocalTime; zone != nil {
		year, month, day := out.Time.Date()
		hour, minute, second := out.Time.Clock()
		out.Time = time.Date(year, month, day, hour, minute, second, out.Time.Nanosecond(), zone).UTC()
	}
	return out, nil
}
