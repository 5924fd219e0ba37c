// Package leasetest holds every engine's leases to the contract of [bus.Leases], one rule at a time, with two and
// three nodes.
//
// Each rule runs on leases of its own and says in its failure text why it matters. Rules about the end of
// leases are skipped by name where leases do not end.
package leasetest

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/evosink/evosink/core/bus"
)

// A Cluster is empty leases and the nodes that share them.
type Cluster struct {
	// Open returns the leases as the node of that name sees them.
	Open func(node string) bus.Leases
	// Pass lets so much time pass by the engine's clock. nil if leases do not end.
	Pass func(d time.Duration)
	// Write is a write of the engine's that carries a lease's epoch. nil if the engine has none yet.
	Write func(l bus.Lease) error
	// Patience is how long to wait for what must happen. Default 10 s.
	Patience time.Duration
}

// Run runs every rule as a subtest. open makes a cluster for one rule.
func Run(t *testing.T, open func(t *testing.T) Cluster) {
	for _, r := range slices.Concat(holderRules, endRules, nodeRules) {
		t.Run(strings.ReplaceAll(r.name, " ", "_"), func(t *testing.T) {
			c := open(t)
			if c.Patience == 0 {
				c.Patience = 10 * time.Second
			}
			r.run(&trial{T: t, rule: r, ctx: context.Background(), Cluster: c})
		})
	}
}

// A rule is one sentence of the contract.
type rule struct {
	name string
	why  string // for the failure text
	run  func(*trial)
}

// group is the group of most rules.
const group = "dispatch"
