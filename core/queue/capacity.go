package queue

import (
	"sync"
	"sync/atomic"
)

// capacity counts what waits in all lanes, in all and by instance, and says whether there is room for more. It is the
// one thing that the schedulers share, so counting takes no lock.
type capacity struct {
	config  *Config
	waiting atomic.Int64 // deliveries in all lanes
	bytes   atomic.Int64 // of them, see Size
	cached  atomic.Int64 // bytes of all windows
	change  atomic.Pointer[chan struct{}]

	mu sync.Mutex
	// mu guards the fields below.
	shares map[string]*share // by instance, of those that have a lane in memory
}

// share is what waits for one instance.
type share struct {
	waiting atomic.Int64
	bytes   atomic.Int64
	lanes   int // in memory; guarded by capacity.mu
}

// acquire returns the share of an instance for one more lane; release gives it back.
func (c *capacity) acquire(instance string) *share {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.shares[instance]
	if s == nil {
		s = &share{}
		c.shares[instance] = s
	}
	s.lanes++
	return s
}

func (c *capacity) release(instance string, s *share) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s.lanes--; s.lanes == 0 {
		delete(c.shares, instance)
	}
}

// add counts n deliveries more, or fewer, that wait for an instance, with their bytes.
func (c *capacity) add(s *share, n int, bytes int64) {
	s.waiting.Add(int64(n))
	s.bytes.Add(bytes)
	c.bytes.Add(bytes)
	if c.waiting.Add(int64(n)); n < 0 {
		c.freed()
	}
}

// An amount is what deliveries count in the limits.
type amount struct {
	deliveries int
	bytes      int64
}

// full returns the key of the limit that keeps an instance from putting one delivery more behind what is planned, ""
// if there is room, and what it holds with that. When a total is reached, instances that hold less than an equal part
// of it still find room, up to twice the total: one that fills the queue takes from itself, not from the others.
func (c *capacity) full(instance string, planned amount) (held amount, limit string) {
	c.mu.Lock()
	held = planned
	instances := len(c.shares)
	if s := c.shares[instance]; s != nil {
		held.deliveries += int(s.waiting.Load())
		held.bytes += s.bytes.Load()
	} else {
		instances++
	}
	c.mu.Unlock()
	totalFull := func(total, most, held int64) bool {
		return most > 0 && total >= most && (held >= most/int64(instances) || total >= 2*most)
	}
	switch {
	case c.config.InstanceLimit > 0 && held.deliveries >= c.config.InstanceLimit:
		return held, "instance_limit"
	case c.config.InstanceBytes > 0 && held.bytes >= c.config.InstanceBytes:
		return held, "instance_bytes"
	case totalFull(c.waiting.Load()+int64(planned.deliveries), int64(c.config.TotalLimit), int64(held.deliveries)):
		return held, "total_limit"
	case totalFull(c.bytes.Load()+planned.bytes, c.config.TotalBytes, held.bytes):
		return held, "total_bytes"
	}
	return held, ""
}

// changed returns what is closed when a delivery has gone.
func (c *capacity) changed() <-chan struct{} {
	for {
		if p := c.change.Load(); p != nil {
			return *p
		}
		fresh := make(chan struct{})
		c.change.CompareAndSwap(nil, &fresh)
	}
}

// freed wakes what waits for a change.
func (c *capacity) freed() {
	if c.change.Load() == nil {
		return
	}
	if p := c.change.Swap(nil); p != nil {
		close(*p)
	}
}
