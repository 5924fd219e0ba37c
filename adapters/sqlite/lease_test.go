package sqlite_test

import (
	"testing"

	"github.com/evosink/evosink/core/bus"
	"github.com/evosink/evosink/core/bus/leasetest"
)

func TestLeases(t *testing.T) {
	leasetest.Run(t, func(t *testing.T) leasetest.Cluster {
		db := open(t, newConfig(t))
		return leasetest.Cluster{Open: func(string) bus.Leases { return db.Leases() }}
	})
}

func TestOneNodeGetsAllShardsAtOnceAndForGood(t *testing.T) {
	db := open(t, newConfig(t))
	for shard := range db.Shards() {
		l, ok, err := db.Leases().Acquire(t.Context(), "dispatch", shard, "n1")
		if !ok || err != nil || l.Epoch != 1 || !l.Until.IsZero() {
			t.Fatalf("shard %d: %+v, %v, %v", shard, l, ok, err)
		}
	}
}
