package queue

// Size returns how many lanes and gates memory holds.
func (q *Queue) Size() (lanes, gates int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, o := range q.outlets {
		gates += len(o.gates)
	}
	return len(q.lanes), gates
}

// Cached returns the bytes of the events that memory holds.
func (q *Queue) Cached() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.cached
}
