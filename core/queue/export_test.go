package queue

import "github.com/evosink/evosink/core/bus"

// Size returns how many lanes and endpoints memory holds.
func (q *Queue) Size() (lanes, endpoints int) {
	for _, s := range q.schedulers() {
		s.mu.Lock()
		lanes += len(s.lanes.byKey)
		endpoints += len(s.endpoints.byKey) + len(s.endpoints.tenants) + len(s.endpoints.hosts)
		s.mu.Unlock()
	}
	return lanes, endpoints + len(q.door.capacity.shares)
}

// Cached returns the bytes of the events that memory holds.
func (q *Queue) Cached() int { return int(q.door.capacity.cached.Load()) }

// DoneOf returns what a mark says is done behind its cursor, for some lanes or for all.
func DoneOf(m Mark) (positions []bus.Position, err error) {
	done, err := decodeDone(m.Cursor.Position, m.Done)
	for _, f := range done {
		positions = append(positions, f.position)
	}
	return positions, err
}
