package socketio

// A socketSet is the sockets of one client by the name of their namespace. One
// socket, the common case, costs no map. The zero value is empty.
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

// add adds s, whose namespace must not be in the set.
func (set *socketSet) add(s *Socket) {
	if set.one == nil {
		set.one = s
		return
	}
	if set.more == nil {
		set.more = make(map[string]*Socket)
	}
	set.more[s.namespace.name] = s
}

// remove reports whether s was in the set.
func (set *socketSet) remove(s *Socket) bool {
	if set.one == s {
		set.one = nil
		return true
	}
	if set.more[s.namespace.name] != s {
		return false
	}
	delete(set.more, s.namespace.name)
	return true
}

func (set *socketSet) len() int {
	if set.one == nil {
		return len(set.more)
	}
	return len(set.more) + 1
}

func (set *socketSet) all() []*Socket {
	if set.len() == 0 {
		return nil
	}
	all := make([]*Socket, 0, set.len())
	if set.one != nil {
		all = append(all, set.one)
	}
	for _, s := range set.more {
		all = append(all, s)
	}
	return all
}
