//go:build unix

package engineio

import (
	"sync"
	"syscall"
)

// A directWrite is one non-blocking write. It is pooled with its function
// because a closure per write would be an allocation per recipient.
type directWrite struct {
	data []byte
	n    int
	err  error
	once func(descriptor uintptr)
}

var directWrites = sync.Pool{New: func() any {
	w := &directWrite{}
	w.once = w.write
	return w
}}

// writeNow writes what the peer takes at once, be it nothing. It goes by way of
// Control, which keeps the descriptor open meanwhile and does nothing else:
// what RawConn.Write prepares in order to wait costs a tenth of a delivery.
func writeNow(raw syscall.RawConn, data []byte) (int, error) {
	w := directWrites.Get().(*directWrite)
	defer directWrites.Put(w)
	w.data, w.n, w.err = data, 0, nil
	err := raw.Control(w.once)
	w.data = nil
	if err == nil {
		err = w.err
	}
	return w.n, err
}

// write is called with an open, non-blocking descriptor. It does not wait: that
// is the drainer's work.
func (w *directWrite) write(descriptor uintptr) {
	n, err := syscall.Write(int(descriptor), w.data)
	for err == syscall.EINTR {
		n, err = syscall.Write(int(descriptor), w.data)
	}
	switch err {
	case nil:
		w.n = n
	case syscall.EAGAIN:
	default:
		w.err = err
	}
}
