package httpapi

import (
	"context"
	"fmt"
	"sync"
)

// inflight counts the requests under way.
type inflight struct {
	mu sync.Mutex
	// mu guards the fields below.
	n    int
	idle chan struct{} // closed when n comes to 0; nil while nothing waits
}

func (i *inflight) begin() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.n++
}

func (i *inflight) end() {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.n--; i.n == 0 && i.idle != nil {
		close(i.idle)
		i.idle = nil
	}
}

// count returns how many requests are under way.
func (i *inflight) count() int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.n
}

// wait waits until nothing is under way, or ctx ends.
func (i *inflight) wait(ctx context.Context) error {
	i.mu.Lock()
	if i.n == 0 {
		i.mu.Unlock()
		return nil
	}
	if i.idle == nil {
		i.idle = make(chan struct{})
	}
	idle := i.idle
	i.mu.Unlock()
	select {
	case <-idle:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("requests are still under way: %w", ctx.Err())
	}
}
