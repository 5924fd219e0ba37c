package memory_test

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/evosink/evosink/adapters/memory"
	"github.com/evosink/evosink/core/bus"
	"github.com/evosink/evosink/core/queue"
	"github.com/evosink/evosink/core/queue/queuetest"
)

func TestQueueKeepsTheContractOfStores(t *testing.T) {
	queuetest.Run(t, queuetest.Subject{
		Open: func(t *testing.T) queue.Store { return newEngine(t).Queue() },
		Cursor: func(_ *testing.T, s queue.Store, group string, shard int) int64 {
			return s.(*memory.Queue).Cursor(group, shard)
		},
		Nodes: func(t *testing.T) queuetest.Nodes {
			var passed atomic.Int64
			begin := time.Now()
			e := newEngine(t, func(c *memory.Config) {
				c.LeaseTime = time.Minute
				c.Clock = func() time.Time { return begin.Add(time.Duration(passed.Load())) }
			})
			return queuetest.Nodes{
				Open: func(string) (queue.Store, bus.Leases) { return e.Queue(), e.Leases() },
				Pass: func(d time.Duration) { passed.Add(int64(d)) },
			}
		},
	})
}
