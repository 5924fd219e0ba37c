package socketio

// Listening reports whether anybody would get what is emitted to the namespace now, at once or when a client
// comes back. Whoever pays for making an event's arguments asks first.
func (n *Namespace) Listening() bool { return n.audience.Load() > 0 }
