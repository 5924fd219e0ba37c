package socketio

// names is a set of namespaces' names. The zero value is empty.
type names map[string]struct{}

func (n names) has(name string) bool {
	_, ok := n[name]
	return ok
}

// add adds name, in place of another if there are most already.
func (n *names) add(name string, most int) {
	if *n == nil {
		*n = make(names)
	}
	for other := range *n {
		if len(*n) < most {
			break
		}
		delete(*n, other)
	}
	(*n)[name] = struct{}{}
}

func (n names) remove(name string) { delete(n, name) }
