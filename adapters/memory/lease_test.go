package memory_test

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/evosink/evosink/adapters/memory"
	"github.com/evosink/evosink/core/bus"
	"github.com/evosink/evosink/core/bus/leasetest"
)

func TestLeases(t *testing.T) {
	leasetest.Run(t, func(t *testing.T) leasetest.Cluster {
		var passed atomic.Int64
		begin := time.Now()
		e := newEngine(t, func(c *memory.Config) {
			c.LeaseTime = time.Minute
			c.Clock = func() time.Time { return begin.Add(time.Duration(passed.Load())) }
		})
		return leasetest.Cluster{
			Open:  func(string) bus.Leases { return e.Leases() },
			Pass:  func(d time.Duration) { passed.Add(int64(d)) },
			Write: func(l bus.Lease) error { return e.Leases().Fence(l.Group, l.Shard, l.Epoch) },
		}
	})
}

func TestALeaseTimeOutOfBoundsIsRefused(t *testing.T) {
	for _, d := range []time.Duration{-1, time.Hour + 1} {
		c := memory.DefaultConfig()
		c.LeaseTime = d
		if _, err := memory.New(c); err == nil {
			t.Errorf("a lease time of %v is taken", d)
		}
	}
	if ttl := newEngine(t).Leases().TTL(); ttl != 10*time.Second {
		t.Errorf("the lease time is %v by default", ttl)
	}
}
