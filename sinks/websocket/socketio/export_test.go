package socketio

// Waiting returns how many steps and events wait in the namespace's order.
func (n *Namespace) Waiting() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.pending)
}
