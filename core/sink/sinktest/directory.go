package sinktest

import (
	"context"
	"encoding/json"

	"github.com/evosink/evosink/core/event"
	"github.com/evosink/evosink/core/sink"
)

// A Directory is a fixed directory for tests of sinks.
type Directory struct {
	Key      string                     // the global key
	Tokens   map[string]string          // token -> instance
	Settings map[string]json.RawMessage // by instance; an entry makes the instance exist
}

// Lookup returns what Settings holds.
func (d Directory) Lookup(instance string) (json.RawMessage, bool) {
	s, ok := d.Settings[instance]
	return s, ok
}

// Owns takes every event for one of the present instance: none was ever deleted.
func (d Directory) Owns(*event.Event) bool { return true }

// Authenticate knows Key and Tokens.
func (d Directory) Authenticate(key string) (sink.Principal, bool) {
	if key == d.Key && key != "" {
		return sink.Principal{Global: true}, true
	}
	instance, ok := d.Tokens[key]
	return sink.Principal{Instance: instance}, ok
}

// Recheck does nothing: there are no other nodes.
func (d Directory) Recheck(context.Context, string, string) {}

// Watch never calls f: nothing changes.
func (d Directory) Watch(func(sink.Change)) (stop func()) { return func() {} }
