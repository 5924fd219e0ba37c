package socketio

// Listening reports whether any client would get what is emitted to the namespace now, at once or when it comes
// back. Where making an event's arguments is expensive, ask first.
func (n *Namespace) Listening() bool { return n.audience.Load() > 0 }
