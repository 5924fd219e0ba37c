package queue

// A fifo is a first-in first-out list.
type fifo[T any] struct {
	values []T
	gone   int // of values, at their beginning
}

func (f *fifo[T]) empty() bool { return len(f.values) == 0 }

func (f *fifo[T]) push(v T) {
	if len(f.values) == cap(f.values) && f.gone > len(f.values)/2 { // rather than grow
		n := copy(f.values, f.values[f.gone:])
		clear(f.values[n:])
		f.values, f.gone = f.values[:n], 0
	}
	f.values = append(f.values, v)
}

// pop returns the oldest; the list must not be empty.
func (f *fifo[T]) pop() T {
	var zero T
	v := f.values[f.gone]
	f.values[f.gone] = zero
	if f.gone++; f.gone == len(f.values) {
		f.values, f.gone = f.values[:0], 0
	}
	return v
}

// turns is a list that is served in turn by owner: each owner's values are first-in first-out, and an owner with a
// thousand of them gets its next turn after every other owner has had one.
type turns[T any] struct {
	// While all values are one owner's, which is so nearly always, they are here, and the rest is empty.
	owner string
	only  fifo[T]

	several *owners[T] // nil until there were several
}

// owners are the values of several owners.
type owners[T any] struct {
	order fifo[string] // those that have a value, in the order of their turns
	of    map[string]*fifo[T]
}

func (t *turns[T]) alone() bool { return t.several == nil || len(t.several.of) == 0 }

func (t *turns[T]) empty() bool { return t.alone() && t.only.empty() }

func (t *turns[T]) push(owner string, v T) {
	if t.alone() {
		if t.only.empty() {
			t.owner = owner
		}
		if t.owner == owner {
			t.only.push(v)
			return
		}
		if t.several == nil {
			t.several = &owners[T]{of: make(map[string]*fifo[T], 2)}
		}
		values := t.only
		t.several.of[t.owner], t.only = &values, fifo[T]{}
		t.several.order.push(t.owner)
	}
	s := t.several
	f := s.of[owner]
	if f == nil {
		f = &fifo[T]{}
		s.of[owner] = f
		s.order.push(owner)
	}
	f.push(v)
}

// pop returns the value that has its turn; the list must not be empty.
func (t *turns[T]) pop() T {
	if t.alone() {
		return t.only.pop()
	}
	s := t.several
	owner := s.order.pop()
	f := s.of[owner]
	v := f.pop()
	if f.empty() {
		delete(s.of, owner)
	} else {
		s.order.push(owner)
	}
	return v
}
