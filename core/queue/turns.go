package queue

// A fifo is a first-in first-out list whose memory follows its length.
type fifo[T any] struct{ in, out []T }

func (f *fifo[T]) push(v T) { f.in = append(f.in, v) }

func (f *fifo[T]) empty() bool { return len(f.in) == 0 && len(f.out) == 0 }

// pop returns the oldest; the list must not be empty.
func (f *fifo[T]) pop() T {
	if len(f.out) == 0 {
		f.out, f.in = f.in, f.out[:0]
		for i, j := 0, len(f.out)-1; i < j; i, j = i+1, j-1 {
			f.out[i], f.out[j] = f.out[j], f.out[i]
		}
	}
	last := len(f.out) - 1
	v := f.out[last]
	var zero T
	f.out[last] = zero
	f.out = f.out[:last]
	return v
}

// turns is a list that is served in turn by owner: each owner's values are first-in first-out, and an owner with a
// thousand of them gets its next turn after every other owner has had one.
type turns[T any] struct {
	// While all values are one owner's, which is so nearly always, they are here, and the rest is empty.
	owner string
	only  fifo[T]

	order fifo[string] // the owners that have a value, in the order of their turns
	of    map[string]*fifo[T]
}

func (t *turns[T]) empty() bool { return len(t.of) == 0 && t.only.empty() }

func (t *turns[T]) push(owner string, v T) {
	if len(t.of) == 0 {
		if t.only.empty() {
			t.owner = owner
		}
		if t.owner == owner {
			t.only.push(v)
			return
		}
		if t.of == nil {
			t.of = make(map[string]*fifo[T], 2)
		}
		values := t.only
		t.of[t.owner], t.only = &values, fifo[T]{}
		t.order.push(t.owner)
	}
	f := t.of[owner]
	if f == nil {
		f = &fifo[T]{}
		t.of[owner] = f
		t.order.push(owner)
	}
	f.push(v)
}

// pop returns the value whose turn it is; the list must not be empty.
func (t *turns[T]) pop() T {
	if len(t.of) == 0 {
		return t.only.pop()
	}
	owner := t.order.pop()
	f := t.of[owner]
	v := f.pop()
	if f.empty() {
		delete(t.of, owner)
	} else {
		t.order.push(owner)
	}
	return v
}
