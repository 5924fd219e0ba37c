// Package storetest holds every store of instances to the contract of [instances.Store], one rule at a time, each
// with the reason for it in its failure text.
package storetest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/evosink/evosink/core/instances"
)

// An Engine is what [Run] is told about a store.
type Engine struct {
	// New makes an empty store for one rule and returns what opens it. What it needs around it is ended by t.Cleanup.
	New func(t *testing.T) Open
	// Durable says that a store that was closed and is opened again holds what it held.
	Durable bool
	// Nodes says that several stores may be open at once, each a node that has what the others have. Where it is false,
	// the rules about nodes run with several registries on one store.
	Nodes bool
	// Patience is how long to wait for what must happen. Default 20 s.
	Patience time.Duration
}

// Open opens a store. Without Engine.Nodes it is called again only after close.
type Open func() (store instances.Store, close func() error, err error)

// Run runs every rule as a subtest.
func Run(t *testing.T, e Engine) {
	if e.Patience == 0 {
		e.Patience = 20 * time.Second
	}
	for _, r := range slices.Concat(rules, feedRules, nodeRules) {
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

	racing atomic.Pointer[race] // nil while there is none
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

// node opens the store of another node, or returns the one there is if the engine has one only.
func (t *trial) node() instances.Store {
	t.Helper()
	if !t.engine.Nodes {
		return t.store
	}
	store, shut, err := t.open()
	if err != nil {
		t.failf("open another node: %v", err)
	}
	t.Cleanup(func() {
		if err := shut(); err != nil {
			t.Errorf("close another node: %v", err)
		}
	})
	return store
}

// put stores an instance and returns its version.
func (t *trial) put(in instances.Instance) int64 {
	t.Helper()
	stored, err := t.store.PutInstance(t.Context(), in)
	if err != nil {
		t.failf("PutInstance %s, version %d: %v", in.Name, in.Version, err)
	}
	return stored.Version
}

// remove deletes an instance and returns the revision of that.
func (t *trial) remove(name string) int64 {
	t.Helper()
	revision, err := t.store.DeleteInstance(t.Context(), name, t.all()[name].Version)
	if err != nil {
		t.failf("DeleteInstance %s: %v", name, err)
	}
	return revision
}

// all returns what the store holds, by name.
func (t *trial) all() map[string]instances.Instance {
	t.Helper()
	list, _, err := t.store.Instances(t.Context())
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

// Delete deletes the instance of that name, whatever its version, for suites that need a store but are not about it.
func Delete(ctx context.Context, store instances.Store, name string) error {
	all, _, err := store.Instances(ctx)
	if err != nil {
		return err
	}
	for _, in := range all {
		if in.Name == name {
			_, err = store.DeleteInstance(ctx, name, in.Version)
		}
	}
	return err
}

func (t *trial) revision() int64 {
	t.Helper()
	revision, err := t.store.InstanceRevision(t.Context())
	if err != nil {
		t.failf("InstanceRevision: %v", err)
	}
	return revision
}
