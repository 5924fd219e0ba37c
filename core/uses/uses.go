// Package uses counts what is in use: uses that begin and end ([Counter]), amounts by key ([Counts]), and values that
// live as long as their key is in use ([Table]). It stands on the standard library alone, so that every room may import
// it.
package uses

import (
	"context"
	"sync"
)

// A Counter counts uses under way. The zero value has none and is open. Any number of goroutines may use it at once.
type Counter struct {
	mu sync.Mutex
	// mu guards the fields below.
	n      int
	closed bool
	idle   chan struct{} // closed when n comes to 0; nil while nothing waits
}

// Begin begins a use, which must be ended. It is false, and there is none, after Close.
func (c *Counter) Begin() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return false
	}
	c.n++
	return true
}

// End ends a use.
func (c *Counter) End() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.n--; c.n == 0 && c.idle != nil {
		close(c.idle)
		c.idle = nil
	}
}

// Len returns how many uses are under way.
func (c *Counter) Len() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.n
}

// Close lets no further use begin. It does not wait.
func (c *Counter) Close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
}

// Wait waits until no use is under way, or ctx ends, which is its error.
func (c *Counter) Wait(ctx context.Context) error {
	c.mu.Lock()
	if c.n == 0 {
		c.mu.Unlock()
		return nil
	}
	if c.idle == nil {
		c.idle = make(chan struct{})
	}
	idle := c.idle
	c.mu.Unlock()
	select {
	case <-idle:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Counts are amounts by key. A key whose amount is 0 takes no room. They are a map, which its owner makes and guards.
type Counts[K comparable, N int | int64] map[K]N

// Add adds n, which may be below 0, to the amount of a key, and returns the new amount.
func (c Counts[K, N]) Add(key K, n N) N {
	n += c[key]
	if n == 0 {
		delete(c, key)
	} else {
		c[key] = n
	}
	return n
}

// A Table holds a value for each key that is in use. The zero value is empty; New must be set. Any number of goroutines
// may use it at once.
type Table[K comparable, V any] struct {
	New func() V // makes the value of a key that comes into use; it must return promptly

	mu sync.Mutex
	// mu guards the fields below.
	values map[K]V
	users  Counts[K, int]
}

// Acquire returns the value of a key, which is in use until Release was called as often.
func (t *Table[K, V]) Acquire(key K) V {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.values == nil {
		t.values, t.users = map[K]V{}, Counts[K, int]{}
	}
	if t.users.Add(key, 1) == 1 {
		t.values[key] = t.New()
	}
	return t.values[key]
}

// Release ends a use of a key; the last one drops its value.
func (t *Table[K, V]) Release(key K) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.users.Add(key, -1) == 0 {
		delete(t.values, key)
	}
}
