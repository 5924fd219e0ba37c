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
	Key       string          `json:"key"`     // idempotency key: the same whenever this event comes to this target
	Attempt   int             `json:"attempt"` // counts from 1
	Instance  string          `json:"instance"`
	Event     string          `json:"event"` // "messages.upsert"
	Scope     string          `json:"scope"` // "global" or "instance": why the plugin gets it
	EventID   string          `json:"event_id"`
	Time      time.Time       `json:"date_time"`
	Sender    string          `json:"sender"`
	ServerURL string          `json:"server_url"`
	Settings  json.RawMessage `json:"settings"` // what the instance has set for this plugin, or null
	Data      json.RawMessage `json:"data"`     // as the producer gave it
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
