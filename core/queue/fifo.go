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
