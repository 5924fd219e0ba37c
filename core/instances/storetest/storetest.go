// Package storetest holds every store of instances to the contract of [instances.Store], one rule at a time, each
// with the reason for it in its failure text.
package storetest

import (
	"fmt"
	"strings"
	"testing"

	"github.com/evosink/evosink/core/instances"
)

// An Engine is what [Run] is told about a store.
type Engine struct {
	// New makes an empty store for one rule and returns what opens it. What it needs around it is ended by t.Cleanup.
	New func(t *testing.T) Open
	// Durable says that a store that was closed and is opened again holds what it held.
	Durable bool
}

// Open opens a store; it is called again only after close.
type Open func() (store instances.Store, close func() error, err error)

// Run runs every rule as a subtest.
func Run(t *testing.T, e Engine) {
	for _, r := range rules {
		t.Run(strings.ReplaceAll(r.name, " ", "_"), func(t *testing.T) {
			tr := &trial{T: t, engine: e, rule: r, open: e.New(t)}
			tr.reopen()
			t.Cleanup(tr.close)
			r.run(tr)
		})
	}
}

// A rule is one sentence of the contract.
type rule struct {
	name string
	why  string
	run  func(*trial)
}

// A trial is one rule at work.
type trial struct {
	*testing.T
	engine Engine
	rule   rule
	open   Open

	store instances.Store
	shut  func() error
}

func (t *trial) failf(format string, args ...any) {
	t.Helper()
	t.Fatalf("%s\n\nThe rule: %s: %s", fmt.Sprintf(format, args...), t.rule.name, t.rule.why)
}

// reopen opens the store, and closes it before if it is open.
func (t *trial) reopen() {
	t.Helper()
	t.close()
	var err error
	if t.store, t.shut, err = t.open(); err != nil {
		t.failf("open: %v", err)
	}
}

func (t *trial) close() {
	t.Helper()
	if t.shut == nil {
		return
	}
	if err := t.shut(); err != nil {
		t.Errorf("close: %v", err)
	}
	t.shut = nil
}

func (t *trial) put(in instances.Instance) int64 {
	t.Helper()
	version, err := t.store.PutInstance(t.Context(), in)
	if err != nil {
		t.failf("PutInstance %s, version %d: %v", in.Name, in.Version, err)
	}
	return version
}

// all returns what the store holds, by name.
func (t *trial) all() map[string]instances.Instance {
	t.Helper()
	list, err := t.store.Instances(t.Context())
	if err != nil {
		t.failf("Instances: %v", err)
	}
	out := map[string]instances.Instance{}
	for _, in := range list {
		if _, twice := out[in.Name]; twice {
			t.failf("Instances returned %s twice", in.Name)
		}
		out[in.Name] = in
	}
	return out
}
