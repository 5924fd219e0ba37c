package socketio

// hold is what is kept aside for a socket that is held.
type hold struct {
	outs  []*outgoing
	bytes int
}

// keep puts out aside. Held: the namespace's mu.
func (s *Socket) keep(out *outgoing) {
	h := s.held
	if h.bytes > 0 && h.bytes+out.size > s.namespace.server.config.MaxHeld {
		s.live, h.outs = false, nil // the client is on its way out
		s.client.end(ReasonSlowClient)
		return
	}
	h.outs = append(h.outs, out)
	h.bytes += out.size + deliveryOverhead
}

// Release sends what was kept aside for a socket that joined held (see
// ConnectRequest.Hold), then lets it take part like any other. Events for
// whose key skip returns true are left out; skip may be nil. On a socket that
// is not held it does nothing.
//
// With it a socket can be given the past before the present, without a gap
// and without a double, by whoever keeps a log of what is emitted:
//
//  1. Write each event to the log before it is emitted, and emit it with its
//     key (Selection.WithKey).
//  2. Authorize sets Hold. From the CONNECT answer on, broadcasts to the
//     socket are kept aside.
//  3. The Connect hook reads the log to its end, which therefore holds all
//     that was emitted before the socket joined, and emits it to the socket:
//     Emit passes by what is kept aside.
//  4. Release leaves out what step 3 has sent, by its keys, and sends the rest,
//     behind everything emitted to the socket before.
//
// skip must be fast and call nothing of this package.
func (s *Socket) Release(skip func(key string) bool) (err error) {
	n := s.namespace
	n.mu.Lock()
	released := n.inOrder(func() { err = s.letGo(skip) })
	n.mu.Unlock()
	<-released
	return err
}

// letGo sends what is kept aside, and holds the socket no more. Held: the
// namespace's mu.
func (s *Socket) letGo(skip func(key string) bool) error {
	if s.held == nil {
		return nil
	}
	outs := s.held.outs
	s.held = nil
	for _, out := range outs {
		if skip != nil && skip(out.key) {
			continue
		}
		s.namespace.server.stats.sent.Add(1)
		if s.client.session.SendBatch(out.batch) != nil {
			return ErrDisconnected
		}
	}
	return nil
}
