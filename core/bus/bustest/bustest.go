// Package bustest holds every engine to the contract of [bus.Bus], one rule at a time.
//
// An engine's test calls [Run] with what makes an empty log and opens buses on it. Each rule runs on a log of its own,
// over the engine's real transport, and says in its failure text what the contract wants and why it matters. A rule
// about one of [bus.Features] runs where the engine declares it, and is skipped by the feature's name elsewhere, so
// that a missing one is seen in the output. What a bus declares when it is open must be what its test declares.
package bustest

import (
	"strings"
	"testing"
	"time"

	"github.com/evosink/evosink/core/bus"
	"github.com/evosink/evosink/core/sink"
)

// An Engine is what [Run] is told about an engine.
type Engine struct {
	// New makes an empty log for one rule. What it needs around it (a server, a directory) it ends by t.Cleanup.
	New func(t *testing.T) Log

	// Features are what the engine declares.
	Features bus.Features
	// TooLarge is the size of a payload that Publish must refuse with [bus.ErrTooLarge]; 0 if there is none.
	TooLarge int
	// Patience is how long to wait for what must happen. Default 10 s.
	Patience time.Duration
	// Quiet is how long to watch for what must not happen. Default 100 ms.
	Quiet time.Duration
}

// A Log is one empty log.
type Log struct {
	// Open opens a bus on the log, as the node of that name. The suite closes it.
	Open func(node string) (bus.Bus, error)
	// Foreign writes an entry that carries no event, by whatever way it could come into a log of
	// this engine. nil if there is no such way.
	Foreign func(b bus.Bus, shard int) error
	// Events returns the replay side of a bus that Open returned. nil if the engine has none.
	Events func(b bus.Bus) sink.Log
	// Create creates an instance in the store beside the log, as instances.Registry does. nil if the engine has no store.
	Create func(b bus.Bus, name string) error
	// Delete deletes it.
	Delete func(b bus.Bus, name string) error
	// Move moves a group's cursor by the engine's queue store, as queue.Store.Checkpoint does, and returns when it has. nil
	// if the engine lacks the feature CursorWithQueue.
	Move func(b bus.Bus, to bus.Cursor) error
	// Retain has the engine remove what it may remove, however young: by its retention, or by more events, of other
	// instances, than it holds. nil if it never removes anything.
	Retain func(b bus.Bus) error
}

// Run runs every rule as a subtest.
func Run(t *testing.T, e Engine) {
	if e.Patience == 0 {
		e.Patience = 10 * time.Second
	}
	if e.Quiet == 0 {
		e.Quiet = 100 * time.Millisecond
	}
	for _, r := range rules() {
		t.Run(strings.ReplaceAll(r.name, " ", "_"), func(t *testing.T) { start(t, e, r) })
	}
}

// A rule is one sentence of the contract.
type rule struct {
	name string
	why  string // for the failure text: what the contract says, and what relies on it
	run  func(*trial)
}

func rules() []rule {
	var all []rule
	for _, some := range [][]rule{
		publishRules, broadcastRules, groupRules, handoverRules, batchRules, keepRules, positionRules, closeRules,
		durableRules, nodeRules, replayRules,
	} {
		all = append(all, some...)
	}
	return all
}
