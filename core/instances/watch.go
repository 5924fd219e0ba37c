package instances

// A Change is a change that [Registry.Watch] tells of.
type Change struct {
	Kind     ChangeKind
	Instance string
	Sink     string // with NewSettings
	ID       string // with Deleted: of the record that is gone
}

// ChangeKind tells what changed.
type ChangeKind uint8

// The kinds of change.
const (
	Created ChangeKind = iota + 1
	Deleted
	NewToken
	NewSettings
)

// Watch calls f for every change from now on, after it was stored and can be read, one at a time and
// in order, until stop is called. f must return promptly and must not change the registry. stop waits for a running f.
func (r *Registry) Watch(f func(Change)) (stop func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	id := r.nextID
	r.nextID++
	r.watchers[id] = f
	return func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.watchers, id)
	}
}

func (r *Registry) publish(next *state, changes ...Change) {
	r.state.Store(next)
	for _, c := range changes {
		for _, f := range r.watchers {
			f(c)
		}
	}
}
