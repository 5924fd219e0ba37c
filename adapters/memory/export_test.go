package memory

// Remembered returns how many deleted instances are remembered.
func (e *Engine) Remembered() int {
	e.guard.Lock()
	defer e.guard.Unlock()
	return max(len(e.deleted), len(e.deletions))
}

// MaxDeleted is how many deleted instances are remembered at most.
const MaxDeleted = maxDeleted
