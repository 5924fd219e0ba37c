package memory

// Remembered returns how many deleted instances are remembered.
func (e *Engine) Remembered() int {
	e.guard.Lock()
	defer e.guard.Unlock()
	return max(len(e.deleted), len(e.deletions))
}

// MaxDeleted is how many deleted instances are remembered at most.
const MaxDeleted = maxDeleted

// Cursor returns where a group of the engine's log stands.
func (q *Queue) Cursor(group string, shard int) int64 {
	for _, r := range q.engine.log.Groups() {
		if r.Group == group && r.Shard == shard {
			return r.Position()
		}
	}
	return 0
}
