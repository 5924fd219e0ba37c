package socketio

// names is a set of namespaces' names. The zero value is empty.
type names map[string]struct{}

func (n names) has(name string) bool {
	_, ok := n[name]
	return ok
}

func (n *names) add(name string) {
	if *n == nil {
		*n = make(names)
	}
	(*n)[name] = struct{}{}
}

func (n names) remove(name string) { delete(n, name) }
