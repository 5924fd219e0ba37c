package sdk

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"time"
)

// A Plugin is what an author writes. Only Deliver is required.
type Plugin struct {
	// Deliver hands one event on. It is called from many goroutines at once, but never twice at once for the same target and instance.
	// ctx ends when evosink has gone, or has cut the plugin off.
	Deliver func(ctx context.Context, d *Delivery) error

	// Config, if set, is a pointer that the configuration (plugins.<name>.config) is decoded into, as by encoding/json, before Setup.
	Config any
	// Setup, if set, is called once, with Config filled. An error ends the plugin; evosink logs it and starts the plugin again.
	Setup func(ctx context.Context) error
	// Drain, if set, is called once at the end, after the last Deliver has returned.
	Drain func(ctx context.Context) error

	// MaxInFlight is how many events evosink may hand over before one is answered. Default 64.
	MaxInFlight int
	// ConfigSchema and SettingsSchema are JSON schemas (2020-12, without references) of Config and of what an instance may set.
	ConfigSchema, SettingsSchema string
}

// A Delivery is one event for one target.
type Delivery struct {
	Key       string // idempotency key: the same whenever this event comes to this target
	Attempt   int    // counts from 1
	Instance  string
	Event     string // "messages.upsert"
	Scope     string // "global" or "instance": why the plugin gets it
	EventID   string
	Time      time.Time // when it happened
	Sender    string
	ServerURL string
	Settings  json.RawMessage // what the instance has set for this plugin, or null
	Data      json.RawMessage // as the producer gave it
	Extra     json.RawMessage // keys of the producer's envelope that evosink does not know, an object; nil if there are none
}

// set fills one field from a member of a line. Unknown ones are of a later version.
func (d *Delivery) set(key string, value []byte) (err error) {
	switch key {
	case "key":
		d.Key, err = unquote(value)
	case "attempt":
		err = json.Unmarshal(value, &d.Attempt)
	case "instance":
		d.Instance, err = unquote(value)
	case "event":
		d.Event, err = unquote(value)
	case "scope":
		d.Scope, err = unquote(value)
	case "event_id":
		d.EventID, err = unquote(value)
	case "date_time":
		err = d.Time.UnmarshalJSON(value)
	case "sender":
		d.Sender, err = unquote(value)
	case "server_url":
		d.ServerURL, err = unquote(value)
	case "settings":
		d.Settings = value
	case "data":
		d.Data = value
	case "extra":
		d.Extra = value
	}
	return err
}

// DecodeData decodes the event's data. Its error is [Permanent]: the same data will not get better.
func (d *Delivery) DecodeData(into any) error { return decode("data", d.Data, into) }

// DecodeSettings decodes what the instance has set. Its error is not permanent: settings can be set again.
func (d *Delivery) DecodeSettings(into any) error {
	if len(d.Settings) == 0 {
		return nil
	}
	if err := json.Unmarshal(d.Settings, into); err != nil {
		return fmt.Errorf("settings: %w", err)
	}
	return nil
}

func decode(what string, raw json.RawMessage, into any) error {
	if err := json.Unmarshal(raw, into); err != nil {
		return Permanent(fmt.Errorf("%s: %w", what, err))
	}
	return nil
}

// Main serves evosink on standard input and output, and ends the process when that ends: with code 1 after an error.
func Main(p Plugin) {
	out := os.Stdout
	os.Stdout = os.Stderr
	if err := p.Serve(context.Background(), os.Stdin, out); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
