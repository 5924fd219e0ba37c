package socketio

// A socketSet is the sockets of one client by the name of their namespace, those
// included that this side has disconnected. One socket, the common case, costs no map. The
// zero value is empty.
type socketSet struct {
	one  *Socket
	more map[string]*Socket // the others
}

func (set *socketSet) get(name string) *Socket {
	if set.one != nil && set.one.namespace.name == name {
		return set.one
	}
	return set.more[name]
}

// add adds s, in place of one of its namespace.
func (set *socketSet) add(s *Socket) {
	if set.one == nil || set.one.namespace.name == s.namespace.name {
		set.one = s
		return
	}
	if set.more == nil {
		set.more = make(map[string]*Socket)
	}
	set.more[s.namespace.name] = s
}

// remove takes s out of the set, if it is in it.
func (set *socketSet) remove(s *Socket) {
	if set.one == s {
		set.one = nil
	}
	if set.more[s.namespace.name] == s {
		delete(set.more, s.namespace.name)
	}
}

func (set *socketSet) len() int {
	if set.one == nil {
		return len(set.more)
	}
	return len(set.more) + 1
}

// all returns the sockets that are still in their namespaces.
func (set *socketSet) all() []*Socket {
	if set.len() == 0 {
		return nil
	}
	all := make([]*Socket, 0, set.len())
	if set.one != nil && !set.one.claimed {
		all = append(all, set.one)
	}
	for _, s := range set.more {
		if !s.claimed {
			all = append(all, s)
		}
	}
	return all
}
