package queue

import "github.com/evosink/evosink/core/bus"

// A checkpoint is marks of several shards, with the changes that they show.
type checkpoint struct {
	leases  []bus.Lease
	marks   []Mark
	size    int
	changes map[*track]int64
}

func checkpointOf(of map[int]*holding) (c checkpoint) {
	c.changes = make(map[*track]int64, len(of))
	for _, h := range of {
		c.leases = append(c.leases, h.lease)
		m, change, ok := h.track.mark(h.lease)
		c.changes[&h.track] = change
		if ok {
			c.marks = append(c.marks, m)
			c.size += len(m.Done)
		}
	}
	return c
}

// written says that the store has the marks.
func (c *checkpoint) written() {
	for t, change := range c.changes {
		t.written.Store(change)
	}
}

func (c *checkpoint) byShard() map[int]Mark {
	by := make(map[int]Mark, len(c.marks))
	for _, m := range c.marks {
		by[m.Cursor.Shard] = m
	}
	return by
}
